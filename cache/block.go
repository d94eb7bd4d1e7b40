package cache

import (
	"math/bits"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/index"
	"github.com/weirfs/weir/cache/internal/segment"
)

// A block that is kept without the rest of its piece is a row like that of a piece, under
// the name that weir.TorrentInfo.BlockID gives it: it is put, viewed, adopted and evicted as
// pieces are. Once its piece is held, it is forgotten. It is never pinned: pins are of whole
// pieces.

// Forget takes the names of n pieces or blocks, from first on, out of the cache. Their
// rows go with their segments: for what is of no use, and not large.
func (c *Cache) Forget(first weir.PieceID, n int) error {
	if !c.held.any(first, n) {
		return nil
	}
	w, h := &c.writer, c.held
	if err := w.acquire(); err != nil {
		return err
	}
	defer w.release()
	gone := make(map[*volume][]segment.Name)
	h.mu.Lock()
	for i := range n {
		id := weir.PieceID{Torrent: first.Torrent, Index: first.Index + i}
		if s := h.at(id); s != nil {
			gone[s.in] = append(gone[s.in], segment.Name{ID: id, Off: int64(s.off)})
			h.forget(id)
			w.changes = append(w.changes, change{id, false})
		}
	}
	h.mu.Unlock()
	for v, names := range gone {
		_ = w.setNames(index.Gone, v, names...) // else the next start knows them again
	}
	return nil
}

// any reports whether one of n pieces or blocks from first on is held.
func (h *holdings) any(first weir.PieceID, n int) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	t := h.torrents[first.Torrent]
	return t != nil && t.count(first.Index, first.Index+n) > 0
}

// Numbers returns those of all that is held of a torrent: its pieces, and behind them blocks
// without their pieces.
func (s *store) Numbers(ih weir.InfoHash) (numbers []int) {
	s.held.mu.RLock()
	defer s.held.mu.RUnlock()
	if t := s.held.torrents[ih]; t != nil {
		t.each(0, 64*len(t.bitmap), func(i int) { numbers = append(numbers, i) })
	}
	return numbers
}

// each calls fn with what is held of first … end-1.
func (t *torrent) each(first, end int, fn func(index int)) {
	end = min(end, 64*len(t.bitmap))
	for w := first / 64; 64*w < end; w++ {
		for word := t.bitmap[w]; word != 0; word &= word - 1 {
			if i := 64*w + bits.TrailingZeros64(word); first <= i && i < end {
				fn(i)
			}
		}
	}
}

// blockBytes returns how many bytes of r are held in blocks without their pieces.
func (t *torrent) blockBytes(ti *weir.TorrentInfo, r weir.Range) (sum int64) {
	first, end := ti.Pieces(r)
	from, ok := ti.BlockID(first, 0)
	to, _ := ti.BlockID(end, 0)
	if !ok || first == end {
		return 0
	}
	t.each(from.Index, to.Index, func(number int) {
		if index, block, _ := ti.BlockOf(number); !t.has(index) {
			pr := ti.PieceRange(index)
			off := pr.Off + int64(block)*weir.BlockBytes
			sum += weir.Range{Off: off, End: off + weir.BlockBytes}.Intersect(pr).Intersect(r).Len()
		}
	})
	return sum
}
