package cache

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/weirfs/weir"
)

// dropDamaged forgets a piece whose bytes in place p are not right any more, and
// all others that share them.
func (c *Cache) dropDamaged(id weir.PieceID, p place) {
	c.mu.RLock()
	shared := p.link || p.gen.links[uint32(p.off)] > 0
	c.mu.RUnlock()
	c.dropName(id, p)
	if shared {
		for _, f := range c.namesOf(p.gen, p.off) {
			c.dropName(f.id, p)
		}
	}
}

// dropName forgets a piece that is not right, if it still lies in place p.
func (c *Cache) dropName(id weir.PieceID, p place) {
	c.mu.Lock()
	t := c.torrents[id.Torrent]
	same := t != nil && t.slot(id.Index).is(p.gen, p.off)
	if same {
		c.forget(t, id.Index)
	}
	c.mu.Unlock()
	if !same {
		return // moved or evicted meanwhile
	}
	c.stats.damaged.Add(1)
	c.log.Warn("damaged piece dropped from the cache", "torrent", id.Torrent, "piece", id.Index)
	if err := p.gen.note(gone, found{id: id, off: p.off}); err != nil {
		c.log.Debug("damaged piece stays listed", "err", err)
	}
	c.tell([]note{{id, false}})
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
				byGen[s.gen] = append(byGen[s.gen], found{id, int64(s.off), s.bytes(), s.link()})
				c.forget(t, index)
				c.notes = append(c.notes, note{id, false})
			}
		}
		c.mu.Unlock()
	}
	c.waitSealed() // so that no size is measured while badger closes
	var errs []error
	for g, lost := range byGen {
		errs = append(errs, c.discard(g, lost))
	}
	return errors.Join(errs...)
}

// discard gives the disk space of forgotten pieces back. Readers that are in one
// of them see zeros, which their checksum refuses, or have what they need.
func (c *Cache) discard(g *generation, lost []found) error {
	c.mu.RLock()
	empty := g.sealed && g.live == 0
	c.mu.RUnlock()
	if empty {
		c.remove(g, nil)
		return nil
	}
	errs := []error{g.note(gone, lost...)}
	for _, f := range lost {
		if c.inUse(g, f) {
			continue
		}
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

// inUse reports whether the row of a forgotten piece still has a name.
func (c *Cache) inUse(g *generation, f found) bool {
	written := f.id
	if f.link {
		if guard(func() error { written, _, _, _ = entryAt(g.log, f.off); return nil }) != nil {
			return true // unreadable: it goes with its generation
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.alive(g, f.off, written)
}

// Clear drops every piece, the pinned ones too. Pins and records stay: see
// ClearRecords.
func (c *Cache) Clear() error {
	if err := c.takeTurn(); err != nil {
		return err
	}
	defer c.endTurn()
	for _, which := range classes {
		c.retire(which)
	}
	c.waitSealed()
	c.mu.Lock()
	gens := slices.Clone(c.gens)
	for _, g := range gens {
		g.leaving = true
	}
	c.mu.Unlock()
	for _, g := range gens {
		c.remove(g, c.piecesOf(g))
	}
	c.waitRemoved()
	return nil
}

// ClearRecords drops every record, and with them the pins and what SetLimit was
// told, which both end now. Whoever else keeps records here must not be at work.
func (c *Cache) ClearRecords() error {
	if err := c.takeTurn(); err != nil {
		return err
	}
	defer c.endTurn()
	if err := c.record("drop", "*", nil, c.catalogue.clear); err != nil {
		return err
	}
	c.retire(kept)
	c.mu.Lock()
	c.pins = make(pins)
	c.mu.Unlock()
	return nil
}
