package policy

import (
	"time"

	"github.com/weirfs/weir"
)

// Pattern decides what of a file to read ahead, from past reads alone: facts in (the time,
// a range), a decision out (ranges). Offsets are in the file.
//
// It sees the kernel's requests, not the program's reads. The kernel's read-ahead splits
// reads into requests of 128 KiB, sends several at a time, reorders them by a MiB or two,
// and is up to a MiB ahead of the program; touching a mapped page pulls in half a MiB on
// each side. So a read near the head of a run continues the run, and a run opens a window
// only when it is longer than what one touch can cause. Small random reads arrive
// unchanged.
type Pattern struct {
	size       int64 // of the file
	pieceBytes int64
	maxBytes   int64 // of all windows together

	meter    meter
	runs     [maxRuns]run // the latest first
	nRuns    int
	begun    int  // runs ever begun
	headHeld bool // the file was read before: its first piece is held
	stride   strides

	// openBytes is how long a run must be before it opens a window. It grows when windows
	// are wasted and shrinks when they are used.
	openBytes int64
	credit    int64 // bytes read by the same reader in the files before this one

	published bool // the last Windows wanted something
	sparse    bool // the last read went on from no other
}

// MaxWindows bounds the ranges of one file's windows.
const MaxWindows = maxRuns + maxStrides

// maxRuns is how many places of a file are followed at once: a film whose audio is stored
// apart from its video has two.
const maxRuns = 4

const (
	// nearBytes is how far from the head of a run a read may be and still continue
	// it.
	nearBytes = 4 << 20
	// RequestBytes is the largest read that the kernel asks for at once.
	RequestBytes = 128 << 10
	// openBytes is more than the kernel reads when a program touches a mapped page (1 MiB),
	// or reads the first 400 KiB.
	openBytes    = 2 << 20
	maxOpenBytes = 16 << 20
	// backReads is how many reads in a row, each just below the last, make a backward run.
	// The kernel never reads ahead in that direction, so they are the program's own.
	backReads = 8
	// denseBytes is the recent length of a run over which its density is measured.
	denseBytes = 8 << 20
	// returnsKeep is how often a reader must come back to a run before the run keeps its
	// window while the reader is elsewhere.
	returnsKeep = 2
	// tailBytes is how much of the end of a file is wanted at once when a reader jumps
	// there from the beginning.
	tailBytes = 2 << 20
	// afterIndexBytes is how much is wanted at the place to which a reader goes from there.
	// The kernel reads ahead as much once the program goes on, and a request that spans two
	// pieces waits for both.
	afterIndexBytes = 1 << 20
)

// run is one place at which the file is read.
type run struct {
	lo, hi    int64 // the recent range
	covered   int64 // bytes read in it
	bytes     int64 // read in all
	down      int   // reads in a row that went on below lo
	downBytes int64 // bytes of these
	bottom    int64 // the lowest byte read
	end       int64 // of the latest read
	returns   int   // how often the reader came back to it
	last      time.Time

	mode      mode
	opened    int64      // bytes when it was opened
	windowEnd int64      // where the window ends, in mode afterIndex
	window    weir.Range // as wanted last
}

// mode is the kind of window that a run has.
type mode uint8

const (
	closed mode = iota
	forward
	backward
	tail       // the end of the file, once
	afterIndex // a little, at the place to which the index at the tail has sent the reader
)

// NewPattern returns the pattern of a file of which nothing was read yet. All its windows
// together have at most maxBytes; headHeld says that the file's first piece is held.
func NewPattern(size, pieceBytes, maxBytes int64, headHeld bool) Pattern {
	p := Pattern{size: size, pieceBytes: pieceBytes, maxBytes: maxBytes, headHeld: headHeld}
	p.openBytes = p.firstOpen()
	return p
}

// Inherit says how many bytes the reader has read in order in the files before this one,
// and how fast: it needs no new run to open a window.
func (p *Pattern) Inherit(bytes int64, rate float64) {
	p.credit, p.meter.rate = bytes, rate
}

// Answered says that a read that waited for the swarm has its bytes. Only the time from now
// on is the reader's own pause.
func (p *Pattern) Answered(now time.Time) { p.meter.answered(now) }

// Grace is how long the reader may be silent before it counts as stopped.
func (p *Pattern) Grace() time.Duration { return Grace(p.meter.gap) }

// LastRead is when the reader read last.
func (p *Pattern) LastRead() time.Time { return p.meter.last }

// firstOpen is the initial openBytes: more for long pieces, since a mistake costs a piece.
func (p *Pattern) firstOpen() int64 { return max(openBytes, min(p.pieceBytes/4, maxOpenBytes/2)) }

// Read takes a read of n bytes at off and reports whether Windows would return something
// else than last time.
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
	p.sparse = p.credit == 0 && (i < 0 || off > r.end+max(n, weir.BlockBytes) || off+n < r.end-max(n, weir.BlockBytes))
	r.end = off + n
	r.last = now
	if i >= 0 {
		r.extend(off, n)
	}
	p.updateMode(r)
	changed := p.stride.read(off, n, p.pieceBytes)
	if moved {
		p.leave(now)
	}
	return changed || moved && p.anyWanted() || p.moved(r)
}

// Sparse reports whether the last read went on from no other, so that little may be read
// around it. The head of a file is such a read, too.
func (p *Pattern) Sparse() bool { return p.sparse && p.runs[0].mode == closed }

// match returns the run that a read continues, or -1.
func (p *Pattern) match(off, n int64) int {
	for i := range p.nRuns {
		r := &p.runs[i]
		if off <= r.hi+nearBytes && off+n >= min(r.hi-nearBytes, r.lo-RequestBytes) {
			return i
		}
	}
	return -1
}

// begin starts a run, if need be in place of the oldest.
func (p *Pattern) begin(off, n int64) {
	if p.nRuns == maxRuns {
		p.learn(&p.runs[maxRuns-1])
	} else {
		p.nRuns++
	}
	// The head and then the end: an index (moov, cues) lies there, and ends with the file.
	atTail := p.begun == 1 && p.runs[0].bottom < RequestBytes && p.runs[0].mode == closed &&
		off > RequestBytes && off >= p.size-tailBytes
	// The end of a file that was read before, and then the middle: the index has sent the
	// reader there. If the file was not read before (archives, Parquet), the index may send
	// it to many places.
	sentByIndex := p.begun == 1 && p.headHeld && p.runs[0].bottom >= p.size-tailBytes &&
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
	case sentByIndex:
		p.runs[0].mode, p.runs[0].windowEnd = afterIndex, off+n+afterIndexBytes
	}
}

func (r *run) extend(off, n int64) {
	end := off + n
	if end <= r.lo+n/2 && end >= r.lo-RequestBytes {
		r.down++
		r.downBytes += n
	} else if end > r.hi {
		r.down, r.downBytes = 0, 0
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

// updateMode opens or closes the window of a run.
func (p *Pattern) updateMode(r *run) {
	dense := 2*r.covered >= r.hi-r.lo
	switch {
	case !dense:
		if r.mode == forward || r.mode == backward {
			p.learn(r)
			r.mode = closed
		}
	case r.down >= backReads && (r.downBytes/int64(r.down) < RequestBytes || r.downBytes >= p.openBytes):
		if r.mode != backward {
			r.mode, r.opened, r.bytes, r.window = backward, 0, r.downBytes, weir.Range{}
		}
	case r.mode == backward && r.down == 0, r.mode == tail && r.bytes >= p.openBytes:
		r.mode = closed
	case (r.mode == closed || r.mode == afterIndex) && r.bytes >= p.openBytes && r.down == 0:
		r.mode, r.opened = forward, r.bytes
	}
}

// leave closes runs that the reader will probably not return to.
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

// learn adjusts openBytes when a run ends, by how much of its window was read.
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

// anyWanted reports whether a window is open or published.
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
	distance := min(p.maxBytes, distance(p.meter.rate, r.bytes, p.pieceBytes))
	switch r.mode {
	case forward:
		return weir.Range{Off: r.hi, End: min(p.size, r.hi+distance)}
	case backward:
		return weir.Range{Off: max(0, r.lo-distance), End: r.lo}
	case tail:
		return weir.Range{Off: r.hi, End: p.size}
	case afterIndex:
		return weir.Range{Off: min(r.hi, r.windowEnd), End: min(p.size, r.windowEnd)}
	}
	return weir.Range{}
}

// moved reports whether the window of a run has moved by at least a piece and an eighth of
// its length.
func (p *Pattern) moved(r *run) bool {
	next := p.next(r)
	if next.Empty() != r.window.Empty() {
		return true
	}
	if next.Empty() || r.mode == tail || r.mode == afterIndex {
		return false
	}
	step := max(p.pieceBytes, next.Len()/8)
	if r.mode == backward {
		return r.window.Off-next.Off >= step || next.Off == 0 && r.window.Off > 0
	}
	return next.End-r.window.End >= step || next.End == p.size && r.window.End < p.size
}

// Windows appends the ranges to read ahead, the most wanted first.
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
