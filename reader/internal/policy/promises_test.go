package policy

import (
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestPatternLearns: a useless window makes the next one open later, a useful one sooner,
// both within limits.
func TestPatternLearns(t *testing.T) {
	const size = 4000 * mib
	s := newSubject(size, mib)
	if s.openBytes != openBytes {
		t.Fatalf("opens after %d at first", s.openBytes)
	}
	// Chunks of 3 MiB at places far apart: each window is in vain.
	was := s.openBytes
	for i := range int64(40) {
		at := (i*37%100 + 1) * 32 * mib
		s.reads(time.Millisecond, 128*kib, sequence(at, at+s.openBytes+mib, 128*kib)...)
		s.reads(time.Millisecond, 4*kib, at+16*mib+i)
		if s.openBytes < was || s.openBytes > maxOpenBytes {
			t.Fatalf("after %d windows in vain it opens after %d, before after %d", i+1, s.openBytes, was)
		}
		was = s.openBytes
	}
	if s.openBytes != maxOpenBytes {
		t.Errorf("it never learns: opens after %d", s.openBytes)
	}
	// Long runs: each window but the last was read.
	for i := range int64(12) {
		at := (i + 2) * 256 * mib
		s.reads(20*time.Millisecond, 128*kib, sequence(at, at+192*mib, 128*kib)...)
		s.reads(time.Second, 4*kib, 5*mib+i*64*mib)
		if s.openBytes > was {
			t.Fatalf("after %d windows that were read it opens after %d, before after %d", i+1, s.openBytes, was)
		}
		was = s.openBytes
	}
	if want := s.firstOpen() / 4; s.openBytes != want {
		t.Errorf("opens after %d, want %d at the least", s.openBytes, want)
	}
}

// TestLearnFromOneWindow: exactly what a window's use and waste do.
func TestLearnFromOneWindow(t *testing.T) {
	for _, c := range []struct {
		used, wasted int64 // MiB
		from, want   int64
	}{
		{9, 5, 4, 8}, {10, 5, 4, 4}, {11, 5, 4, 4}, {20, 5, 4, 4}, {21, 5, 4, 2}, {0, 1, 16, 16}, {100, 0, 1, 0},
	} {
		p := NewPattern(1000*mib, mib, 128*mib, false)
		p.openBytes = c.from * mib
		r := run{mode: forward, opened: mib, bytes: (1 + c.used) * mib, hi: 50 * mib, window: weir.Range{Off: 50 * mib, End: (50 + c.wasted) * mib}}
		if c.wasted == 0 {
			r.window = weir.Range{Off: 49 * mib, End: 50 * mib}
		}
		p.learn(&r)
		want := c.want * mib
		if c.want == 0 {
			want = p.firstOpen() / 4
			if c.from*mib/2 > want {
				want = c.from * mib / 2
			}
		}
		if p.openBytes != want || !r.window.Empty() {
			t.Errorf("%d MiB used, %d wasted: opens after %d KiB instead of %d, want %d; window %v", c.used, c.wasted, p.openBytes/kib, c.from*1024, want/kib, r.window)
		}
		for _, mode := range []mode{closed, backward, tail, afterIndex} {
			q := NewPattern(1000*mib, mib, 128*mib, false)
			r := run{mode: mode, bytes: 9 * mib, window: weir.Range{Off: 0, End: mib}}
			if q.learn(&r); q.openBytes != q.firstOpen() {
				t.Errorf("mode %d teaches", mode)
			}
		}
	}
}

// TestRunsAreKept: the latest four places are followed, the one that was read last
// first, and none of their reads counts for another.
func TestRunsAreKept(t *testing.T) {
	s := newSubject(4000*mib, mib)
	at := func(i int64) int64 { return (1 + i) * 300 * mib }
	for i := range int64(6) {
		s.reads(time.Millisecond, 64*kib, at(i), at(i)+64*kib)
		if s.nRuns != min(int(i)+1, maxRuns) || s.begun != int(i)+1 {
			t.Fatalf("%d places: %d runs, %d begun", i+1, s.nRuns, s.begun)
		}
		for j := range s.nRuns {
			r := &s.runs[j]
			if lo := at(i - int64(j)); r.lo != lo || r.hi != lo+128*kib || r.bytes != 128*kib || r.covered != 128*kib || r.bottom != lo {
				t.Fatalf("place %d is %+v, want what begins at %d", j, *r, lo)
			}
		}
	}
	s.reads(time.Millisecond, 64*kib, at(3)+128*kib) // the third latest
	for j, i := range []int64{3, 5, 4, 2} {
		if s.runs[j].lo != at(i) {
			t.Errorf("place %d begins at %d, want %d", j, s.runs[j].lo, at(i))
		}
	}
	if s.runs[0].returns != 1 || s.runs[1].returns != 0 {
		t.Errorf("came back %d and %d times", s.runs[0].returns, s.runs[1].returns)
	}
}

// TestNear: how far from a run's head a read may be.
func TestNear(t *testing.T) {
	const lo, hi = 500 * mib, 520 * mib
	for _, c := range []struct {
		off, n int64
		want   int
	}{
		{hi, 1, 0}, {hi + nearBytes, 1, 0}, {hi + nearBytes + 1, 1, -1},
		{hi - nearBytes - 4*kib, 4 * kib, 0}, {lo - RequestBytes - 4*kib, 4 * kib, 0}, {lo - RequestBytes - 4*kib - 1, 4 * kib, -1}, {lo, 1, 0},
	} {
		p := NewPattern(1000*mib, mib, 128*mib, false)
		p.nRuns, p.runs[0] = 1, run{lo: lo, hi: hi}
		if got := p.match(c.off, c.n); got != c.want {
			t.Errorf("a read of %d at %d from the head: run %d, want %d", c.n, c.off-hi, got, c.want)
		}
	}
}

// TestDensity: a run with gaps is closed when less than half of it was read.
func TestDensity(t *testing.T) {
	for _, c := range []struct {
		step int64 // KiB from one read of 64 KiB to the next
		open bool
	}{{64, true}, {96, true}, {124, true}, {160, false}, {512, false}} {
		s := newSubject(4000*mib, mib)
		w := s.reads(time.Millisecond, 64*kib, sequence(0, 40*mib, c.step*kib)...)
		if open := len(w) == 1 && s.runs[0].mode == forward; open != c.open {
			t.Errorf("64 KiB of each %d: windows %v, mode %d", c.step, w, s.runs[0].mode)
		}
		if r := s.runs[0]; r.covered > r.hi-r.lo || r.hi-r.lo > denseBytes {
			t.Errorf("64 KiB of each %d: %d bytes of %d covered", c.step, r.covered, r.hi-r.lo)
		}
	}
	// Twice the same is not twice as much.
	s := newSubject(4000*mib, mib)
	for range 40 {
		s.reads(time.Millisecond, 64*kib, 0)
	}
	if r := s.runs[0]; r.covered != 64*kib || r.bytes != 40*64*kib {
		t.Errorf("40 reads of the same 64 KiB cover %d", r.covered)
	}
}

// TestMovesByAPiece: a window is published when it has moved by a piece and an
// eighth of itself, and at the ends of the file.
func TestMovesByAPiece(t *testing.T) {
	for _, backwards := range []bool{false, true} {
		const size = 300 * mib
		s := newSubject(size, mib)
		at := func(off, n int64) int64 {
			if backwards {
				return size - off - n
			}
			return off
		}
		var last weir.Range
		published, missed := 0, 0
		for off := int64(0); off < size; off += 64 * kib {
			s.now = s.now.Add(2 * time.Millisecond)
			changed := s.Read(s.now, at(off, 64*kib), 64*kib)
			next := s.next(&s.runs[0])
			if !changed {
				lag := next.End - last.End // of the far end
				if backwards {
					lag = last.Off - next.Off
				}
				missed = max(missed, int(lag/kib))
				if next.Empty() != last.Empty() {
					t.Fatalf("at %d MiB: %v is not published, which was %v", off/mib, next, last)
				}
				continue
			}
			published++
			w := s.Windows(nil)
			if len(w) > 0 {
				last = w[0]
			} else {
				last = weir.Range{}
			}
			if s.published != (len(w) > 0) {
				t.Fatalf("%d windows are shown: %v", len(w), s.published)
			}
			if again := s.Windows(nil); !slices.Equal(again, w) {
				t.Fatalf("windows %v and then %v without a read", w, again)
			}
		}
		// Of 4,800 reads: about one for each piece at first, and one for 16 MiB of a window of 128.
		if published < 20 || published > 200 {
			t.Errorf("backwards %v: published %d times", backwards, published)
		}
		if missed < 512 || missed > 17*1024 {
			t.Errorf("backwards %v: a window lags by %d KiB", backwards, missed)
		}
	}
}

// TestInherited: a reader that has read files in order gets a full window at once in the
// next one, at its first place only.
func TestInherited(t *testing.T) {
	s := newSubject(1000*mib, mib)
	s.Inherit(100*mib, 50e6)
	if w := s.reads(time.Millisecond, 128*kib, 0); len(w) != 1 || w[0].Off != 128*kib || w[0].Len() < 90*mib {
		t.Errorf("windows %v", w)
	}
	s = newSubject(1000*mib, mib)
	s.Inherit(100*mib, 50e6)
	s.reads(time.Millisecond, 128*kib, 0)
	if w := s.reads(time.Millisecond, 128*kib, 500*mib); len(w) != 0 {
		t.Errorf("elsewhere: windows %v", w)
	}
	if s.runs[0].bytes != 128*kib {
		t.Errorf("the second place begins with %d bytes", s.runs[0].bytes)
	}
}

// TestStrides: when reads count as equally far apart.
func TestStrides(t *testing.T) {
	const step, n, size = 40 * mib, 64 * kib, 4000 * mib
	predicted := func(offs ...int64) (s strides, first int64) {
		for _, off := range offs {
			s.read(off, n, mib)
		}
		if w := s.windows(nil, size); len(w) > 0 {
			return s, w[0].Off
		}
		return s, -1
	}
	for name, c := range map[string]struct {
		offs []int64
		want int64
	}{
		"Three":     {[]int64{0, step, 2 * step, 3 * step}, -1}, // three steps, of which the last has not ended
		"Four":      {[]int64{0, step, 2 * step, 3 * step, 4 * step}, 5 * step},
		"TooUneven": {[]int64{0, step + 400*kib, 2 * step, 3*step + 400*kib, 4 * step}, -1},
		"Broken":    {[]int64{0, step, 2 * step, 3 * step, 4 * step, 9 * step}, -1},
		"Once":      {[]int64{7 * step}, -1},
	} {
		if _, got := predicted(c.offs...); got != c.want {
			t.Errorf("%s: the next is predicted at %d, want %d", name, got, c.want)
		}
	}
	s, _ := predicted(sequence(0, 60*step, step)...)
	w := s.windows(nil, size)
	if len(w) != maxStrides {
		t.Errorf("%d accesses are predicted after 60", len(w))
	}
	for i, r := range w {
		if r.Off != (60+int64(i))*step || r.Len() != n {
			t.Errorf("access %d is predicted as %v", i, r)
		}
	}
	if w := s.windows(nil, 62*step+10); len(w) != 3 || w[2].End != 62*step+10 {
		t.Errorf("at the end of the file: %v", w)
	}
	// As many as were right.
	for right := range 6 {
		s, _ := predicted(sequence(0, int64(5+right)*step, step)...)
		if got := len(s.windows(nil, size)); got != right+1 {
			t.Errorf("after %d right predictions %d are made", right, got)
		}
	}
	// Requests of one access, that overtake each other, are one.
	s = strides{}
	for i := range int64(8) {
		for _, part := range []int64{2, 0, 3, 1} {
			s.read(i*step+part*RequestBytes, RequestBytes, mib)
		}
	}
	if w := s.windows(nil, size); len(w) == 0 || w[0].Off < 8*step || w[0].Off > 8*step+2*RequestBytes || w[0].Len() < 2*RequestBytes || s.access.Len() != 4*RequestBytes {
		t.Errorf("of accesses of four requests: %v, the running one %v", w, s.access)
	}
}

// TestOrders: which file follows which, and what counts as going on.
func TestOrders(t *testing.T) {
	info := &weir.TorrentInfo{}
	for _, p := range [][]string{{"b", "1"}, {"a", "2"}, {"pad"}, {"a", "10"}, {"c"}, {"a"}} {
		info.Files = append(info.Files, weir.FileInfo{Path: p, Padding: p[0] == "pad"})
	}
	listed := ListedOrder(info)
	var names []int
	for i := 5; i >= 0; i = listed.next(i) { // "a" comes first
		names = append(names, i)
	}
	if want := []int{5, 3, 1, 0, 4, 2}; !slices.Equal(names, want) {
		t.Errorf("listed as %v, want %v", names, want)
	}
	for i := range info.Files {
		if got, want := TorrentOrder(info).next(i), i+1; got != want && (got != -1 || want != len(info.Files)) {
			t.Errorf("%d follows %d", got, i)
		}
	}
	if !follows(info, 3, 1) || follows(info, 1, 3) || follows(info, 1, 1) {
		t.Error("a/10 is not before a/2")
	}
	many := TorrentOrder(&weir.TorrentInfo{Files: make([]weir.FileInfo, 100)})
	for d, want := range map[int]bool{0: false, 1: true, -1: true, maxSkip: true, -maxSkip: true, maxSkip + 1: false, -maxSkip - 1: false} {
		if got := many.continues(50, 50+d); got != want {
			t.Errorf("from a file to the one %d behind it goes on: %v", d, got)
		}
	}
}
