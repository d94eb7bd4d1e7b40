package verify_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
)

// TestBlocks verifies each block of files of many sizes by itself, by what another one
// answers, and takes no lie.
func TestBlocks(t *testing.T) {
	for _, perPiece := range []int64{1, 2, 4, 64} {
		s := newSampleV2(perPiece*block, odd...)
		peer, h := s.full(t), s.full(t)
		read := func(index int, p []byte, off int64) bool { return copy(p, s.piece(index)[off:]) == len(p) }
		for index := range s.info.NumPieces() {
			blocks := cut(s.piece(index), block)
			for i, b := range blocks {
				req, ok := h.BlockRequest(index, i)
				if ok != (len(blocks) > 1) {
					t.Fatalf("block %d of %d: a request: %v", i, len(blocks), ok)
				}
				if !ok {
					continue
				}
				answer, ok := peer.AnswerBelow(req, read)
				if !ok {
					t.Fatalf("%+v is not answered", req)
				}
				pair, err := h.BlockHashes(index, req, answer)
				if err != nil || pair[i%2] != verify.BlockHash(b) || pair[i%2] == verify.BlockHash(flip(b)) {
					t.Fatalf("block %d of piece %d: %v", i, index, err)
				}
				for k := range answer {
					lie := slices.Clone(answer)
					lie[k][9] ^= 1
					if _, err := h.BlockHashes(index, req, lie); !errors.Is(err, weir.ErrCorrupt) {
						t.Fatalf("hash %d of %d is wrong: %v", k, len(answer), err)
					}
				}
				if _, err := h.BlockHashes(index, req, answer[:len(answer)-1]); !errors.Is(err, weir.ErrInvalid) {
					t.Fatalf("a hash is missing: %v", err)
				}
			}
			if _, ok := h.BlockRequest(index, len(blocks)); ok {
				t.Fatal("a block behind the end has a request")
			}
		}
	}
	if _, ok := newSampleV1(4*block, 16*block).full(t).BlockRequest(0, 0); ok {
		t.Error("v1 has hashes of blocks")
	}
	s := newSampleV2(4*block, 9*block)
	empty := s.empty(t)
	req, _ := empty.BlockRequest(1, 0)
	if _, err := empty.BlockHashes(1, req, make([][32]byte, 3)); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("the piece's hash is not known: %v", err)
	}
}
