package cache

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/policy"
	"github.com/weirfs/weir/cache/internal/segment"
)

// holdings are what is held and where: the index in memory.
type holdings struct {
	clock atomic.Uint64 // bytes served and stored: the policy's time
	limit atomic.Int64  // bytes

	mu       sync.RWMutex
	closed   bool
	torrents map[weir.InfoHash]*torrent
	volumes  []*volume // by number; those that are being written too
	filter   *segment.Filter

	pieces    int
	bytes     int64 // in them
	shared    int   // of them, those whose bytes were written for another one
	sharedSum int64 // bytes in these
}

// volume is a segment and what holds of it now.
type volume struct {
	*segment.Segment

	inDatabase atomic.Bool // the database has names of it

	// Guarded by holdings.mu.
	sealed  bool
	disk    int64          // bytes on disk, as du counts
	live    int            // pieces in the index
	leaving bool           // it is being dropped: nothing new may point at it
	links   map[uint32]int // by offset of a row, how many of its names are links
	prints  segment.Prints
}

func (h *holdings) now() uint32 { return uint32(h.clock.Load() >> 20) }

// at returns the slot of a piece, or nil. The caller holds mu.
func (h *holdings) at(id weir.PieceID) *slot { return h.torrents[id.Torrent].slot(id.Index) }

// set enters a piece; the newest place wins. The caller holds mu, or is alone.
func (h *holdings) set(f segment.Name, v *volume) *slot {
	t := h.torrents[f.ID.Torrent]
	if t == nil {
		t = &torrent{hash: f.ID.Torrent}
		h.torrents[f.ID.Torrent] = t
	}
	if s := t.slot(f.ID.Index); s != nil {
		h.count(s, -1)
	}
	s := t.set(f, v)
	h.count(s, 1)
	return s
}

// forget takes a piece out. The caller holds mu.
func (h *holdings) forget(id weir.PieceID) {
	t := h.torrents[id.Torrent]
	h.count(t.slot(id.Index), -1)
	t.clear(id.Index)
	if t.held == 0 {
		delete(h.torrents, t.hash)
	}
}

// forgetIf takes a piece out if it lies in the row at off of v.
func (h *holdings) forgetIf(id weir.PieceID, v *volume, off int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	is := h.at(id).is(v, off)
	if is {
		h.forget(id)
	}
	return is
}

// count adds a piece to the sums (by 1) or takes it out (by -1). The caller holds
// mu.
func (h *holdings) count(s *slot, by int) {
	n := int64(by) * s.bytes()
	s.in.live += by
	h.pieces += by
	h.bytes += n
	if s.link() {
		s.in.countLink(s.off, by)
		h.shared += by
		h.sharedSum += n
	}
}

// countLink adds a link to the row at off, or takes one away. The caller holds
// holdings.mu.
func (v *volume) countLink(off uint32, by int) {
	if v.links == nil {
		v.links = make(map[uint32]int)
	}
	if v.links[off] += by; v.links[off] == 0 {
		delete(v.links, off)
	}
}

// alive reports whether the row at off, written under the name written, has any
// name left. Once false it is so for ever. The caller holds mu.
func (h *holdings) alive(v *volume, off int64, written weir.PieceID) bool {
	return !v.leaving && (v.links[uint32(off)] > 0 || h.at(written).is(v, off))
}

// place is a row, and of the piece that was looked up there its length and whether it
// is a link; with a reference to the segment.
type place struct {
	in     *volume // nil: it is not held
	off, n int64
	link   bool
}

// find looks a piece up for reading n bytes at off, and takes a reference that
// the caller gives back. With use it counts as one.
func (h *holdings) find(id weir.PieceID, off int64, n int, use bool) (place, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return place{}, fmt.Errorf("cache: %w", weir.ErrClosed)
	}
	s := h.at(id)
	if s == nil {
		return place{}, nil
	}
	size := s.bytes()
	if off < 0 || n < 0 || off+int64(n) > size {
		return place{}, weir.Errorf(weir.ErrInvalid, "read %d bytes at %d of %s, which has %d", n, off, id, size)
	}
	if use {
		now := uint32(h.clock.Add(uint64(n)) >> 20)
		s.heat.touch(now, policy.Period(h.limit.Load(), size))
	}
	s.in.Acquire()
	return place{s.in, int64(s.off), size, s.link()}, nil
}

func (h *holdings) has(id weir.PieceID) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.torrents[id.Torrent].has(id.Index)
}

// size returns the length of a piece that is held, and its uses.
func (h *holdings) size(id weir.PieceID) (n int64, uses uint8, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if s := h.at(id); s != nil {
		return s.bytes(), s.heat.uses(), true
	}
	return 0, 0, false
}

// list returns all pieces, torrent by torrent.
func (h *holdings) list() []weir.PieceID {
	h.mu.RLock()
	defer h.mu.RUnlock()
	ids := make([]weir.PieceID, 0, h.pieces)
	for hash, t := range h.torrents {
		for i := range 64 * len(t.bitmap) {
			if t.has(i) {
				ids = append(ids, weir.PieceID{Torrent: hash, Index: i})
			}
		}
	}
	return ids
}

// namesIn returns the pieces that lie in v, in the order of the rows.
func (h *holdings) namesIn(v *volume) []segment.Name {
	h.mu.RLock()
	names := make([]segment.Name, 0, v.live)
	hashes := make([]weir.InfoHash, 0, len(h.torrents))
	for hash := range h.torrents {
		hashes = append(hashes, hash)
	}
	h.mu.RUnlock()
	// Torrent by torrent: the writers of the index wait for one at most.
	for _, hash := range hashes {
		h.mu.RLock()
		if t := h.torrents[hash]; t != nil {
			for p, page := range t.pages {
				for i := 0; page != nil && i < slotsPerPage; i++ {
					if s := &page[i]; s.in == v {
						id := weir.PieceID{Torrent: hash, Index: p*slotsPerPage + i}
						names = append(names, segment.Name{ID: id, Off: int64(s.off), N: s.bytes(), Link: s.link()})
					}
				}
			}
		}
		h.mu.RUnlock()
	}
	segment.SortByRow(names)
	return names
}

// rowsWith returns the rows whose hash begins like this one, newest first. The caller
// gives the references to their segments back.
func (h *holdings) rowsWith(hash []byte) (rows []place) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(hash) == 0 || !h.filter.Has(hash) {
		return nil
	}
	for _, v := range slices.Backward(h.volumes) {
		if off, ok := v.prints.Find(hash, v.sealed); ok && !v.leaving {
			v.Acquire()
			rows = append(rows, place{in: v, off: off})
		}
	}
	return rows
}

// add enters a segment, and take takes it out.
func (h *holdings) add(v *volume) {
	h.mu.Lock()
	h.volumes = append(h.volumes, v)
	h.mu.Unlock()
	h.refilter()
}

func (h *holdings) take(v *volume) {
	h.mu.Lock()
	h.volumes = slices.DeleteFunc(h.volumes, func(x *volume) bool { return x == v })
	h.mu.Unlock()
	h.refilter()
}

// refilter makes a new filter when the old one is full of what is gone. The caller is
// the only one who adds.
func (h *holdings) refilter() {
	if h.filter != nil && !h.filter.Full() {
		return
	}
	h.mu.RLock()
	f := segment.NewFilter(h.pieces)
	for _, v := range h.volumes {
		f.Add(v.prints...)
	}
	h.mu.RUnlock()
	h.mu.Lock()
	h.filter = f
	h.mu.Unlock()
}

// measure sets what a segment takes on disk.
func (h *holdings) measure(v *volume) {
	n := v.Size()
	h.mu.Lock()
	v.disk = n
	h.mu.Unlock()
}
