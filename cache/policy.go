package cache

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/weirfs/weir"
)

// The policy is S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO Queues are All You
// Need for Cache Eviction", SOSP 2023), with generations as the grain of its
// queues: new pieces enter a small probation row; what is used again before it
// gets to the row's end moves to the main row, the rest leaves after having cost
// a fifth of the budget; main is a FIFO with a second chance per use. A piece
// that comes back soon after it left (the ghost knows) enters main at once.
// FIFO order is what dropping whole generations can do, and one pass over a huge
// file only ever passes through probation.
//
// One thing differs. Kernels read a piece in many small reads, so that a use is
// not a read: reads of a piece count as one use until the cache as a whole has
// moved on by a period of bytes ("correlated references" in LRU-K and 2Q).

// class is the row of generations that a piece lives in. The letters stand in
// folder names.
type class byte

const (
	probation class = 'p' // came in once
	mainRow   class = 'm' // was used again
	kept      class = 'k' // pinned
)

var classes = [...]class{probation, mainRow, kept}

const (
	maxUses = 3

	// probationShare is the part of the budget that pieces pass on probation: 1/5,
	// where the paper has 1/10. The simulation (policy_test.go) loses nothing by it
	// and does better where interest moves on.
	probationShare = 5

	// periodShare and periodPieces give the bytes served and stored after which
	// reading a piece is a new use of it.
	periodShare  = 64
	periodPieces = 2
)

// period returns the correlation period, in MiB, of a piece of n bytes.
func period(limit, n int64) uint32 {
	return uint32(max(limit/periodShare, periodPieces*n)>>20) + 1
}

// touched returns the uses of a piece after a read at the given clock.
func touched(uses uint8, last, clock, period uint32) uint8 {
	if clock-last < period {
		return uses
	}
	return min(uses+1, maxUses)
}

// genFacts is what the policy knows of a generation.
type genFacts struct {
	class  class
	bytes  int64 // on disk
	pinned int64 // of them, in pinned pieces
}

// victim chooses which of the generations, oldest first, is dropped next; -1
// when none is worth dropping.
func victim(gens []genFacts, limit int64) int {
	var probationBytes int64
	first := map[class]int{}
	free := limit
	emptiest, least := -1, 1.0
	for i, g := range gens {
		if _, ok := first[g.class]; !ok {
			first[g.class] = i
		}
		switch g.class {
		case probation:
			probationBytes += g.bytes
		case kept:
			free -= g.pinned
			// A row of pins has no order: what matters is how much a drop frees.
			if share := float64(g.pinned) / float64(max(g.bytes, 1)); share < least-0.1 {
				emptiest, least = i, share
			}
		}
	}
	if emptiest >= 0 && least < 0.5 {
		return emptiest
	}
	p, haveP := first[probation]
	m, haveM := first[mainRow]
	switch {
	case haveP && (probationBytes > free/probationShare || !haveM):
		return p
	case haveM:
		return m
	}
	return emptiest
}

// fate decides about one piece of a generation that is dropped. It moves to the
// newest generation of a class with the uses returned, or it goes (keep false).
// hotBytes is what may still be moved because of uses alone.
func fate(c class, uses uint8, pinned, protected bool, n, hotBytes int64) (keep bool, to class, left uint8) {
	switch {
	case pinned:
		return true, kept, uses
	case uses > 0 && n <= hotBytes:
		if c == probation {
			return true, mainRow, 0
		}
		return true, mainRow, uses - 1
	case protected: // on probation they would leave no room to pass
		return true, mainRow, uses
	}
	return false, 0, 0
}

// mostProtected is how much of a budget may be protected: half of what the pins
// leave. The rest, more than passes on probation, can be evicted.
func mostProtected(limit, pinned int64) int64 { return max(0, limit-pinned) / 2 }

// ghost remembers the names of pieces that left probation unused, as long as
// about as many others have left as the cache holds. It is a table of
// fingerprints that overwrites on collision: fixed memory, and a mistake costs a
// place in the wrong row.
type ghost struct {
	seed  maphash.Seed
	table []ghostEntry
	now   uint32 // counts insertions
}

type ghostEntry struct{ print, when uint32 }

const ghostEntries = 1 << 16

func newGhost() *ghost {
	return &ghost{seed: maphash.MakeSeed(), table: make([]ghostEntry, ghostEntries)}
}

func (g *ghost) place(id weir.PieceID) (*ghostEntry, uint32) {
	var b [24]byte
	copy(b[:], id.Torrent[:])
	binary.BigEndian.PutUint32(b[20:], uint32(id.Index))
	h := maphash.Bytes(g.seed, b[:])
	return &g.table[h%uint64(len(g.table))], uint32(h>>32) | 1
}

func (g *ghost) add(id weir.PieceID) {
	g.now++
	e, print := g.place(id)
	*e = ghostEntry{print, g.now}
}

// take reports whether id left among the last held pieces, and forgets it.
func (g *ghost) take(id weir.PieceID, held int) bool {
	e, print := g.place(id)
	if e.print != print || int(g.now-e.when) >= held {
		return false
	}
	*e = ghostEntry{}
	return true
}
