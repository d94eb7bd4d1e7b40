package verify_test

import (
	"crypto/sha256"
	"math/bits"
	"slices"
	"testing"

	"github.com/weirfs/weir/engine/internal/verify"
)

// leavesOf is the whole tree of a file, from its blocks up, written out.
func leavesOf(data []byte) [][][32]byte {
	var layer []byte
	for _, b := range cut(data, block) {
		sum := sha256.Sum256(b)
		layer = append(layer, sum[:]...)
	}
	return rowsOf(layer)
}

// TestAnswerBelow compares with the tree written out, for whatever may be asked of the
// layers inside pieces.
func TestAnswerBelow(t *testing.T) {
	const perPiece = 4
	s := newSampleV2(perPiece*block, 9*block+5, 3*block+1, 2*block, 1, 4*block, 5)
	h, roots := s.full(t), s.empty(t)
	for file, f := range s.info.Files {
		if f.Padding {
			continue
		}
		data := s.data[f.Offset : f.Offset+f.Length]
		rows := leavesOf(data)
		top, behind := len(rows)-1, len(rows[0]) // of a file of one piece
		if f.Length > perPiece*block {
			top, behind = bits.Len(perPiece-1), (len(cut(data, block))+perPiece-1)/perPiece*perPiece
		}
		read := func(index int, p []byte, off int64) bool {
			return copy(p, s.piece(index)[off:]) == len(p)
		}
		for base := -1; base <= len(rows); base++ {
			for length := -1; length <= 2*len(rows[0]); length++ {
				for index := -1; index <= len(rows[0]); index++ {
					for proof := -1; proof <= len(rows); proof++ {
						req := verify.HashRequest{Root: s.roots[file], BaseLayer: base, Index: index, Length: length, ProofLayers: proof}
						want := answerOf(rows, req)
						if base >= top || length > 1<<max(0, top-base) || index<<max(0, base) >= behind {
							want = nil // not inside of a piece that is there
						}
						got, ok := h.AnswerBelow(req, read)
						if ok != (want != nil) || !slices.Equal(got, want) || h.AnswersBelow(req) != ok {
							t.Fatalf("file %d of %d bytes: %+v: %d hashes, %v, want %d", file, f.Length, req, len(got), ok, len(want))
						}
						if !ok {
							continue
						}
						if h.Answers(req) {
							t.Fatalf("%+v is of two kinds", req)
						}
						if got, ok := h.AnswerBelow(req, func(int, []byte, int64) bool { return false }); ok || got != nil {
							t.Fatalf("%+v: answered without the bytes", req)
						}
						// Without the hashes of pieces only what lies in the piece can be proven.
						inside := f.Length <= perPiece*block || proof < top-base
						if got, ok := roots.AnswerBelow(req, read); ok != inside || ok && !slices.Equal(got, want) {
							t.Fatalf("%+v: %v without the hashes of pieces, want %v", req, ok, inside)
						}
					}
				}
			}
		}
	}
	if h.AnswersBelow(verify.HashRequest{Root: [32]byte{9}, Length: 2}) || h.Answers(verify.HashRequest{Root: [32]byte{9}, Length: 2}) {
		t.Error("hashes of a file that is not in the torrent are answered")
	}
}
