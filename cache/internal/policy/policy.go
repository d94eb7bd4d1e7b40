// Package policy decides what the cache keeps: which segment is dropped next, and
// what becomes of the pieces in it. Facts go in, decisions come out.
//
// What must not live here: clocks, goroutines, files, and the cache itself.
package policy

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/weirfs/weir"
)

// The policy is S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO Queues are All You
// Need for Cache Eviction", SOSP 2023), with segments as the grain of its
// queues: new pieces enter a small probation queue; what is used again before it
// gets to the queue's end moves to the main queue, the rest leaves after having cost
// a fifth of the budget; main is a FIFO with a second chance per use. A piece
// that comes back soon after it left (the ghost knows) enters main at once.
// FIFO order is what dropping whole segments can do, and one pass over a huge
// file only ever passes through probation.
//
// One thing differs. Kernels read a piece in many small reads, so that a use is
// not a read: reads of a piece count as one use until the cache as a whole has
// moved on by a period of bytes ("correlated references" in LRU-K and 2Q).

// Class is the queue of segments that a piece lives in. The letters stand in the
// names of files.
type Class byte

const (
	Probation Class = 'p' // came in once
	Main      Class = 'm' // was used again
	Pinned    Class = 'k' // pinned
)

// Classes are all of them.
var Classes = [...]Class{Probation, Main, Pinned}

// maxUses is where uses are no longer counted.
const maxUses = 3

const (
	// probationShare is the part of the budget that pieces pass on probation: 1/5,
	// where the paper has 1/10. The simulation (policy_test.go) loses nothing by it
	// and does better where interest moves on.
	probationShare = 5

	// periodShare and periodPieces give the bytes served and stored after which
	// reading a piece is a new use of it.
	periodShare  = 64
	periodPieces = 2
)

// Period returns the correlation period, in MiB, of a piece of n bytes.
func Period(limit, n int64) uint32 {
	return uint32(max(limit/periodShare, periodPieces*n)>>20) + 1
}

// Touched returns the uses of a piece after a read at the given clock.
func Touched(uses uint8, last, clock, period uint32) uint8 {
	if clock-last < period {
		return uses
	}
	return min(uses+1, maxUses)
}

// Segment is what the policy knows of one.
type Segment struct {
	Class  Class
	Bytes  int64 // on disk
	Pinned int64 // of them, in pinned pieces
}

// Victim chooses which of the segments, oldest first, is dropped next; -1
// when none is worth dropping.
func Victim(segments []Segment, limit int64) int {
	var probationBytes int64
	first := map[Class]int{}
	free := limit
	emptiest, least := -1, 1.0
	for i, g := range segments {
		if _, ok := first[g.Class]; !ok {
			first[g.Class] = i
		}
		switch g.Class {
		case Probation:
			probationBytes += g.Bytes
		case Pinned:
			free -= g.Pinned
			// A queue of pins has no order: what matters is how much a drop frees.
			if share := float64(g.Pinned) / float64(max(g.Bytes, 1)); share < least-0.1 {
				emptiest, least = i, share
			}
		}
	}
	if emptiest >= 0 && least < 0.5 {
		return emptiest
	}
	p, haveP := first[Probation]
	m, haveM := first[Main]
	switch {
	case haveP && (probationBytes > free/probationShare || !haveM):
		return p
	case haveM:
		return m
	}
	return emptiest
}

// Fate decides about one piece of a segment that is dropped. It moves to the
// newest segment of a class with the uses returned, or it goes (keep false).
// hotBytes is what may still be moved because of uses alone.
func Fate(c Class, uses uint8, pinned, protected bool, n, hotBytes int64) (keep bool, to Class, left uint8) {
	switch {
	case pinned:
		return true, Pinned, uses
	case uses > 0 && n <= hotBytes:
		if c == Probation {
			return true, Main, 0
		}
		return true, Main, uses - 1
	case protected: // on probation they would leave no room to pass
		return true, Main, uses
	}
	return false, 0, 0
}

// MostProtected is how much of a budget may be protected: half of what the pins
// leave. The rest, more than passes on probation, can be evicted.
func MostProtected(limit, pinned int64) int64 { return max(0, limit-pinned) / 2 }

// Ghost remembers the names of pieces that left probation unused, as long as
// about as many others have left as the cache holds. It is a table of
// fingerprints that overwrites on collision: fixed memory, and a mistake costs a
// place in the wrong queue.
type Ghost struct {
	seed  maphash.Seed
	table []ghostEntry
	now   uint32 // counts insertions
}

type ghostEntry struct{ print, when uint32 }

const ghostEntries = 1 << 16

// NewGhost returns one that remembers nothing.
func NewGhost() *Ghost {
	return &Ghost{seed: maphash.MakeSeed(), table: make([]ghostEntry, ghostEntries)}
}

func (g *Ghost) place(id weir.PieceID) (*ghostEntry, uint32) {
	var b [24]byte
	copy(b[:], id.Torrent[:])
	binary.BigEndian.PutUint32(b[20:], uint32(id.Index))
	h := maphash.Bytes(g.seed, b[:])
	return &g.table[h%uint64(len(g.table))], uint32(h>>32) | 1
}

// Add enters a piece that leaves.
func (g *Ghost) Add(id weir.PieceID) {
	g.now++
	e, print := g.place(id)
	*e = ghostEntry{print, g.now}
}

// Take reports whether id left among the last held pieces, and forgets it.
func (g *Ghost) Take(id weir.PieceID, held int) bool {
	e, print := g.place(id)
	if e.print != print || int(g.now-e.when) >= held {
		return false
	}
	*e = ghostEntry{}
	return true
}
