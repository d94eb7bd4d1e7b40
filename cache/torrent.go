package cache

import (
	"math/bits"
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/policy"
	"github.com/weirfs/weir/cache/internal/segment"
)

// slot is where one piece lies. The place is guarded by holdings.mu; heat is not.
type slot struct {
	in   *volume // nil: not held
	off  uint32  // of the row
	n    uint32  // bytes in the piece, and linkBit
	heat heat
}

// linkBit marks a slot whose row was written under another name.
const linkBit = 1 << 31

func (s *slot) bytes() int64 { return int64(s.n &^ linkBit) }
func (s *slot) link() bool   { return s.n&linkBit != 0 }

// is reports whether the slot points at the row at off of v.
func (s *slot) is(v *volume, off int64) bool { return s != nil && s.in == v && int64(s.off) == off }

// heat is what the policy knows of one piece: how often it was used (0 … 3) and
// at which reading of the clock it was used last. Safe for concurrent use.
type heat struct {
	v atomic.Uint64 // uses << 32 | clock in MiB
}

func (h *heat) uses() uint8 { return uint8(h.v.Load() >> 32) }

func (h *heat) store(uses uint8, clock uint32) { h.v.Store(uint64(uses)<<32 | uint64(clock)) }

// touch counts a use at the given clock.
func (h *heat) touch(clock, period uint32) {
	v := h.v.Load()
	uses := policy.Touched(uint8(v>>32), uint32(v), clock, period)
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
	return t != nil && index >= 0 && w < len(t.bitmap) && t.bitmap[w]&(1<<(index%64)) != 0
}

// slot returns the slot of a held piece, else nil.
func (t *torrent) slot(index int) *slot {
	if !t.has(index) {
		return nil
	}
	return &t.pages[index/slotsPerPage][index%slotsPerPage]
}

// set puts a piece at a place; its heat stays.
func (t *torrent) set(f segment.Name, v *volume) *slot {
	w := f.ID.Index / 64
	for w >= len(t.bitmap) {
		t.bitmap = append(t.bitmap, 0)
		t.pages = append(t.pages, nil)
	}
	if t.pages[w] == nil {
		t.pages[w] = new([slotsPerPage]slot)
	}
	s := &t.pages[w][f.ID.Index%slotsPerPage]
	if s.in == nil {
		t.held++
		t.bitmap[w] |= 1 << (f.ID.Index % 64)
	}
	s.in, s.off, s.n = v, uint32(f.Off), uint32(f.N)
	if f.Link {
		s.n |= linkBit
	}
	return s
}

// clear forgets a piece that is held.
func (t *torrent) clear(index int) {
	w, s := index/64, t.slot(index)
	s.in, s.off, s.n = nil, 0, 0
	s.heat.store(0, 0)
	t.held--
	if t.bitmap[w] &^= 1 << (index % 64); t.bitmap[w] == 0 {
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

// bytes returns how many bytes of r are held, where every piece in r but the last
// is of full length.
func (t *torrent) bytes(ti *weir.TorrentInfo, r weir.Range) int64 {
	first, end := ti.Pieces(r)
	if first == end {
		return 0
	}
	// The first and the last may be covered in part, and the last may be short.
	sum := int64(max(t.count(first+1, end-1), 0)) * ti.PieceLength
	if t.has(first) {
		sum += ti.PieceRange(first).Intersect(r).Len()
	}
	if end-1 > first && t.has(end-1) {
		sum += ti.PieceRange(end - 1).Intersect(r).Len()
	}
	return sum
}
