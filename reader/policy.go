package reader

import (
	"time"

	"github.com/weirfs/weir"
)

// policy decides how far ahead of a reader to want, from its past reads alone.
//
// The kernel's own read-ahead splits reads into pieces of 128 KiB, sends several
// at a time and lets them overtake each other, up to a MiB or two around the
// place that the program has reached. So a read near the run's head continues
// the run, in whichever direction, and one further away begins a new one.
type policy struct {
	pieceBytes int64
	maxBytes   int64

	begun bool
	head  int64     // the furthest end of a read of the run
	run   int64     // bytes read in the run
	rate  float64   // bytes per second that the reader takes
	mark  time.Time // begin of the running rate sample
	taken int64     // since mark
}

const (
	// nearBytes is how far from the head a read may be and still continue the run.
	nearBytes = 4 << 20
	// openBytes of a run open the window: more than a mapped page pulls in
	// around itself (read_ahead_kb, 1 MiB), so that random access never does.
	openBytes = 1<<20 + 256<<10
	// ahead is how much of the reader's time the window covers.
	ahead      = 2 * time.Second
	leastBytes = 8 << 20
	sampleTime = 250 * time.Millisecond
)

// read takes a read of n bytes at off and returns the window that follows from
// it, in file coordinates, possibly past the end of the file; empty for none.
func (p *policy) read(now time.Time, off, n int64) weir.Range {
	end := off + n
	if !p.begun || off < p.head-nearBytes || off > p.head+nearBytes {
		p.begun = true
		p.head, p.run, p.mark, p.taken = end, n, now, 0
		return weir.Range{}
	}
	p.head = max(p.head, end)
	p.run += n
	p.taken += n
	if d := now.Sub(p.mark); d >= sampleTime {
		sample := float64(p.taken) / d.Seconds()
		if p.rate == 0 || sample > p.rate {
			p.rate = sample
		} else {
			p.rate += (sample - p.rate) / 4
		}
		p.mark, p.taken = now, 0
	}
	if p.run < openBytes {
		return weir.Range{}
	}
	// As much as was read already, so that a reader that stops early has cost
	// little, up to what it takes in two seconds.
	most := min(p.maxBytes, max(leastBytes, 2*p.pieceBytes, int64(p.rate*ahead.Seconds())))
	return weir.Range{Off: p.head, End: p.head + min(most, max(p.pieceBytes, p.run))}
}
