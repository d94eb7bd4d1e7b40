package picker

import (
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestShortBlocks: pieces that hold a small file each are fetched at the rate of the
// line, too, whatever the round trip: what a peer is asked for at a time is counted
// in blocks of the length that comes, not in whole ones.
func TestShortBlocks(t *testing.T) {
	for name, c := range map[string]struct {
		prio  weir.Priority
		bytes int64
		most  time.Duration // 0.4 s at the rate of the line
	}{
		"Background":     {weir.Background, 1600, 1200 * ms},
		"Window":         {weir.Window, 1600, 1200 * ms},
		"LongRoundTrips": {weir.Window, 1600, 3 * time.Second},
		"WholeBlocks":    {weir.Background, weir.BlockBytes, 1200 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			const content = 8_000_000
			pieces := content / c.bytes
			s := newSim(t, pieces, c.bytes, Options{})
			rtt := 50 * ms
			if name == "LongRoundTrips" {
				rtt = 300 * ms
			}
			for range 4 {
				s.join(rtt, 5e6)
			}
			s.k.Set(s.k.NewWant(c.prio), []Span{{0, int(pieces)}})
			d := s.run(time.Minute, func() bool { return s.k.HeldCount() == int(pieces) })
			t.Logf("took %v", d)
			if d > c.most {
				t.Errorf("took %v", d)
			}
		})
	}
}

// TestShortBlocksBetween: a few short blocks, as files end with, don't make a peer
// seem slower or its window longer.
func TestShortBlocksBetween(t *testing.T) {
	m := newMeter(50 * ms)
	now := time.Unix(1, 0)
	m.begin(now)
	arrive := func(n int64) {
		now = now.Add(time.Duration(float64(n) / 5e6 * float64(time.Second)))
		m.arrived(now, n)
	}
	for range 2000 {
		arrive(weir.BlockBytes)
	}
	before := m.window(100 * ms)
	arrive(100)
	if after := m.window(100 * ms); after < before || after > before+before/8 {
		t.Errorf("a window of %d blocks after a short one, %d before", after, before)
	}
	for range 64 {
		arrive(weir.BlockBytes)
	}
	if after := m.window(100 * ms); after < before-1 || after > before+1 {
		t.Errorf("a window of %d blocks when whole ones come again, %d before", after, before)
	}
}
