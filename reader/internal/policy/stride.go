package policy

import "github.com/weirfs/weir"

// strides finds reads at equal distances, as of one column of a table or of every tenth
// frame. Requests next to each other are one access; after four accesses at equal
// distances, the next ones are predicted.
type strides struct {
	access weir.Range // the current one
	begin  int64      // of the previous one
	step   int64      // to that from the one before it
	length int64      // of the longest access at this step
	count  int        // equal steps in a row
}

const (
	// strideSteps is how many equal steps make a stride.
	strideSteps = 3
	// maxStrides bounds how many accesses are predicted.
	maxStrides = 32
)

// read takes a read and reports whether it began an access, and so changed
// what is predicted.
func (s *strides) read(off, n, pieceBytes int64) bool {
	near := 2 * n
	if n >= RequestBytes {
		near = 1 << 20 // a part of a larger read, of which the parts overtake each other
	}
	if !s.access.Empty() && off <= s.access.End+near && off+n >= s.access.Off-near {
		s.access.Off, s.access.End = min(s.access.Off, off), max(s.access.End, off+n)
		return false
	}
	was := s.count
	if !s.access.Empty() {
		s.ended(pieceBytes)
		// The first request of an access may not be for its first byte.
		if d := off - s.access.Off - s.step; s.count > 0 && abs(d) > max(near, tolerance(s.step, pieceBytes)) {
			s.count = 0
		}
		s.begin = s.access.Off
	} else {
		s.begin = -1
	}
	s.access = weir.Range{Off: off, End: off + n}
	return was >= strideSteps || s.count >= strideSteps
}

// ended updates the steps when an access is over.
func (s *strides) ended(pieceBytes int64) {
	if s.begin < 0 {
		return
	}
	step := s.access.Off - s.begin
	if s.count > 0 && abs(step-s.step) <= tolerance(s.step, pieceBytes) {
		s.count++
		s.length = max(s.length, s.access.Len())
	} else {
		s.count, s.length = 1, s.access.Len()
	}
	s.step = step
}

// tolerance is how much equal steps may differ, mostly less than a piece.
func tolerance(step, pieceBytes int64) int64 { return min(pieceBytes/4, abs(step)/8) }

func abs(n int64) int64 { return max(n, -n) }

// windows appends the predicted accesses: as many as were right so far, since a wrong one
// costs a piece.
func (s *strides) windows(dst []weir.Range, size int64) []weir.Range {
	if s.count < strideSteps {
		return dst
	}
	n := min(maxStrides, s.count-strideSteps+1)
	at := s.access.Off
	for range n {
		at += s.step
		r := weir.Range{Off: at, End: at + max(s.length, s.access.Len())}.Intersect(weir.Range{End: size})
		if r.Empty() {
			break
		}
		dst = append(dst, r)
	}
	return dst
}
