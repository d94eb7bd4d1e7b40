package blockproof_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/blockproof"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/source/merkle"
)

const perPiece = 8 // blocks

// file is a v2 torrent of one file.
type file struct {
	data   []byte
	info   *weir.TorrentInfo
	layer  []byte // the hashes of its pieces
	root   [32]byte
	hashes *verify.Hashes // as a peer has them
}

func newFile(tb testing.TB, blocks int) *file {
	tb.Helper()
	f := &file{data: make([]byte, blocks*weir.BlockBytes-100)}
	_, _ = rand.NewChaCha8([32]byte{3}).Read(f.data)
	f.info = &weir.TorrentInfo{PieceLength: perPiece * weir.BlockBytes, Length: int64(len(f.data)), V2: true, Single: true,
		Files: []weir.FileInfo{{Path: []string{"a"}, Length: int64(len(f.data))}}}
	for i := range f.info.NumPieces() {
		var s merkle.Stack
		s.Reset(0)
		r := f.info.PieceRange(i)
		for off := r.Off; off < r.End; off += weir.BlockBytes {
			h := verify.BlockHash(f.data[off:min(off+weir.BlockBytes, r.End)])
			s.Add(&h)
		}
		root := s.Root(3)
		f.layer = append(f.layer, root[:]...)
	}
	f.root = merkle.LayerRoot(f.layer, 3)
	f.hashes = f.known(tb, f.layer)
	return f
}

// known returns the hashes of who knows these of pieces, or nil.
func (f *file) known(tb testing.TB, layer []byte) *verify.Hashes {
	tb.Helper()
	h, err := verify.New(f.info, layer, [][32]byte{f.root})
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func (f *file) block(piece, block int) []byte {
	off := (piece*perPiece + block) * weir.BlockBytes
	return f.data[off:min(off+weir.BlockBytes, len(f.data))]
}

func (f *file) answer(tb testing.TB, req verify.HashRequest) [][32]byte {
	tb.Helper()
	answer, ok := f.hashes.AnswerBelow(req, func(index int, p []byte, off int64) bool {
		return copy(p, f.data[f.info.PieceRange(index).Off+off:]) == len(p)
	})
	if !ok {
		tb.Fatalf("%+v is not answered", req)
	}
	return answer
}

func TestProofs(t *testing.T) {
	f := newFile(t, 3*perPiece-2)
	now := time.Unix(1000, 0)
	want := func(t *testing.T, got, want blockproof.Outcome) {
		t.Helper()
		if got != want {
			t.Errorf("outcome %d, want %d", got, want)
		}
	}
	t.Run("Told", func(t *testing.T) {
		p := blockproof.New[string](f.known(t, f.layer))
		req, send := p.Requested(now, "a", 1, 5)
		if _, again := p.Requested(now, "b", 1, 4); !send || again || req.Index != perPiece+4 || req.Length != 2 || req.BaseLayer != 0 || req.ProofLayers != 2 {
			t.Errorf("%+v, %v; the neighbour's too: %v", req, send, again)
		}
		if p.Check(1, 5, f.block(1, 5)) != blockproof.Unknown {
			t.Error("it is known before the answer")
		}
		o, _ := p.Answered("c", req, f.answer(t, req))
		want(t, o, blockproof.Unasked)
		o, piece := p.Answered("a", req, f.answer(t, req))
		want(t, o, blockproof.Known)
		if piece != 1 || p.Check(1, 5, f.block(1, 5)) != blockproof.Right || p.Check(1, 4, f.block(1, 5)) != blockproof.Wrong || p.Check(1, 4, f.block(1, 4)) != blockproof.Right {
			t.Error("the two blocks are not known")
		}
		if _, send := p.Served(now, "b", 1, 4); send {
			t.Error("asks for what is known")
		}
		p.Forget(1)
		if p.Check(1, 5, f.block(1, 5)) != blockproof.Unknown {
			t.Error("it is not forgotten")
		}
	})
	t.Run("RefusedUntilServed", func(t *testing.T) {
		for _, servedFirst := range []bool{true, false} {
			p := blockproof.New[string](f.known(t, f.layer))
			req, _ := p.Requested(now, "a", 0, 0)
			var send bool
			if servedFirst {
				if _, send = p.Served(now, "a", 0, 0); send {
					t.Error("asks twice at once")
				}
				o, _ := p.Refused(now, "a", req)
				want(t, o, blockproof.Again)
			} else {
				o, _ := p.Refused(now, "a", req)
				want(t, o, blockproof.Waiting)
				if _, send = p.Served(now, "a", 0, 0); !send {
					t.Error("does not ask again")
				}
			}
			o, _ := p.Refused(now, "a", req)
			want(t, o, blockproof.Failed)
			o, _ = p.Refused(now, "a", req)
			want(t, o, blockproof.Unasked)
		}
	})
	t.Run("OfAnother", func(t *testing.T) { // as for blocks of a web server
		p := blockproof.New[string](f.known(t, f.layer))
		req, send := p.Elsewhere(now, "a", 2, 1)
		o, _ := p.Refused(now, "a", req)
		if want(t, o, blockproof.Failed); !send {
			t.Error("does not ask")
		}
		p.Elsewhere(now, "b", 2, 1)
		o, _ = p.Answered("b", req, f.answer(t, req))
		want(t, o, blockproof.Known)
	})
	t.Run("Wrong", func(t *testing.T) { // as from who answers with another layer
		p := blockproof.New[string](f.known(t, f.layer))
		req, _ := p.Requested(now, "a", 0, 2)
		o, _ := p.Answered("a", req, f.answer(t, req)[:2])
		want(t, o, blockproof.Failed)
	})
	t.Run("BeforeThePiecesHash", func(t *testing.T) {
		h := f.known(t, nil)
		p := blockproof.New[string](h)
		req, _ := p.Requested(now, "a", 0, 2)
		o, _ := p.Answered("a", req, f.answer(t, req))
		want(t, o, blockproof.Waiting)
		req2, _ := p.Requested(now, "liar", 0, 4)
		lie := f.answer(t, req2)
		lie[1][0]++
		p.Answered("liar", req2, lie)
		if p.Learned(0) != nil || p.Check(0, 2, f.block(0, 2)) != blockproof.Unknown {
			t.Error("something was learned")
		}
		if err := h.SetLayer(0, f.layer); err != nil {
			t.Fatal(err)
		}
		if wrong := p.Learned(0); len(wrong) != 1 || wrong[0] != "liar" || p.Check(0, 2, f.block(0, 2)) != blockproof.Right {
			t.Errorf("wrong: %v", wrong)
		}
	})
	t.Run("NoAnswer", func(t *testing.T) {
		p := blockproof.New[string](f.known(t, f.layer))
		p.Requested(now, "a", 0, 2)
		p.Requested(now.Add(time.Minute), "b", 1, 2)
		var late []string
		p.Late(now.Add(time.Minute), func(of string, piece int) { late = append(late, of) })
		if len(late) != 1 || late[0] != "a" {
			t.Errorf("late: %v", late)
		}
		if failed := p.Leave("b"); len(failed) != 1 || failed[0] != 1 {
			t.Errorf("failed as it left: %v", failed)
		}
	})
	t.Run("Impossible", func(t *testing.T) {
		p := blockproof.New[string](f.known(t, f.layer))
		if p.Possible(3) || !p.Possible(2) {
			t.Error("there is no fourth piece")
		}
		if _, send := p.Requested(now, "a", 2, perPiece-1); send {
			t.Error("asks for a block behind the end")
		}
	})
}
