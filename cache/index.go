package cache

import (
	"math/bits"
	"sync/atomic"

	"github.com/weirfs/weir"
)

// maxPieces bounds the index of a piece. Real torrents stay below 2^24.
const maxPieces = 1 << 26

// slot is where one piece lies. The place is guarded by Cache.mu; heat is not.
type slot struct {
	gen  *generation // nil: not held
	off  uint32      // of the first entry in the generation's value log
	n    uint32      // bytes in the piece, and linkBit
	heat heat
}

// linkBit marks a slot whose bytes were written under another name (shared.go).
const linkBit = 1 << 31

func (s *slot) bytes() int64 { return int64(s.n &^ linkBit) }
func (s *slot) link() bool   { return s.n&linkBit != 0 }

// is reports whether the slot points at the row that begins at off of g.
func (s *slot) is(g *generation, off int64) bool {
	return s != nil && s.gen == g && int64(s.off) == off
}

// heat is what the policy knows of one piece: how often it was used (0 … 3) and
// at which reading of the clock it was used last. Safe for concurrent use.
type heat struct {
	v atomic.Uint64 // uses << 32 | clock in MiB
}

func (h *heat) load() (uses uint8, clock uint32) {
	v := h.v.Load()
	return uint8(v >> 32), uint32(v)
}

func (h *heat) store(uses uint8, clock uint32) { h.v.Store(uint64(uses)<<32 | uint64(clock)) }

// touch counts a use of a piece of n bytes at the given clock.
func (h *heat) touch(clock, period uint32) {
	v := h.v.Load()
	uses := touched(uint8(v>>32), uint32(v), clock, period)
	if next := uint64(uses)<<32 | uint64(clock); uses != uint8(v>>32) {
		h.v.CompareAndSwap(v, next) // who loses counted the same use
	}
}

const slotsPerPage = 64

// torrent is the index of one torrent: a bitmap of what is held, and pages of
// slots that exist only where something is held.
type torrent struct {
	hash   weir.InfoHash
	bitmap []uint64
	pages  []*[slotsPerPage]slot
	held   int
}

func (t *torrent) has(index int) bool {
	w := index / 64
	return index >= 0 && w < len(t.bitmap) && t.bitmap[w]&(1<<(index%64)) != 0
}

// slot returns the slot of a held piece, else nil.
func (t *torrent) slot(index int) *slot {
	if !t.has(index) {
		return nil
	}
	return &t.pages[index/slotsPerPage][index%slotsPerPage]
}

// set puts a piece at a place; its heat stays.
func (t *torrent) set(f found, g *generation) *slot {
	w := f.id.Index / 64
	for w >= len(t.bitmap) {
		t.bitmap = append(t.bitmap, 0)
		t.pages = append(t.pages, nil)
	}
	if t.pages[w] == nil {
		t.pages[w] = new([slotsPerPage]slot)
	}
	s := &t.pages[w][f.id.Index%slotsPerPage]
	if s.gen == nil {
		t.held++
		t.bitmap[w] |= 1 << (f.id.Index % 64)
	}
	s.gen, s.off, s.n = g, uint32(f.off), uint32(f.n)
	if f.link {
		s.n |= linkBit
	}
	return s
}

// clear forgets a piece.
func (t *torrent) clear(index int) {
	s := t.slot(index)
	if s == nil {
		return
	}
	w := index / 64
	s.gen, s.off, s.n = nil, 0, 0
	s.heat.store(0, 0)
	t.held--
	t.bitmap[w] &^= 1 << (index % 64)
	if t.bitmap[w] == 0 {
		t.pages[w] = nil
	}
}

// count returns how many of the pieces first … end-1 are held.
func (t *torrent) count(first, end int) int {
	end = min(end, 64*len(t.bitmap))
	n := 0
	for i := max(first, 0); i < end; {
		w, b := i/64, i%64
		span := min(64-b, end-i)
		mask := ^uint64(0) >> (64 - span) << b
		n += bits.OnesCount64(t.bitmap[w] & mask)
		i += span
	}
	return n
}
