package policy

import (
	"math"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestMeterSamples: a rate is what a quarter of a second shows, taken at once when it is
// more than before and by a quarter when it is less; a second's pause says nothing.
func TestMeterSamples(t *testing.T) {
	var m meter
	now := time.Unix(100, 0)
	step := func(d time.Duration, n int64) {
		now = now.Add(d)
		m.read(now, n)
	}
	want := func(rate float64) {
		t.Helper()
		if math.Abs(m.rate-rate) > 1 {
			t.Errorf("a rate of %.0f, want %.0f", m.rate, rate)
		}
	}
	step(0, 1000)
	for range 4 {
		step(50*time.Millisecond, 1000)
	}
	want(0)
	step(50*time.Millisecond, 1000) // a quarter of a second is over
	want(6000 / 0.25)
	if m.latest() != m.rate {
		t.Errorf("the latest is %v of %v", m.latest(), m.rate)
	}
	step(250*time.Millisecond, 3000) // half as fast
	want(24000 - 3000)
	step(250*time.Millisecond, 3000)
	want(21000 - (21000-12000)/4)
	step(250*time.Millisecond, 9000)
	want(36000)
	step(time.Second, 9000) // one sample, of a slow reader
	want(36000 - (36000-9000)/4)
	step(time.Second+1, 50_000) // who has paused: the sample begins here
	want(29250)
	step(249*time.Millisecond, 50_000)
	want(29250)
	step(time.Millisecond, 0)
	want(400_000)
	// Before there is a rate: what has come so far, in 50 ms at least.
	m = meter{}
	step(0, 4000)
	if got := m.latest(); got != 80_000 {
		t.Errorf("after one read %v", got)
	}
	step(100*time.Millisecond, 4000)
	if got := m.latest(); got != 80_000 {
		t.Errorf("after two reads %v", got)
	}
	m.rate = 0.5
	if m.latest() != 0.5 {
		t.Errorf("the latest is %v", m.latest())
	}
	m.answered(now.Add(time.Minute)) // the wait was not the reader's own
	gap := m.gap
	if now = now.Add(time.Minute); m.gap != gap {
		t.Error("a wait counts as a pause")
	}
	if step(time.Millisecond, 1); m.gap > gap {
		t.Errorf("a pause of %v", m.gap)
	}
}

// TestReachGrows: from a piece with what was read, up to two seconds and a piece.
func TestReachGrows(t *testing.T) {
	for _, c := range []struct {
		rate float64
		read int64
		want int64
	}{{0, 0, mib}, {0, 100 * mib, mib}, {1e9, 0, mib}, {1e9, 5 * mib, 5 * mib}, {float64(3 * mib), 100 * mib, 7 * mib}, {float64(3 * mib), 7*mib - 1, 7*mib - 1}} {
		if got := distance(c.rate, c.read, mib); got != c.want {
			t.Errorf("at %v after %d: %d, want %d", c.rate, c.read, got, c.want)
		}
	}
}

// TestStrideAccesses: requests with a gap of twice their length at most are one access;
// a stride that was broken predicts what it has seen since.
func TestStrideAccesses(t *testing.T) {
	for gap, want := range map[int64]int64{0: 8 * kib, 8 * kib: 16 * kib, 8*kib + 1: 4 * kib, -4 * kib: 4 * kib} {
		var s strides
		s.read(100*mib, 4*kib, mib)
		if s.read(100*mib+4*kib+gap, 4*kib, mib); s.access.Len() != want {
			t.Errorf("with a gap of %d: an access of %d, want %d", gap, s.access.Len(), want)
		}
		s = strides{}
		s.read(100*mib, 4*kib, mib)
		if s.read(100*mib-4*kib-gap, 4*kib, mib); gap >= 0 && s.access.Len() != want {
			t.Errorf("with a gap of %d before it: an access of %d, want %d", gap, s.access.Len(), want)
		}
	}
	var s strides
	at := int64(0)
	for _, n := range []int64{64 * kib, 64 * kib, 64 * kib, 64 * kib, 64 * kib} {
		at += 20 * mib
		s.read(at, n, mib)
	}
	if w := s.windows(nil, 1<<40); len(w) == 0 || w[0].Len() != 64*kib {
		t.Fatalf("predicted %v", w)
	}
	at += 300 * mib
	for range 6 {
		s.read(at, 4*kib, mib)
		at += 20 * mib
	}
	if w := s.windows(nil, 1<<40); len(w) == 0 || w[0] != (weir.Range{Off: at, End: at + 4*kib}) {
		t.Errorf("after a break %v is predicted", w)
	}
}

// TestWhereOneReadsComesFirst: of a reader of two places each change of place is told,
// and the window of the place where it is stands first.
func TestWhereOneReadsComesFirst(t *testing.T) {
	s := newSubject(2000*mib, mib)
	at := [2]int64{0, 1000 * mib}
	var shown []weir.Range
	for turn := range 20 {
		here := &at[turn%2]
		for i := range 24 {
			s.now = s.now.Add(time.Millisecond)
			changed := s.Read(s.now, *here, 128*kib)
			*here += 128 * kib
			if changed {
				shown = s.Windows(nil)
			}
			if i == 0 && turn > 6 && (!changed || len(shown) != 2 || shown[0].Off != *here) {
				t.Fatalf("turn %d at %d: windows %v, told %v", turn, *here, shown, changed)
			}
		}
	}
}

// TestForgottenRunTeaches: when a run is dropped for newer ones, the use of its window counts,
// though its reader might have returned.
func TestForgottenRunTeaches(t *testing.T) {
	s := newSubject(4000*mib, mib)
	at := int64(0)
	for range 4 {
		s.reads(time.Millisecond, 128*kib, sequence(at, at+3*mib, 128*kib)...)
		at += 3 * mib
		s.reads(time.Millisecond, 4*kib, 3000*mib)
	}
	before := s.openBytes
	r := &s.runs[1]
	if r.mode != forward || r.returns < returnsKeep {
		t.Fatalf("the run is %+v", *r)
	}
	r.opened = r.bytes // nothing was read in its window
	for i := range int64(3) {
		s.reads(time.Millisecond, 4*kib, (1000+i*100)*mib)
	}
	if s.openBytes != 2*before {
		t.Errorf("opens after %d, before after %d", s.openBytes, before)
	}
}
