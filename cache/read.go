package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/index"
	"github.com/weirfs/weir/cache/internal/segment"
)

// gather holds what is viewed.
var gather = sync.Pool{New: func() any { return new([]byte) }}

// View calls use once, with the n bytes at off of the piece, if the piece is
// held, and returns whether it did. The bytes are valid during the call only and
// are the callee's to change. Every block is checked against its checksum first,
// at each read: a page that was right once can come back wrong from the disk. A
// piece that fails is dropped, Changed is told, and View says that it is not held.
//
// The error wraps weir.ErrInvalid when the range is outside of the piece and
// weir.ErrClosed after Close. View never waits for a writer.
func (s *store) View(id weir.PieceID, off int64, n int, use func(b []byte)) (bool, error) {
	if n < 0 || n > segment.MaxPieceBytes {
		return false, weir.Errorf(weir.ErrInvalid, "read %d bytes of %s", n, id)
	}
	buf := gather.Get().(*[]byte)
	defer gather.Put(buf)
	*buf = slices.Grow((*buf)[:0], n)
	b := (*buf)[:n:n]
	held, err := s.ReadAt(id, b, off)
	if held {
		use(b)
	}
	return held, err
}

// ReadAt fills dst from off of the piece, if the piece is held, and returns
// whether it did; when not, what dst holds means nothing. It is View with one copy
// less.
func (s *store) ReadAt(id weir.PieceID, dst []byte, off int64) (bool, error) {
	held, err := s.read(id, dst, off, true)
	switch {
	case held:
		s.stats.hits.Add(1)
	case err == nil:
		s.stats.misses.Add(1)
	}
	return held, err
}

// read is ReadAt without being counted; with use it counts as a use of the piece.
func (s *store) read(id weir.PieceID, dst []byte, off int64, use bool) (bool, error) {
	p, err := s.held.find(id, off, len(dst), use)
	if err != nil || p.in == nil {
		return false, err
	}
	right := p.in.Read(dst, p.off, p.n, off)
	p.in.Release()
	if !right {
		s.dropDamaged(id, p)
	}
	return right, nil
}

// dropDamaged forgets a piece whose bytes in place p are not right any more, and
// all others that share them.
func (s *store) dropDamaged(id weir.PieceID, p place) {
	s.held.mu.RLock()
	shared := p.link || p.in.links[uint32(p.off)] > 0
	s.held.mu.RUnlock()
	s.dropName(id, p)
	if !shared {
		return
	}
	for _, f := range s.held.namesIn(p.in) {
		if f.Off == p.off {
			s.dropName(f.ID, p)
		}
	}
}

// dropName forgets a piece that is not right, if it still lies in place p.
func (s *store) dropName(id weir.PieceID, p place) {
	if !s.held.forgetIf(id, p.in, p.off) {
		return // moved or evicted meanwhile
	}
	s.stats.damaged.Add(1)
	s.log.Warn("damaged piece dropped from the cache", "torrent", id.Torrent, "piece", id.Index)
	_ = s.setNames(index.Gone, p.in, segment.Name{ID: id, Off: p.off})
	s.announce([]change{{id, false}})
}

// Has reports whether a piece is held. It looks into memory only.
func (s *store) Has(id weir.PieceID) bool { return s.held.has(id) }

// Held returns, for the pieces 0 … n-1 of a torrent, which are held.
func (s *store) Held(ih weir.InfoHash, n int) []bool {
	held := make([]bool, n)
	s.held.mu.RLock()
	defer s.held.mu.RUnlock()
	if t := s.held.torrents[ih]; t != nil {
		for i := range min(n, 64*len(t.bitmap)) {
			held[i] = t.has(i)
		}
	}
	return held
}

// HeldBytes returns how many bytes of r, in the coordinates of the torrent, are
// held. It looks into memory only.
func (s *store) HeldBytes(ti *weir.TorrentInfo, r weir.Range) int64 {
	s.held.mu.RLock()
	defer s.held.mu.RUnlock()
	t := s.held.torrents[ti.InfoHash]
	if t == nil {
		return 0
	}
	sum := t.blockBytes(ti, r)
	if !ti.V2 && !ti.Padded {
		return sum + t.bytes(ti, r)
	}
	// The last piece of each file may be short: inside a file, only its last is.
	for first, end := ti.FilesIn(r); first < end; first++ {
		if f := &ti.Files[first]; !f.Padding {
			sum += t.bytes(ti, r.Intersect(f.Range()))
		}
	}
	return sum
}

// Report is what Verify found.
type Report struct {
	Pieces    int            // looked at
	Bytes     int64          // in them
	Unchecked int            // of the pieces, those whose torrent check did not know; their blocks are right
	Dropped   []weir.PieceID // damaged, or refused by check
}

// Verify reads every piece that was held when it began, checks its blocks, and
// gives it to check (nil: the blocks are enough), which compares it with its
// torrent: an error that wraps weir.ErrCorrupt drops the piece, one that wraps
// weir.ErrNotFound says that there is nothing to compare with, and any other ends
// Verify. When ctx ends, Verify returns what it has found so far and the error. data is
// valid during the call. Reading and writing go on meanwhile.
func (c *Cache) Verify(ctx context.Context, check func(id weir.PieceID, data []byte) error) (Report, error) {
	var report Report
	var data []byte
	for _, id := range c.held.list() {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		n, _, ok := c.held.size(id)
		if !ok {
			continue // evicted meanwhile
		}
		data = slices.Grow(data[:0], int(n))[:n]
		right, err := c.read(id, data, 0, false)
		if err != nil {
			return report, fmt.Errorf("verify: %w", err)
		}
		if right && check != nil {
			err = check(id, data)
		}
		switch {
		case !right && c.Has(id): // put again meanwhile
			continue
		case !right:
			report.Dropped = append(report.Dropped, id)
		case errors.Is(err, weir.ErrCorrupt):
			report.Dropped = append(report.Dropped, id)
			if err := c.writer.expel(id); err != nil {
				return report, fmt.Errorf("verify: %w", err)
			}
		case errors.Is(err, weir.ErrNotFound):
			report.Unchecked++
		case err != nil:
			return report, fmt.Errorf("verify %s: %w", id, err)
		}
		report.Pieces++
		report.Bytes += n
	}
	return report, nil
}

// expel drops a piece, pinned or not.
func (w *writer) expel(id weir.PieceID) error {
	if err := w.acquire(); err != nil {
		return err
	}
	p, err := w.held.find(id, 0, 0, false)
	w.release()
	if err != nil || p.in == nil {
		return err
	}
	defer p.in.Release()
	w.dropName(id, p)
	return nil
}
