package cache

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"

	"github.com/weirfs/weir"
)

// makeRoom drops generations until delta more bytes fit into the budget and
// leave the disk its minimum. The error wraps weir.ErrNoSpace. The caller has
// the turn.
func (c *Cache) makeRoom(delta int64) error {
	c.mu.RLock()
	round := len(c.gens) + len(classes)
	c.mu.RUnlock()
	for i := range 2 * (maxGenerations + len(classes)) {
		avail, _, err := freeBytes(c.folder.dir)
		if err != nil {
			return err
		}
		if avail-delta < c.minFree {
			c.waitRemoved()
			avail, _, _ = freeBytes(c.folder.dir)
		}
		low := avail-delta < c.minFree
		if c.usedBytes()+delta <= c.limit.Load() && (!low || c.credit >= delta) {
			// On a disk below its minimum, what was dropped may be filled again: the
			// cache neither grows nor wears away.
			c.credit -= delta
			if !low {
				c.credit = 0
			}
			return nil
		}
		// What was protected for a whole round is all there is to evict.
		if !c.dropOne(i < round) {
			err := fmt.Errorf("%d bytes more than the %d in use, of %d, with %d free on the disk: %w",
				delta, c.usedBytes(), c.limit.Load(), avail, weir.ErrNoSpace)
			if low {
				err = fmt.Errorf("%w: %w", err, syscall.ENOSPC)
			}
			return err
		}
	}
	return fmt.Errorf("%d bytes: everything is in use: %w", delta, weir.ErrNoSpace)
}

// usedBytes is what counts against the budget: all on disk but the ballast and
// the spare generation, which are of fixed size and have room in what the folder
// may take beyond the budget.
func (c *Cache) usedBytes() int64 {
	sum := allocatedBytes(c.catalogue.dir)
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, g := range c.gens {
		sum += g.disk
	}
	return sum
}

// dropOne drops the generation that the policy names, without the pieces that
// Protect names if they are to be protected; false when there is none. The
// caller has the turn.
func (c *Cache) dropOne(protect bool) bool {
	g := c.victim()
	if g == nil {
		// A small budget may be all in generations that are still open.
		for _, which := range classes {
			c.retire(which)
		}
		c.waitSealed()
		if g = c.victim(); g == nil {
			return false
		}
	}
	c.mu.RLock()
	freed := g.disk
	c.mu.RUnlock()
	c.drop(g, false, protect)
	c.credit += freed
	return true
}

func (c *Cache) waitSealed() {
	<-c.sealing
	c.sealing <- struct{}{}
}

// victim returns the sealed generation to drop next, or nil.
func (c *Cache) victim() *generation {
	c.mu.RLock()
	defer c.mu.RUnlock()
	pinned := make(map[*generation]int64)
	c.pins.each(func(id weir.PieceID) {
		if t := c.torrents[id.Torrent]; t != nil {
			if s := t.slot(id.Index); s != nil {
				pinned[s.gen] += pieceSpan(s.bytes())
			}
		}
	})
	var gens []*generation
	var facts []genFacts
	for _, g := range c.gens {
		if g.sealed {
			gens = append(gens, g)
			facts = append(facts, genFacts{g.class, g.disk, min(pinned[g], g.disk)}) // shared rows count more than once
		}
	}
	if i := victim(facts, c.limit.Load()); i >= 0 {
		return gens[i]
	}
	return nil
}

// piecesOf returns the pieces that the index has in g, in the order of the log.
func (c *Cache) piecesOf(g *generation) []found {
	c.mu.RLock()
	pieces := make([]found, 0, g.live)
	hashes := make([]weir.InfoHash, 0, len(c.torrents))
	for hash := range c.torrents {
		hashes = append(hashes, hash)
	}
	c.mu.RUnlock()
	// Torrent by torrent: the writers of the index wait for one at most.
	for _, hash := range hashes {
		c.mu.RLock()
		if t := c.torrents[hash]; t != nil {
			for p, page := range t.pages {
				for i := 0; page != nil && i < slotsPerPage; i++ {
					if s := &page[i]; s.gen == g {
						pieces = append(pieces, found{weir.PieceID{Torrent: hash, Index: p*slotsPerPage + i}, int64(s.off), s.bytes(), s.link()})
					}
				}
			}
		}
		c.mu.RUnlock()
	}
	slices.SortFunc(pieces, func(a, b found) int {
		if a.off == b.off && a.link != b.link { // who wrote the row comes first
			if b.link {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.off, b.off)
	})
	return pieces
}

// drop moves what is worth it (with all: everything) out of a sealed generation
// and removes it. Readers that are in it keep its mapping until they are done.
// The caller has the turn.
func (c *Cache) drop(g *generation, all, protect bool) {
	c.mu.Lock()
	g.leaving = true
	c.mu.Unlock()
	rows := c.candidates(g, protect)
	var hashes map[int64][]byte // of the rows, once one moves
	var gone []found
	hotBytes := g.disk / 2
	for _, r := range rows {
		n := r.names[0].n
		keep, to, left := fate(g.class, r.uses, r.pinned, r.protected, n, hotBytes)
		if all {
			keep, to, left = true, g.class, r.uses
		}
		if keep {
			if hashes == nil {
				hashes = g.allHashes()
			}
			if err := c.move(g, r.names, hashes[r.names[0].off], to, left); err == nil {
				if c.stats.moves.Add(1); !r.pinned && !r.protected && !all {
					hotBytes -= n
				}
				continue
			} else if r.pinned {
				c.log.Warn("pinned piece lost", "torrent", r.names[0].id.Torrent, "piece", r.names[0].id.Index, "err", err)
			}
		}
		if g.class == probation {
			for _, f := range r.names {
				c.ghost.add(f.id)
			}
		}
		gone = append(gone, r.names...)
	}
	c.stats.evictions.Add(int64(len(gone)))
	c.remove(g, gone)
}

// candidate is a row of a generation that is dropped. What holds of one of its
// names holds of the row.
type candidate struct {
	names             []found
	uses              uint8
	pinned, protected bool
}

// candidates returns the rows of g that have a name, the most used first: they
// move while there is room.
func (c *Cache) candidates(g *generation, protect bool) (rows []candidate) {
	protected := func(weir.PieceID) bool { return false }
	if protect && c.protect != nil {
		protected = c.protect(c.mostProtected())
	}
	for _, names := range byRow(c.piecesOf(g)) {
		r := candidate{names: names}
		for _, f := range names {
			r.uses = max(r.uses, c.uses(f.id))
			r.pinned = r.pinned || c.pinned(f.id)
			r.protected = r.protected || protected(f.id)
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b candidate) int { return cmp.Compare(b.uses, a.uses) })
	return rows
}

// mostProtected is how many bytes Protect may name: as much as the pins leave, by
// half, so that there is always something to evict.
func (c *Cache) mostProtected() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return mostProtected(c.limit.Load(), c.pins.bytes())
}

func (c *Cache) uses(id weir.PieceID) uint8 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if t := c.torrents[id.Torrent]; t != nil {
		if s := t.slot(id.Index); s != nil {
			uses, _ := s.heat.load()
			return uses
		}
	}
	return 0
}

// move writes a row of g again, into the newest generation of a class.
func (c *Cache) move(g *generation, names []found, hash []byte, to class, uses uint8) error {
	f := names[0]
	from, off := place{g, f.off, f.n, f.link}, int64(0)
	moved, err := c.store(&incoming{id: f.id, hash: hash, n: f.n, to: to, uses: uses, fill: func(part []byte) error {
		if !from.read(f.id, off, part) {
			return fmt.Errorf("%s: %w", f.id, weir.ErrCorrupt)
		}
		off += int64(len(part))
		return nil
	}})
	if err == nil {
		c.relink(names[1:], g, moved, uses)
	}
	return err
}

// remove forgets the pieces gone, all that is left in g, and g itself.
func (c *Cache) remove(g *generation, gone []found) {
	// In small steps, so that readers come through in between.
	for chunk := range slices.Chunk(gone, 256) {
		c.mu.Lock()
		for _, f := range chunk {
			t := c.torrents[f.id.Torrent]
			if t == nil {
				continue
			}
			if s := t.slot(f.id.Index); s != nil && s.gen == g {
				c.forget(t, f.id.Index)
				c.notes = append(c.notes, note{f.id, false})
			}
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.gens = slices.DeleteFunc(c.gens, func(x *generation) bool { return x == g })
	c.mu.Unlock()
	// Freeing the blocks takes a while: the writer goes on, at most one generation
	// ahead of it.
	<-c.removal
	go func() {
		defer func() { c.removal <- struct{}{} }()
		if err := removeGeneration(g.dir); err != nil {
			c.log.Warn("remove generation", "dir", g.dir, "err", err)
		}
		g.release()
	}()
}

// waitRemoved waits until what was dropped is off the disk, except for what
// readers are in.
func (c *Cache) waitRemoved() {
	<-c.removal
	c.removal <- struct{}{}
}

// merge writes the pieces of small generations together when there are too many
// of them. The caller has the turn.
func (c *Cache) merge() {
	for {
		c.mu.RLock()
		var small *generation
		for _, g := range c.gens {
			if g.sealed && (small == nil || g.disk < small.disk) {
				small = g
			}
		}
		many := len(c.gens) > maxGenerations && small != nil && small.disk < c.generationBytes()/4
		c.mu.RUnlock()
		if !many {
			return
		}
		c.drop(small, true, false)
	}
}

// settings is the bucket of what the user told the cache itself, and limitKey the
// budget, 8 bytes, big endian.
const settings = "cache.settings"

var limitKey = []byte("limit")

// rememberedLimit returns the budget that SetLimit was last told, or 0.
func (c *Cache) rememberedLimit() int64 {
	b, err := c.Record(settings, limitKey)
	if err != nil || len(b) != 8 {
		return 0
	}
	limit := int64(binary.BigEndian.Uint64(b))
	if limit < MinLimitBytes {
		return 0
	}
	return limit
}

// SetLimit changes the budget at once: when it shrinks, pieces go before
// SetLimit returns. It is remembered for the next Open without LimitBytes. The
// error wraps weir.ErrInvalid below MinLimitBytes and weir.ErrNoSpace when the
// pins would not fit; the budget is then unchanged.
func (c *Cache) SetLimit(limit int64) error {
	if limit < MinLimitBytes {
		return fmt.Errorf("a cache of %d bytes is too small, it needs %d MiB: %w", limit, int64(MinLimitBytes)>>20, weir.ErrInvalid)
	}
	if err := c.takeTurn(); err != nil {
		return err
	}
	defer c.endTurn()
	c.mu.RLock()
	reserved := c.pins.bytes()
	c.mu.RUnlock()
	if reserved > pinBudget(limit) {
		return fmt.Errorf("%d bytes are pinned, more than four fifths of a budget of %d: unpin something, or leave more: %w", reserved, limit, weir.ErrNoSpace)
	}
	c.limit.Store(limit)
	c.mu.RLock()
	round := len(c.gens) + len(classes)
	c.mu.RUnlock()
	for i := 0; c.usedBytes() > limit && c.dropOne(i < round); i++ {
	}
	c.waitRemoved()
	if err := c.PutRecord(settings, limitKey, binary.BigEndian.AppendUint64(nil, uint64(limit))); err != nil {
		return fmt.Errorf("the budget is changed for now but not remembered: %w", err)
	}
	return nil
}
