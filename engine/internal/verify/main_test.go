package verify_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	theirs "github.com/anacrolix/torrent/merkle"
	"go.uber.org/goleak"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const block = weir.BlockBytes

// sample is a torrent with all that there is to know about it. The v2 hashes are
// computed the long way, with trees written out in full.
type sample struct {
	info   *weir.TorrentInfo
	data   []byte // in torrent coordinates
	flat   []byte // hashes of all pieces
	roots  [][32]byte
	layers [][]byte // of each file; nil for those of less than two pieces
}

func newSampleV2(pieceLength int64, lengths ...int64) *sample {
	s := &sample{info: &weir.TorrentInfo{PieceLength: pieceLength, V2: true}}
	r := rand.NewChaCha8([32]byte{1})
	add := func(f weir.FileInfo, root [32]byte, layer []byte) {
		f.Offset = s.info.Length
		s.info.Length += f.Length
		s.info.Files = append(s.info.Files, f)
		s.roots, s.layers = append(s.roots, root), append(s.layers, layer)
	}
	for i, n := range lengths {
		if over := s.info.Length % pieceLength; over > 0 && n > 0 {
			gap := pieceLength - over
			add(weir.FileInfo{Path: []string{".pad"}, Length: gap, Padding: true}, [32]byte{}, nil)
			s.data = append(s.data, make([]byte, gap)...)
		}
		data := make([]byte, n)
		_, _ = r.Read(data)
		s.data = append(s.data, data...)
		root, layer := treeOf(data, int(pieceLength/block))
		add(weir.FileInfo{Path: []string{fmt.Sprint(i)}, Length: n}, root, layer)
		switch {
		case layer != nil:
			s.flat = append(s.flat, layer...)
		case n > 0:
			s.flat = append(s.flat, root[:]...)
		}
	}
	return s
}

// treeOf returns the root of a file and, if it has more than one piece, the
// hashes of those.
func treeOf(data []byte, perPiece int) (root [32]byte, layer []byte) {
	if len(data) == 0 {
		return root, nil
	}
	var leaves [][32]byte
	for off := 0; off < len(data); off += block {
		leaves = append(leaves, sha256.Sum256(data[off:min(off+block, len(data))]))
	}
	n := len(leaves)
	full := int(theirs.RoundUpToPowerOfTwo(uint(n)))
	leaves = append(leaves, make([][32]byte, full-n)...)
	for at := 0; at < n && n > perPiece; at += perPiece {
		h := theirs.Root(leaves[at : at+perPiece])
		layer = append(layer, h[:]...)
	}
	return theirs.Root(leaves), layer
}

func newSampleV1(pieceLength, length int64) *sample {
	s := &sample{info: &weir.TorrentInfo{PieceLength: pieceLength, Length: length, Single: true}}
	s.info.Files = []weir.FileInfo{{Path: []string{"a"}, Length: length}}
	s.data = make([]byte, length)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(s.data)
	for i := range s.info.NumPieces() {
		h := sha1.Sum(s.piece(i))
		s.flat = append(s.flat, h[:]...)
	}
	return s
}

func (s *sample) piece(index int) []byte {
	r := s.info.PieceRange(index)
	return s.data[r.Off:r.End]
}

// full returns hashes that know everything, empty those that know the roots.
func (s *sample) full(tb testing.TB) *verify.Hashes  { return newHashes(tb, s.info, s.flat, s.roots) }
func (s *sample) empty(tb testing.TB) *verify.Hashes { return newHashes(tb, s.info, nil, s.roots) }

func newHashes(tb testing.TB, info *weir.TorrentInfo, flat []byte, roots [][32]byte) *verify.Hashes {
	tb.Helper()
	h, err := verify.New(info, flat, roots)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// cut cuts b into slices of n bytes, as blocks come.
func cut(b []byte, n int) (all [][]byte) {
	for off := 0; off < len(b); off += n {
		all = append(all, b[off:min(off+n, len(b))])
	}
	return all
}

func join(a, b [32]byte) [32]byte { return sha256.Sum256(append(a[:], b[:]...)) }
