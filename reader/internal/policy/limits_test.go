package policy

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestChangesAreTold: read reports a change whenever a window opens, closes or moves by more
// than a piece and an eighth, and none while nothing is wanted before and after.
func TestChangesAreTold(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 6))
		const size = 2000 * mib
		s := newSubject(size, mib)
		var last []weir.Range
		off, n := int64(0), 64*kib
		for step := range 3000 {
			switch rng.IntN(400) {
			case 0:
				off = rng.Int64N(size/mib) * mib
			case 1:
				n = []int64{4 * kib, 64 * kib, 128 * kib}[rng.IntN(3)]
			case 2:
				s.now = s.now.Add(5 * time.Second)
			case 3:
				off = max(0, off-100*mib) // and back again, mostly
			}
			if off+n > size {
				off = 0
			}
			s.now = s.now.Add(time.Millisecond)
			changed := s.Read(s.now, off, n)
			off += n
			ahead := s.Pattern // as it would be asked
			next := ahead.Windows(nil)
			if !changed {
				if len(next) != len(last) {
					t.Fatalf("seed %d, read %d: %v became %v, and nobody is told", seed, step, last, next)
				}
				for i := range next {
					if d := next[i].End - last[i].End; d >= max(mib, next[i].Len()/8) {
						t.Fatalf("seed %d, read %d: %v became %v, and nobody is told", seed, step, last, next)
					}
				}
				continue
			}
			last = s.Windows(nil)
		}
	}
	s := newSubject(2000*mib, mib)
	rng := rand.New(rand.NewPCG(1, 6))
	for range 500 {
		if s.now = s.now.Add(time.Millisecond); s.Read(s.now, rng.Int64N(1900)*mib, 4*kib) && len(s.Windows(nil)) == 0 {
			t.Fatal("a read at random changes what is wanted, which is nothing")
		}
	}
}

// TestReturnsKeepTheWindow: the window of a place to which a reader has returned twice is
// kept for two seconds while it reads elsewhere.
func TestReturnsKeepTheWindow(t *testing.T) {
	const size = 2000 * mib
	for returns, want := range []int{0, 0, 1, 1} {
		s := newSubject(size, mib)
		at := int64(0)
		here := func() []weir.Range {
			from := at
			at += 3 * mib
			return s.reads(time.Millisecond, 128*kib, sequence(from, at, 128*kib)...)
		}
		here()
		for range returns {
			s.reads(time.Millisecond, 4*kib, 900*mib)
			here()
		}
		elsewhere := 1000*mib + int64(returns)
		if w := s.reads(time.Millisecond, 4*kib, elsewhere); len(w) != want || want == 1 && w[0].Off != at {
			t.Errorf("after %d returns: windows %v, want %d", returns, w, want)
		}
		if w := s.reads(2*time.Second, 4*kib, 1500*mib); len(w) != 0 {
			t.Errorf("after %d returns and a while: windows %v", returns, w)
		}
	}
}

// TestRunLimits: a run's recent part has 8 MiB before it is halved, at the end that it
// leaves; only what goes on beyond its head turns it forward again.
func TestRunLimits(t *testing.T) {
	s := newSubject(1000*mib, mib)
	s.reads(time.Millisecond, 64*kib, sequence(0, 8*mib, 64*kib)...)
	if r := s.runs[0]; r.lo != 0 || r.hi != 8*mib || r.covered != 8*mib {
		t.Errorf("after 8 MiB: %d to %d, %d read", r.lo, r.hi, r.covered)
	}
	s.reads(time.Millisecond, 64*kib, 8*mib)
	if r := s.runs[0]; r.hi != 8*mib+64*kib || r.lo != r.hi-(8*mib+64*kib)/2 || r.covered != (8*mib+64*kib)/2 {
		t.Errorf("after more: %d to %d, %d read", r.lo, r.hi, r.covered)
	}
	const top = 500 * mib
	s = newSubject(1000*mib, mib)
	s.reads(time.Millisecond, 4*kib, top)
	for i := int64(1); i <= backReads; i++ {
		s.reads(time.Millisecond, 4*kib, top-i*4*kib)
		if want := i == backReads; (s.runs[0].mode == backward) != want || s.runs[0].down != int(i) {
			t.Errorf("after %d reads below each other: mode %d, %d down", i, s.runs[0].mode, s.runs[0].down)
		}
	}
	s.reads(time.Millisecond, 4*kib, top) // its head once more
	if r := s.runs[0]; r.mode != backward || r.down != backReads {
		t.Errorf("after its head was read again: mode %d, %d down", r.mode, r.down)
	}
	s.reads(time.Millisecond, 4*kib, top+4*kib)
	if r := s.runs[0]; r.mode == backward || r.down != 0 || r.downBytes != 0 {
		t.Errorf("after what is beyond: mode %d, %d down", r.mode, r.down)
	}
}

// TestLandingLimits: the index is within the last two MiB, and what it sends to isn't.
func TestLandingLimits(t *testing.T) {
	const size = 1000 * mib
	for _, c := range []struct {
		index, at int64
		looked    bool
		want      bool
	}{
		{size - 2*mib, 500 * mib, true, true}, {size - 2*mib - 1, 500 * mib, true, false}, {size - 2*mib, 500 * mib, false, false},
		{size - 2*mib, 128*kib + 1, true, true}, {size - 2*mib, 128 * kib, true, false},
		{size - mib, size - 12*mib, true, true}, {0, 500 * mib, true, false},
	} {
		s := newSubject(size, mib)
		s.headHeld = c.looked
		s.reads(time.Millisecond, 4*kib, c.index)
		w := s.reads(time.Millisecond, 4*kib, c.at)
		if got := len(w) == 1 && w[0] == (weir.Range{Off: c.at + 4*kib, End: c.at + 4*kib + mib}); got != c.want || !c.want && len(w) > 0 {
			t.Errorf("%+v: windows %v", c, w)
		}
	}
	for _, c := range []struct {
		first, then int64
		want        bool
	}{
		{0, size - 2*mib, true}, {0, size - 2*mib - 1, false}, {128*kib - 1, size - mib, true}, {128 * kib, size - mib, false},
	} {
		s := newSubject(size, mib)
		s.reads(time.Millisecond, 4*kib, c.first)
		if w := s.reads(time.Millisecond, 4*kib, c.then); (len(w) == 1 && w[0] == weir.Range{Off: c.then + 4*kib, End: size}) != c.want {
			t.Errorf("%+v: windows %v", c, w)
		}
	}
}

// TestStrideLimits: steps may differ by an eighth of themselves and a quarter of a
// piece, and one that differs by more begins anew.
func TestStrideLimits(t *testing.T) {
	const n = 4 * kib
	for _, c := range []struct{ step, piece, within int64 }{{40 * mib, mib, 256 * kib}, {mib, 64 * mib, 128 * kib}} {
		if got := tolerance(c.step, c.piece); got != c.within {
			t.Errorf("steps of %d in pieces of %d may differ by %d", c.step, c.piece, got)
		}
		if tolerance(-c.step, c.piece) != tolerance(c.step, c.piece) {
			t.Error("backward is something else")
		}
		for off, want := range map[int64]bool{0: true, c.within: true, c.within + 1: false, -c.within: true, -c.within - 1: false} {
			var s strides
			for i := range int64(6) {
				s.read(10*mib+i*c.step, n, c.piece)
			}
			if s.count != 4 {
				t.Fatalf("after six accesses %d equal steps", s.count)
			}
			s.read(10*mib+6*c.step+off, n, c.piece)
			if got := s.count > 0; got != want {
				t.Errorf("a step of %d more: %d equal ones in a row", off, s.count)
			}
			if want {
				continue
			}
			// It needs three more to predict again.
			at := 10*mib + 6*c.step + off
			for i := range int64(4) {
				if len(s.windows(nil, 1<<40)) > 0 {
					t.Fatalf("predicts after %d steps", i)
				}
				s.read(at+(i+1)*c.step*2, n, c.piece)
			}
			if len(s.windows(nil, 1<<40)) == 0 {
				t.Errorf("predicts nothing after four other steps")
			}
		}
	}
}

// TestPausesAreForgotten: the longest pause counts, two seconds at most, and goes by an
// eighth with each shorter one.
func TestPausesAreForgotten(t *testing.T) {
	gap := NextGap(0, 800*time.Millisecond)
	for i, want := range []time.Duration{800, 700} {
		if gap != want*time.Millisecond {
			t.Errorf("after %d short pauses %v", i, gap)
		}
		gap = NextGap(gap, time.Millisecond)
	}
	if gap != 612500*time.Microsecond || NextGap(gap, gap) != gap-gap/8 || NextGap(gap, gap+1) != gap+1 || NextGap(gap, time.Hour) != 2*time.Second {
		t.Errorf("a pause of %v", gap)
	}
	for gap, want := range map[time.Duration]time.Duration{0: 30 * time.Millisecond, time.Second / 2: 1030 * time.Millisecond, 985 * time.Millisecond: 2 * time.Second, time.Hour: 2 * time.Second} {
		if got := Grace(gap); got != want {
			t.Errorf("after a pause of %v one of %v is usual, want %v", gap, got, want)
		}
	}
}
