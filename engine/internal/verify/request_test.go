package verify_test

import (
	"errors"
	"math/bits"
	"slices"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
)

// layerSample is one file of n pieces of a block each, of which only hashes are
// made: content would take gigabytes.
func layerSample(n int) *sample {
	s := &sample{info: &weir.TorrentInfo{PieceLength: block, Length: int64(n) * block, V2: true, Single: true}}
	s.info.Files = []weir.FileInfo{{Path: []string{"a"}, Length: s.info.Length}}
	for i := range n {
		root, _ := treeOf([]byte{byte(i), byte(i >> 8), byte(i >> 16)}, 1)
		s.flat = append(s.flat, root[:]...)
	}
	s.layers = [][]byte{s.flat}
	s.roots = [][32]byte{rowsOf(s.flat)[bits.Len(uint(n-1))][0]}
	return s
}

// rowsOf is the whole tree above a layer of leaves, written out.
func rowsOf(layer []byte) [][][32]byte {
	row := make([][32]byte, 1<<bits.Len(uint(len(layer)/32-1)))
	for i := range len(layer) / 32 {
		row[i] = [32]byte(layer[32*i:])
	}
	rows := [][][32]byte{row}
	for len(row) > 1 {
		var above [][32]byte
		for i := 0; i < len(row); i += 2 {
			above = append(above, join(row[i], row[i+1]))
		}
		rows, row = append(rows, above), above
	}
	return rows
}

// TestRequests goes the whole way for files of many sizes: what is asked, what an
// honest peer answers, and that each answer counts by itself.
func TestRequests(t *testing.T) {
	for _, n := range []int{2, 3, 5, 511, 512, 513, 1000, 1024, 1025, 5000, 20_000} {
		s := layerSample(n)
		peer, h := s.full(t), s.empty(t)
		reqs := h.Requests(0)
		if want := (n + 511) / 512; len(reqs) != want {
			t.Fatalf("%d pieces: %d requests, want %d", n, len(reqs), want)
		}
		depth := bits.Len(uint(n - 1))
		for i := len(reqs) - 1; i >= 0; i-- { // in no special order
			req := reqs[i]
			if req.Length < 2 || req.Length > 512 || bits.OnesCount(uint(req.Length)) != 1 || req.Index%req.Length != 0 ||
				req.Index+req.Length > 1<<depth || req.ProofLayers >= depth || req.BaseLayer != 0 {
				t.Fatalf("%d pieces: not as BEP 52 says: %+v", n, req)
			}
			if again, ok := h.RequestFor(min(req.Index+req.Length, n) - 1); !ok || again != req {
				t.Fatalf("RequestFor: %+v, %v, want %+v", again, ok, req)
			}
			answer, ok := peer.Answer(req)
			if !ok || len(answer) != req.Length+req.Uncles() {
				t.Fatalf("%+v: %d hashes, %v", req, len(answer), ok)
			}
			checkLies(t, h, req, answer, n)
			if err := h.Accept(req, answer); err != nil {
				t.Fatalf("%+v: %v", req, err)
			}
			for k := range n {
				if h.Known(k) != (k >= req.Index) {
					t.Fatalf("%+v: piece %d known %v", req, k, h.Known(k))
				}
			}
			if left := h.Requests(0); !slices.Equal(left, reqs[:i]) {
				t.Fatalf("%d pieces: after %d answers: %+v", n, len(reqs)-i, left)
			}
		}
		if !slices.Equal(h.Layer(0), s.flat) {
			t.Errorf("%d pieces: the layer is not what the peer has", n)
		}
		if _, ok := h.RequestFor(0); ok {
			t.Errorf("%d pieces: asks for what is known", n)
		}
	}
}

// checkLies says wrong things in all ways about a request of a file of n pieces.
func checkLies(t *testing.T, h *verify.Hashes, req verify.HashRequest, answer [][32]byte, n int) {
	t.Helper()
	lie := func(name string, req verify.HashRequest, answer [][32]byte, want error) {
		if err := h.Accept(req, answer); !errors.Is(err, want) {
			t.Fatalf("%s: %+v: error %v, want %v", name, req, err, want)
		}
		if h.Known(min(req.Index, n-1)) && n > 1 && req.Index >= 0 && req.Index < n {
			t.Fatalf("%s: %+v: piece %d is known now", name, req, req.Index)
		}
	}
	changed := func(i int) [][32]byte {
		out := slices.Clone(answer)
		out[i][7] ^= 4
		return out
	}
	lie("First", req, changed(0), weir.ErrCorrupt)
	lie("Last", req, changed(min(req.Length, n-req.Index)-1), weir.ErrCorrupt)
	if req.Uncles() > 0 {
		lie("Uncle", req, changed(req.Length), weir.ErrCorrupt)
		lie("TopUncle", req, changed(len(answer)-1), weir.ErrCorrupt)
	}
	zero := slices.Clone(answer)
	zero[0] = [32]byte{}
	lie("Zero", req, zero, weir.ErrInvalid)
	lie("Short", req, answer[1:], weir.ErrInvalid)
	lie("Long", req, append(slices.Clone(answer), [32]byte{1}), weir.ErrInvalid)
	lie("Nothing", req, nil, weir.ErrInvalid)
	for name, change := range map[string]func(r *verify.HashRequest){
		"OtherRoot":    func(r *verify.HashRequest) { r.Root[0] ^= 1 },
		"OtherLayer":   func(r *verify.HashRequest) { r.BaseLayer++ },
		"MoreProof":    func(r *verify.HashRequest) { r.ProofLayers++ },
		"NoLength":     func(r *verify.HashRequest) { r.Length = 0 },
		"Half":         func(r *verify.HashRequest) { r.Length /= 2 },
		"Negative":     func(r *verify.HashRequest) { r.Index -= 1 << 40 },
		"BehindTheEnd": func(r *verify.HashRequest) { r.Index += 1 << 40 },
	} {
		other := req
		change(&other)
		lie(name, other, answer, weir.ErrInvalid)
	}
}

// TestRequestNoProof is about peers that send no proofs.
func TestRequestNoProof(t *testing.T) {
	for n, want := range map[int]bool{2: true, 512: true, 513: true, 8192: true, 8193: false} {
		s := layerSample(n)
		h := s.empty(t)
		req, ok := h.RequestNoProof(n - 1)
		if ok != want {
			t.Fatalf("%d pieces: %v", n, ok)
		}
		if !ok {
			continue
		}
		if req.ProofLayers != 0 || req.Index != 0 || req.Length < n {
			t.Errorf("%d pieces: %+v", n, req)
		}
		answer, ok := s.full(t).Answer(req)
		if err := h.Accept(req, answer); !ok || err != nil || h.Requests(0) != nil {
			t.Errorf("%d pieces: %v, %v", n, ok, err)
		}
		if _, ok := h.RequestNoProof(0); ok {
			t.Errorf("%d pieces: asks for what is known", n)
		}
	}
}

// TestAnswer compares with the tree written out, for whatever may be asked.
func TestAnswer(t *testing.T) {
	for _, n := range []int{2, 3, 7, 8, 9, 33} {
		s := layerSample(n)
		h, rows := s.full(t), rowsOf(s.flat)
		depth := len(rows) - 1
		for base := -1; base <= depth+1; base++ {
			for length := -1; length <= 1<<depth+1; length++ {
				for index := -1; index <= 1<<depth; index++ {
					for proof := -1; proof <= depth+1; proof++ {
						req := verify.HashRequest{Root: s.roots[0], BaseLayer: base, Index: index, Length: length, ProofLayers: proof}
						want := answerOf(rows, req)
						got, ok := h.Answer(req)
						if ok != (want != nil) || !slices.Equal(got, want) {
							t.Fatalf("%d pieces: %+v: %d hashes, %v, want %d", n, req, len(got), ok, len(want))
						}
					}
				}
			}
		}
		if _, ok := s.empty(t).Answer(verify.HashRequest{Root: s.roots[0], Length: 2}); ok {
			t.Errorf("%d pieces: answers what it does not know", n)
		}
	}
}

// answerOf is what BEP 52 says, in other words than the code's; nil for no.
func answerOf(rows [][][32]byte, r verify.HashRequest) (out [][32]byte) {
	if r.BaseLayer < 0 || r.BaseLayer >= len(rows)-1 || r.Length < 2 || bits.OnesCount(uint(r.Length)) != 1 || r.Index < 0 ||
		r.Index%r.Length != 0 || r.Index+r.Length > len(rows[r.BaseLayer]) ||
		r.ProofLayers < 0 || r.BaseLayer+r.ProofLayers >= len(rows)-1 {
		return nil
	}
	out = slices.Clone(rows[r.BaseLayer][r.Index : r.Index+r.Length])
	first, end := r.Index, r.Index+r.Length // what of the layer is known, going up
	for i := 1; i <= r.ProofLayers; i++ {
		first, end = first/2, end/2
		if end-first == 1 { // else both neighbours follow from the hashes below
			out = append(out, rows[r.BaseLayer+i][first^1])
			first, end = first&^1, first&^1+2
		}
	}
	return out
}

// FuzzAccept lets peers say anything: nothing may panic, and nothing wrong be known.
func FuzzAccept(f *testing.F) {
	const n = 1500
	s := layerSample(n)
	req, _ := s.empty(f).RequestFor(600)
	f.Add(req.Index, req.Length, req.BaseLayer, req.ProofLayers, 0, []byte{})
	f.Add(0, 2048, 0, 0, 0, []byte{})
	f.Add(512, 512, 0, 10, 3, []byte{1, 2, 3})
	f.Add(-1, 1<<62, -1, 1<<62, 9, []byte{255})
	peer := s.full(f)
	f.Fuzz(func(t *testing.T, index, length, base, proof, at int, change []byte) {
		h := s.empty(t)
		req := verify.HashRequest{Root: s.roots[0], BaseLayer: base, Index: index, Length: length, ProofLayers: proof}
		answer, ok := peer.Answer(req)
		if !ok {
			answer, _ = peer.Answer(verify.HashRequest{Root: s.roots[0], Length: 512, ProofLayers: 10})
		}
		for i, b := range change {
			answer[uint(at+i)%uint(len(answer))][i%32] ^= b
		}
		err := h.Accept(req, answer)
		if err != nil && !errors.Is(err, weir.ErrInvalid) && !errors.Is(err, weir.ErrCorrupt) {
			t.Fatalf("error %v", err)
		}
		for i := range n {
			if h.Known(i) && err != nil {
				t.Fatalf("piece %d is known after %v", i, err)
			}
		}
		for _, left := range h.Requests(0) { // and what is left completes it: nothing wrong was kept
			answer, ok := peer.Answer(left)
			if err := h.Accept(left, answer); !ok || err != nil {
				t.Fatalf("%+v: %v, %v", left, ok, err)
			}
		}
		if !slices.Equal(h.Layer(0), s.flat) {
			t.Fatal("the layer is wrong")
		}
	})
}
