package cache

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirfs/weir"
)

// dropDamaged forgets a piece whose bytes in place p are not right any more.
func (c *Cache) dropDamaged(id weir.PieceID, p place) {
	c.mu.Lock()
	t := c.torrents[id.Torrent]
	var s *slot
	if t != nil {
		s = t.slot(id.Index)
	}
	same := s != nil && s.gen == p.gen && int64(s.off) == p.off
	if same {
		c.forget(t, id.Index)
	}
	c.mu.Unlock()
	if !same {
		return // moved or evicted meanwhile
	}
	c.stats.damaged.Add(1)
	c.log.Warn("piece damaged on disk, dropped", "torrent", id.Torrent, "piece", id.Index)
	if err := p.gen.markDead([]found{{id, p.off, p.n}}); err != nil {
		c.log.Debug("damaged piece stays listed", "err", err)
	}
	c.tell([]note{{id, false}})
}

// markDead writes down that pieces are no longer there. Safe for concurrent use:
// one write at the end of the file.
func (g *generation) markDead(pieces []found) error {
	var b []byte
	for _, f := range pieces {
		b = appendDead(b, f)
	}
	file, err := os.OpenFile(filepath.Join(g.dir, deadName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	return errors.Join(err, file.Close())
}

// Evict drops pieces of a torrent and gives their space on disk back. What is
// pinned stays, and what is not held is passed over. The error says that the
// space, or the memory that they are gone, could not be brought to disk; they
// are no longer served in any case.
func (c *Cache) Evict(ih weir.InfoHash, pieces []int) error {
	if err := c.takeTurn(); err != nil {
		return err
	}
	defer c.endTurn()
	byGen := make(map[*generation][]found)
	for _, index := range pieces {
		id := weir.PieceID{Torrent: ih, Index: index}
		if c.pinned(id) {
			continue
		}
		c.mu.Lock()
		if t := c.torrents[ih]; t != nil {
			if s := t.slot(index); s != nil {
				byGen[s.gen] = append(byGen[s.gen], found{id, int64(s.off), int64(s.n)})
				c.forget(t, index)
				c.notes = append(c.notes, note{id, false})
			}
		}
		c.mu.Unlock()
	}
	c.waitSealed() // so that no size is measured while badger closes
	var errs []error
	for g, gone := range byGen {
		errs = append(errs, c.discard(g, gone))
	}
	return errors.Join(errs...)
}

// discard gives the disk space of forgotten pieces back. Readers that are in one
// of them see zeros, which their checksum refuses, or have what they need.
func (c *Cache) discard(g *generation, gone []found) error {
	c.mu.RLock()
	empty := g.sealed && g.live == 0
	c.mu.RUnlock()
	if empty {
		c.remove(g, nil)
		return nil
	}
	errs := []error{g.markDead(gone)}
	for _, f := range gone {
		for s := range slabCount(f.n) {
			// The heads of the entries stay, so that the log can still be walked.
			value := slabOffset(f.off, f.n, s)
			errs = append(errs, punch(filepath.Join(g.dir, logName), value, value+valueLen(slabLen(f.n, s))))
		}
	}
	if g.sealed {
		disk := allocatedBytes(g.dir)
		c.mu.Lock()
		g.disk = disk
		c.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Clear drops every piece, the pinned ones too; pins and records stay.
func (c *Cache) Clear() error {
	if err := c.takeTurn(); err != nil {
		return err
	}
	defer c.endTurn()
	for _, which := range classes {
		c.retire(which)
	}
	c.waitSealed()
	c.mu.RLock()
	gens := slices.Clone(c.gens)
	c.mu.RUnlock()
	for _, g := range gens {
		c.remove(g, c.piecesOf(g))
	}
	c.waitRemoved()
	return nil
}
