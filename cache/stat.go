package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirfs/weir"
)

// Stat describes a cache. Counts begin at Open.
type Stat struct {
	Pieces       int
	Bytes        int64 // in pieces
	Shared       int   // of the pieces, those whose bytes were stored for another piece
	SharedBytes  int64 // in these
	DiskBytes    int64 // on disk, as du counts, with everything that is not a piece
	LimitBytes   int64
	FreeBytes    int64 // of the file system, for this user
	MinFreeBytes int64 // of the file system, where the cache stops growing
	PinnedBytes  int64 // reserved by pins, held or not
	Torrents     int   // that have a piece here
	Generations  int
	Hits         int64 // reads
	Misses       int64 // reads
	Evictions    int64 // pieces
	Moves        int64 // pieces written again because they were in use
	Damaged      int64 // pieces found damaged on disk
}

// Stat returns what is held and what happened.
func (c *Cache) Stat() Stat {
	disk := c.usedBytes() + ballastBytes
	free, _, _ := freeBytes(c.folder.dir)
	c.mu.RLock()
	defer c.mu.RUnlock()
	return Stat{
		Pieces: c.held, Bytes: c.heldSum, Shared: c.shared, SharedBytes: c.sharedSum, DiskBytes: disk, LimitBytes: c.limit.Load(),
		FreeBytes: free, MinFreeBytes: max(c.minFree, 0),
		PinnedBytes: c.pins.bytes(), Torrents: len(c.torrents), Generations: len(c.gens),
		Hits: c.stats.hits.Load(), Misses: c.stats.misses.Load(), Evictions: c.stats.evictions.Load(),
		Moves: c.stats.moves.Load(), Damaged: c.stats.damaged.Load(),
	}
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
	for _, id := range c.list() {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		n, ok := c.size(id)
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
			if err := c.expel(id); err != nil {
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
func (c *Cache) peek(id weir.PieceID, n int, use func(b []byte)) (bool, error) {
	p, err := c.find(id, 0, n, false)
	if err != nil || p.gen == nil {
		return false, err
	}
	return c.served(id, p, p.view(id, 0, n, use)), nil
}

// expel drops a piece, pinned or not.
func (c *Cache) expel(id weir.PieceID) error {
	if err := c.takeTurn(); err != nil {
		return err
	}
	p, err := c.find(id, 0, 0, false)
	c.endTurn()
	if err != nil || p.gen == nil {
		return err
	}
	defer p.gen.release()
	c.dropName(id, p)
	return nil
}

// list returns all pieces, torrent by torrent.
func (c *Cache) list() []weir.PieceID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ids := make([]weir.PieceID, 0, c.held)
	for hash, t := range c.torrents {
		from := len(ids)
		for i := range 64 * len(t.bitmap) {
			if t.has(i) {
				ids = append(ids, weir.PieceID{Torrent: hash, Index: i})
			}
		}
		slices.SortFunc(ids[from:], func(a, b weir.PieceID) int { return a.Index - b.Index })
	}
	return ids
}

func (c *Cache) size(id weir.PieceID) (int64, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if t := c.torrents[id.Torrent]; t != nil {
		if s := t.slot(id.Index); s != nil {
			return s.bytes(), true
		}
	}
	return 0, false
}
