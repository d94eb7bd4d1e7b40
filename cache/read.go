package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/index"
)

// View calls use once, with the n bytes at off of the piece, if the piece is
// held, and returns whether it did. The bytes are valid during the call only and
// are the callee's to change. Every block is checked against its checksum first,
// at each read: a page that was right once can come back wrong from the disk. A
// piece that fails is dropped, Changed is told, and View says that it is not held.
//
// The error wraps weir.ErrInvalid when the range is outside of the piece and
// weir.ErrClosed after Close. View never waits for a writer.
func (s *store) View(id weir.PieceID, off int64, n int, use func(b []byte)) (bool, error) {
	p, err := s.held.find(id, off, n, true)
	if err != nil || p.in == nil {
		return s.counted(false, err)
	}
	return s.counted(s.served(id, p, p.view(off, n, use)), nil)
}

// ReadAt fills dst from off of the piece, if the piece is held, and returns
// whether it did; when not, what dst holds means nothing. It is View with one copy
// less.
func (s *store) ReadAt(id weir.PieceID, dst []byte, off int64) (bool, error) {
	p, err := s.held.find(id, off, len(dst), true)
	if err != nil || p.in == nil {
		return s.counted(false, err)
	}
	return s.counted(s.served(id, p, p.in.Read(dst, p.off, p.n, off)), nil)
}

// served gives the reference in p back, and drops the piece if it was not right.
func (s *store) served(id weir.PieceID, p place, right bool) bool {
	p.in.Release()
	if !right {
		s.dropDamaged(id, p)
	}
	return right
}

func (s *store) counted(held bool, err error) (bool, error) {
	switch {
	case held:
		s.stats.hits.Add(1)
	case err == nil:
		s.stats.misses.Add(1)
	}
	return held, err
}

// gather holds what is viewed.
var gather = sync.Pool{New: func() any { return new([]byte) }}

// view checks and hands out; false when the bytes are damaged.
func (p place) view(off int64, n int, use func([]byte)) bool {
	buf := gather.Get().(*[]byte)
	defer gather.Put(buf)
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n:n]
	if !p.in.Read(b, p.off, p.n, off) {
		return false
	}
	use(b)
	return true
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
	if err := s.setNames(index.Gone, p.in, p.off, id); err != nil {
		s.log.Debug("damaged piece stays listed", "err", err)
	}
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
	if !ti.V2 && !ti.Padded {
		return t.bytes(ti, r)
	}
	// The last piece of each file may be short: inside a file, only its last is.
	var sum int64
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
// Verify. When ctx ends, Verify returns what it has found so far and the error. data is valid during the call. Reading and writing go on meanwhile.
func (c *Cache) Verify(ctx context.Context, check func(id weir.PieceID, data []byte) error) (Report, error) {
	var report Report
	for _, id := range c.held.list() {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		n, _, ok := c.held.size(id)
		if !ok {
			continue // evicted meanwhile
		}
		var err error
		held, verr := c.peek(id, int(n), func(b []byte) {
			if check != nil {
				err = check(id, b)
			}
		})
		switch {
		case verr != nil:
			return report, fmt.Errorf("verify: %w", verr)
		case !held:
			if c.Has(id) {
				continue
			}
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

// peek is View of a whole piece that is no use of it.
func (s *store) peek(id weir.PieceID, n int, use func(b []byte)) (bool, error) {
	p, err := s.held.find(id, 0, n, false)
	if err != nil || p.in == nil {
		return false, err
	}
	return s.served(id, p, p.view(0, n, use)), nil
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
