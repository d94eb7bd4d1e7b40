package policy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
)

// subject is a pattern with a clock.
type subject struct {
	Pattern
	now time.Time
}

func newSubject(size, piece int64) *subject {
	return &subject{NewPattern(size, piece, 128*mib, false), time.Unix(1, 0)}
}

// reads feeds reads of n bytes, one each gap, and returns the windows after.
func (s *subject) reads(gap time.Duration, n int64, offs ...int64) []weir.Range {
	for _, off := range offs {
		s.now = s.now.Add(gap)
		s.Read(s.now, off, n)
	}
	return s.Windows(nil)
}

func sequence(from, to, step int64) (offs []int64) {
	for off := from; off < to; off += step {
		offs = append(offs, off)
	}
	return offs
}

func TestPattern(t *testing.T) {
	const size = 1000 * mib
	one := func(t *testing.T, w []weir.Range) weir.Range {
		t.Helper()
		if len(w) != 1 {
			t.Fatalf("windows %v, want one", w)
		}
		return w[0]
	}
	none := func(t *testing.T, w []weir.Range) {
		t.Helper()
		if len(w) != 0 {
			t.Fatalf("windows %v, want none", w)
		}
	}
	t.Run("FirstReadsOpenNothing", func(t *testing.T) {
		none(t, newSubject(size, mib).reads(time.Millisecond, 128*kib, sequence(0, mib, 128*kib)...))
	})
	t.Run("IndexThenMiddle", func(t *testing.T) {
		// As a player does with a film that was probed: its head is in the page cache.
		const at = 800*mib + 600*kib
		for looked, want := range map[bool][]weir.Range{true: {{Off: at + 128*kib, End: at + 128*kib + mib}}, false: nil} {
			s := newSubject(size, mib)
			s.headHeld = looked
			s.reads(time.Millisecond, 128*kib, size-300*kib)
			if w := s.reads(time.Millisecond, 128*kib, at); !slices.Equal(w, want) {
				t.Errorf("looked at before %v: windows %v, want %v", looked, w, want)
			}
			none(t, s.reads(time.Millisecond, 128*kib, 300*mib))
		}
	})
	t.Run("GrowsFromAPiece", func(t *testing.T) {
		s := newSubject(size, 4*mib)
		if w := one(t, s.reads(time.Millisecond, 128*kib, sequence(0, 3*mib, 128*kib)...)); w.Off != 3*mib || w.Len() != 4*mib {
			t.Errorf("after 3 MiB: %v, want a piece", w)
		}
		if w := one(t, s.reads(time.Millisecond, 128*kib, sequence(3*mib, 32*mib, 128*kib)...)); w.Len() != 32*mib {
			t.Errorf("after 32 MiB at full speed: %v, want as much again", w)
		}
		if w := one(t, s.reads(time.Millisecond, 128*kib, sequence(32*mib, 500*mib, 128*kib)...)); w.Len() != 128*mib {
			t.Errorf("after 500 MiB: %v, want the bound", w)
		}
	})
	t.Run("SlowReaderGetsTwoSecondsAndAPiece", func(t *testing.T) {
		w := one(t, newSubject(size, 4*mib).reads(20*time.Millisecond, 128*kib, sequence(0, 128*mib, 128*kib)...))
		if w.Len() < 16*mib || w.Len() > 18*mib { // 6.25 MiB/s
			t.Errorf("%d KiB for a reader of 6.25 MiB/s", w.Len()/kib)
		}
	})
	t.Run("LargePieceLooksAhead", func(t *testing.T) {
		w := one(t, newSubject(size, 64*mib).reads(time.Second/25, 128*kib, sequence(0, 10*mib, 128*kib)...))
		if w.End <= 64*mib {
			t.Errorf("%v does not distance into the next piece", w)
		}
	})
	t.Run("ReorderedIsSequential", func(t *testing.T) {
		s, offs := newSubject(size, mib), sequence(0, 32*mib, 128*kib)
		rng := rand.New(rand.NewPCG(1, 1))
		for i := 0; i+16 <= len(offs); i += 16 { // within 2 MiB
			rng.Shuffle(16, func(a, b int) { offs[i+a], offs[i+b] = offs[i+b], offs[i+a] })
		}
		if w := one(t, s.reads(time.Millisecond, 128*kib, offs...)); w.Off != 32*mib || w.Len() < 16*mib {
			t.Errorf("%v", w)
		}
	})
	t.Run("BothPlacesWhenReadByTurns", func(t *testing.T) {
		s := newSubject(size, mib)
		var w []weir.Range
		for i := range int64(40) {
			w = s.reads(time.Millisecond, 128*kib, sequence(i*mib, (i+1)*mib, 128*kib)...)
			w = append(w[:0], s.reads(time.Millisecond, 128*kib, sequence((500+i)*mib, (501+i)*mib, 128*kib)...)...)
		}
		if len(w) != 2 {
			t.Errorf("windows %v, want two", w)
		}
	})
	t.Run("StridedIsPredicted", func(t *testing.T) {
		w := newSubject(size, mib).reads(time.Millisecond, 64*kib, sequence(mib, 100*mib, 10*mib)...)
		if len(w) < 2 || w[0].Off != 101*mib || w[1].Off != 111*mib || w[0].Len() != 64*kib {
			t.Errorf("windows %v", w)
		}
	})
	t.Run("StridedBackIsPredicted", func(t *testing.T) {
		offs := sequence(100*mib, 300*mib, 10*mib)
		for i := range offs {
			offs[i] = 400*mib - offs[i]
		}
		w := newSubject(size, mib).reads(time.Millisecond, 64*kib, offs...)
		if len(w) < 2 || w[0].Off != 100*mib {
			t.Errorf("windows %v", w)
		}
	})
	t.Run("BackwardIsBehind", func(t *testing.T) {
		s := newSubject(size, mib)
		var w []weir.Range
		for off := 500 * mib; off > 480*mib; off -= 8 * kib {
			w = s.reads(time.Millisecond, 8*kib, off-8*kib)
		}
		if b := one(t, w); b.End != 480*mib || b.Len() < 8*mib {
			t.Errorf("%v", b)
		}
		none(t, s.reads(time.Millisecond, 8*kib, 100*mib))
	})
	t.Run("TailAfterHead", func(t *testing.T) {
		s := newSubject(size, mib)
		none(t, s.reads(time.Millisecond, 128*kib, 0))
		if w := one(t, s.reads(time.Millisecond, 20*kib, size-mib)); w.End != size || w.Off != size-mib+20*kib {
			t.Errorf("%v, want the rest of the file", w)
		}
		none(t, s.reads(time.Millisecond, 128*kib, 128*kib))
		none(t, newSubject(size, mib).reads(time.Millisecond, 20*kib, 300*mib, size-mib))
	})
	t.Run("RandomNeverOpens", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 2))
		s := newSubject(16000*mib, 4*mib)
		for _, i := range rng.Perm(1000) {
			// A touch of a mapped page pulls in 1 MiB.
			if none(t, s.reads(time.Millisecond, 128*kib, sequence(int64(i)*16*mib, int64(i)*16*mib+mib, 128*kib)...)); t.Failed() {
				return
			}
		}
		s = newSubject(64*mib, 64*kib)
		for _, page := range rng.Perm(64 << 8)[:6000] {
			if none(t, s.reads(time.Millisecond, 4*kib, int64(page)*4*kib)); t.Failed() {
				return
			}
		}
	})
	t.Run("ChunksAreLearned", func(t *testing.T) {
		s, opened := newSubject(size, mib), 0
		rng := rand.New(rand.NewPCG(3, 3))
		for range 50 {
			off := rng.Int64N(900) * mib
			if len(s.reads(time.Millisecond, 128*kib, sequence(off, off+2*mib+512*kib, 128*kib)...)) > 0 {
				opened++
			}
		}
		if opened > 3 {
			t.Errorf("%d of 50 chunks opened a window", opened)
		}
	})
}

// TestPatternStaysInside gives a pattern reads that make no sense.
func TestPatternStaysInside(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 200 {
		size := 1 + rng.Int64N(int64(1)<<(10+rng.IntN(30)))
		s := newSubject(size, int64(16*kib)<<rng.IntN(12))
		off := int64(0)
		for range 300 {
			if rng.IntN(20) == 0 {
				off = rng.Int64N(size)
			}
			n := min(1+rng.Int64N(128*kib), size-off)
			for _, w := range s.reads(time.Duration(rng.IntN(300))*time.Millisecond, n, off) {
				if w.Off < 0 || w.End > size || w.Empty() {
					t.Fatalf("window %v of a file of %d", w, size)
				}
			}
			if off += int64(rng.IntN(4)-1) * n; off < 0 || off >= size {
				off = 0
			}
		}
	}
}

// TestSparse: reads that skip about are sparse, and the first one of a file; reads in
// order, whichever way and in whatever order the kernel sends them, are not.
func TestSparse(t *testing.T) {
	for name, c := range map[string]struct {
		n      int64
		offs   []int64
		sparse []bool
	}{
		"Head":         {4 * kib, []int64{0}, []bool{true}},
		"Random":       {4 * kib, []int64{40 * mib, 3 * mib, 90 * mib, 3*mib + 64*kib}, []bool{true, true, true, true}},
		"InOrder":      {128 * kib, []int64{5 * mib, 5*mib + 128*kib, 5*mib + 256*kib}, []bool{true, false, false}},
		"Swapped":      {128 * kib, []int64{5 * mib, 5*mib + 256*kib, 5*mib + 128*kib}, []bool{true, false, false}},
		"SmallInOrder": {4 * kib, []int64{mib, mib + 4*kib, mib + 8*kib}, []bool{true, false, false}},
		"Backward":     {64 * kib, []int64{9 * mib, 9*mib - 64*kib, 9*mib - 128*kib}, []bool{true, false, false}},
		"TwoPlaces":    {128 * kib, []int64{5 * mib, 70 * mib, 5*mib + 128*kib, 70*mib + 128*kib}, []bool{true, true, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSubject(100*mib, 4*mib)
			for i, off := range c.offs {
				s.reads(time.Millisecond, c.n, off)
				if s.Sparse() != c.sparse[i] {
					t.Errorf("read %d, at %d: sparse %v", i, off, s.Sparse())
				}
			}
		})
	}
	next := newSubject(100*mib, 4*mib)
	next.Inherit(50*mib, 1e6)
	if next.reads(time.Millisecond, 4*kib, 0); next.Sparse() {
		t.Error("the next of files that are read in order is sparse")
	}
}

// TestWaitIsNoPause: the time that a read waits for the swarm does not count as the
// reader's own pause, so that it is not taken for a slow one.
func TestWaitIsNoPause(t *testing.T) {
	graces := map[bool]time.Duration{}
	for _, said := range []bool{false, true} {
		s := newSubject(1000*mib, mib)
		for i := range int64(50) {
			s.Read(s.now, i*mib, mib)
			if !s.LastRead().Equal(s.now) {
				t.Fatalf("the last read was at %v, want %v", s.LastRead(), s.now)
			}
			s.now = s.now.Add(10 * time.Second) // the swarm's
			if said {
				s.Answered(s.now)
			}
			s.now = s.now.Add(10 * time.Millisecond) // its own
		}
		graces[said] = s.Grace()
	}
	if graces[true] >= graces[false] || graces[true] != Grace(10*time.Millisecond) {
		t.Errorf("a reader that waited for each read has a grace of %v, and of %v if that was its own time; want %v", graces[true], graces[false], Grace(10*time.Millisecond))
	}
}
