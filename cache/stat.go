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
	Pieces      int
	Bytes       int64 // in pieces
	DiskBytes   int64 // on disk, as du counts, with everything that is not a piece
	LimitBytes  int64
	PinnedBytes int64 // reserved by pins, held or not
	Torrents    int   // that have a piece here
	Generations int
	Hits        int64 // reads
	Misses      int64 // reads
	Evictions   int64 // pieces
	Moves       int64 // pieces written again because they were in use
	Damaged     int64 // pieces found damaged on disk
}

// Stat returns what is held and what happened.
func (c *Cache) Stat() Stat {
	disk := c.usedBytes() + ballastBytes
	c.mu.RLock()
	defer c.mu.RUnlock()
	return Stat{
		Pieces: c.held, Bytes: c.heldSum, DiskBytes: disk, LimitBytes: c.limit.Load(),
		PinnedBytes: c.pins.bytes(), Torrents: len(c.torrents), Generations: len(c.gens),
		Hits: c.stats.hits.Load(), Misses: c.stats.misses.Load(), Evictions: c.stats.evictions.Load(),
		Moves: c.stats.moves.Load(), Damaged: c.stats.damaged.Load(),
	}
}

// Report is what Verify found.
type Report struct {
	Pieces  int            // looked at
	Bytes   int64          // in them
	Dropped []weir.PieceID // damaged, or refused by check
}

// Verify reads every piece that was held when it began, checks its blocks, and
// gives it to check (nil: the blocks are enough), which compares it with its
// torrent: an error that wraps weir.ErrCorrupt drops the piece, any other ends
// Verify. data is valid during the call. Reading and writing go on meanwhile.
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
		held, verr := c.read(id, 0, int(n), false, func(b []byte) {
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
		case err != nil:
			return report, fmt.Errorf("verify %s: %w", id, err)
		}
		report.Pieces++
		report.Bytes += n
	}
	return report, nil
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
	c.dropDamaged(id, p)
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
			return int64(s.n), true
		}
	}
	return 0, false
}
