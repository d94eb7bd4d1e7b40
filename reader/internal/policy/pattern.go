package policy

import (
	"time"

	"github.com/weirfs/weir"
)

// Pattern decides what of a file to want ahead of its reader, from the reader's
// past reads alone: facts in (the time, a range), a decision out (ranges). Offsets are
// in the file.
//
// What it sees is not what the program does. The kernel's own read-ahead splits
// reads into requests of 128 KiB, sends several at a time, lets them overtake each
// other by a MiB or two, and is up to a MiB ahead of the program; a mapped page
// that is touched pulls in half a MiB on each side. So a read near the head of a run
// continues the run, and a run opens a window only when it is longer than what one
// touch can cause. Random reads of small size, though, come as they are.
type Pattern struct {
	size       int64 // of the file
	pieceBytes int64
	maxBytes   int64 // of all windows together

	meter    meter
	runs     [maxRuns]run // the one that was read last first
	nRuns    int
	begun    int  // runs ever begun
	headHeld bool // somebody has looked at the file before: its head is held
	stride   strides

	// openBytes is how long a run must be before it opens a window. What windows
	// brought and what they cost moves it: a reader of chunks pays once.
	openBytes int64
	credit    int64 // read by the same reader in the files before

	published bool // the last Windows wanted something
}

// MaxWindows bounds the ranges of one file's windows.
const MaxWindows = maxRuns + maxStrides

// maxRuns is how many places of a file are followed at once: a film whose sound
// lies apart from its pictures has two.
const maxRuns = 4

const (
	// nearBytes is how far from the head of a run a read may be and still continue
	// it.
	nearBytes = 4 << 20
	// RequestBytes is the largest read that the kernel asks for at once.
	RequestBytes = 128 << 10
	// openBytes: more than a touch of a mapped page pulls in (1 MiB), and than the
	// kernel asks for when a program looks at the first 400 KiB.
	openBytes    = 2 << 20
	maxOpenBytes = 16 << 20
	// backReads is how many reads in a row, each just below the last, make a
	// backward run. They are the program's own: the kernel never reads ahead
	// that way.
	backReads = 8
	// denseBytes is over how much of a run its density counts.
	denseBytes = 8 << 20
	// returnsKeep is how often a reader comes back to a run before the run keeps
	// its window when the reader is elsewhere.
	returnsKeep = 2
	// tailBytes is what of the end of a file is wanted at once when a reader
	// jumps there from the beginning.
	tailBytes = 2 << 20
	// landBytes is how much is wanted after the place to which a reader goes from
	// there: the kernel reads ahead by as much as soon as the program goes on, and
	// then one request for both sides of a border of pieces waits for both.
	landBytes = 1 << 20
)

// run is one place at which the file is read.
type run struct {
	lo, hi  int64 // of the recent part
	covered int64 // bytes read between these
	bytes   int64 // read in all
	down    int   // reads in a row that went on below lo
	below   int64 // bytes of these
	bottom  int64 // the lowest byte read
	returns int   // how often the reader came back to it
	last    time.Time

	mode   mode
	opened int64      // bytes when it was opened
	land   int64      // where the window ends, while landing
	window weir.Range // as wanted last
}

// mode is in which direction a run has a window.
type mode uint8

const (
	closed mode = iota
	forward
	backward
	tail    // the end of the file, once
	landing // a little, where the index at the tail has sent the reader
)

// NewPattern returns the pattern of a file of which nothing was read yet. All its windows
// together have at most maxBytes; headHeld says that the file's first piece is held.
func NewPattern(size, pieceBytes, maxBytes int64, headHeld bool) Pattern {
	p := Pattern{size: size, pieceBytes: pieceBytes, maxBytes: maxBytes, headHeld: headHeld}
	p.openBytes = p.firstOpen()
	return p
}

// Inherit says that the reader has read so many bytes in order in the files
// before this one, and how fast: it need not prove itself again.
func (p *Pattern) Inherit(bytes int64, rate float64) {
	p.credit, p.meter.rate = bytes, rate
}

// Answered says that a read which had to wait has its bytes: from now on a pause is
// the reader's own.
func (p *Pattern) Answered(now time.Time) { p.meter.answered(now) }

// Grace is how long the reader may be silent before it counts as stopped.
func (p *Pattern) Grace() time.Duration { return Grace(p.meter.gap) }

// LastRead is when the reader read last.
func (p *Pattern) LastRead() time.Time { return p.meter.last }

// firstOpen is openBytes before anything was learned: a part of a long piece, since a
// mistake costs a piece.
func (p *Pattern) firstOpen() int64 { return max(openBytes, min(p.pieceBytes/4, maxOpenBytes/2)) }

// Read takes a read of n bytes at off and reports whether Windows would now
// return something else than last time.
func (p *Pattern) Read(now time.Time, off, n int64) bool {
	p.meter.read(now, n)
	i := p.match(off, n)
	moved := i != 0 // elsewhere than the last read
	if i < 0 {
		p.begin(off, n)
	} else if i > 0 {
		r := p.runs[i]
		r.returns++
		copy(p.runs[1:i+1], p.runs[:i])
		p.runs[0] = r
	}
	r := &p.runs[0]
	r.last = now
	if i >= 0 {
		r.extend(off, n)
	}
	p.judge(r)
	changed := p.stride.read(off, n, p.pieceBytes)
	if moved {
		p.leave(now)
	}
	return changed || moved && p.anyWanted() || p.moved(r)
}

// match returns the run that a read continues, -1 for none.
func (p *Pattern) match(off, n int64) int {
	for i := range p.nRuns {
		r := &p.runs[i]
		if off <= r.hi+nearBytes && off+n >= min(r.hi-nearBytes, r.lo-RequestBytes) {
			return i
		}
	}
	return -1
}

// begin starts a run, in place of the oldest if need be.
func (p *Pattern) begin(off, n int64) {
	if p.nRuns == maxRuns {
		p.learn(&p.runs[maxRuns-1])
	} else {
		p.nRuns++
	}
	// Only the head and then the end: an index lies there (moov, cues), and goes
	// on to the end of the file.
	atTail := p.begun == 1 && p.runs[0].bottom < RequestBytes && p.runs[0].mode == closed &&
		off > RequestBytes && off >= p.size-tailBytes
	// The end of a file that was looked at before, and then the middle: sent there
	// by the index. A program that goes to the end first (archives, Parquet) has an
	// index of many places.
	lands := p.begun == 1 && p.headHeld && p.runs[0].bottom >= p.size-tailBytes &&
		off > RequestBytes && off+n < p.size-tailBytes
	copy(p.runs[1:], p.runs[:p.nRuns-1])
	p.begun++
	p.runs[0] = run{lo: off, hi: off + n, bottom: off, covered: n, bytes: n}
	if p.begun == 1 {
		p.runs[0].bytes += p.credit
	}
	switch {
	case atTail:
		p.runs[0].mode = tail
	case lands:
		p.runs[0].mode, p.runs[0].land = landing, off+n+landBytes
	}
}

func (r *run) extend(off, n int64) {
	end := off + n
	if end <= r.lo+n/2 && end >= r.lo-RequestBytes {
		r.down++
		r.below += n
	} else if end > r.hi {
		r.down, r.below = 0, 0
	}
	r.bytes += n
	r.covered += n
	r.lo, r.hi = min(r.lo, off), max(r.hi, end)
	r.bottom = min(r.bottom, off)
	if span := r.hi - r.lo; span > denseBytes {
		if r.down > 0 {
			r.hi = r.lo + span/2
		} else {
			r.lo = r.hi - span/2
		}
		r.covered /= 2
	}
	r.covered = min(r.covered, r.hi-r.lo)
}

// judge opens or closes a run.
func (p *Pattern) judge(r *run) {
	dense := 2*r.covered >= r.hi-r.lo
	switch {
	case !dense:
		if r.mode == forward || r.mode == backward {
			p.learn(r)
			r.mode = closed
		}
	case r.down >= backReads && (r.below/int64(r.down) < RequestBytes || r.below >= p.openBytes):
		if r.mode != backward {
			r.mode, r.opened, r.bytes, r.window = backward, 0, r.below, weir.Range{}
		}
	case r.mode == backward && r.down == 0, r.mode == tail && r.bytes >= p.openBytes:
		r.mode = closed
	case (r.mode == closed || r.mode == landing) && r.bytes >= p.openBytes && r.down == 0:
		r.mode, r.opened = forward, r.bytes
	}
}

// leave closes the runs that the reader has left for good.
func (p *Pattern) leave(now time.Time) {
	for i := 1; i < p.nRuns; i++ {
		r := &p.runs[i]
		if r.mode == closed || r.returns >= returnsKeep && now.Sub(r.last) < aheadTime {
			continue
		}
		p.learn(r)
		r.mode = closed
	}
}

// learn compares what the window of a run brought with what it cost, when it
// comes to its end.
func (p *Pattern) learn(r *run) {
	if r.mode != forward || r.window.Empty() {
		return
	}
	used, wasted := r.bytes-r.opened, r.window.End-r.hi
	switch {
	case 2*wasted > used:
		p.openBytes = min(2*p.openBytes, maxOpenBytes)
	case used > 4*wasted:
		p.openBytes = max(p.openBytes/2, p.firstOpen()/4)
	}
	r.window = weir.Range{}
}

// anyWanted reports whether something is or was wanted.
func (p *Pattern) anyWanted() bool {
	for i := range p.nRuns {
		if p.runs[i].mode != closed {
			return true
		}
	}
	return p.published
}

// next returns the window that a run should have.
func (p *Pattern) next(r *run) weir.Range {
	reach := min(p.maxBytes, reach(p.meter.rate, r.bytes, p.pieceBytes))
	switch r.mode {
	case forward:
		return weir.Range{Off: r.hi, End: min(p.size, r.hi+reach)}
	case backward:
		return weir.Range{Off: max(0, r.lo-reach), End: r.lo}
	case tail:
		return weir.Range{Off: r.hi, End: p.size}
	case landing:
		return weir.Range{Off: min(r.hi, r.land), End: min(p.size, r.land)}
	}
	return weir.Range{}
}

// moved reports whether the window of a run has moved by a piece, and by an
// eighth of itself.
func (p *Pattern) moved(r *run) bool {
	next := p.next(r)
	if next.Empty() != r.window.Empty() {
		return true
	}
	if next.Empty() || r.mode == tail || r.mode == landing {
		return false
	}
	step := max(p.pieceBytes, next.Len()/8)
	if r.mode == backward {
		return r.window.Off-next.Off >= step || next.Off == 0 && r.window.Off > 0
	}
	return next.End-r.window.End >= step || next.End == p.size && r.window.End < p.size
}

// Windows appends what is wanted ahead of the reader now, the most wanted first.
func (p *Pattern) Windows(dst []weir.Range) []weir.Range {
	begin := len(dst)
	for i := range p.nRuns {
		r := &p.runs[i]
		if r.window = p.next(r); !r.window.Empty() {
			dst = append(dst, r.window)
		}
	}
	if len(dst) == begin {
		dst = p.stride.windows(dst, p.size)
	}
	p.published = len(dst) > begin
	return dst
}
