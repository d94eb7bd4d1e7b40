package cache

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/weirfs/weir"
)

// Pieces with the same hash and length are stored once: one row in a value log,
// written under the name of whoever came first, and links, which are further
// slots of the index that point at it. A row lives as long as it has a name;
// which one goes first does not matter. When rows move, all of their names do.
// On disk a link stands in the list of pieces of its generation when that was
// sealed after it, and as a note (notes.go) when not.

// countLink adds a link to the row at off, or takes one away. The caller holds
// Cache.mu.
func (g *generation) countLink(off int64, by int) {
	if g.links == nil {
		g.links = make(map[uint32]int)
	}
	if g.links[uint32(off)] += by; g.links[uint32(off)] == 0 {
		delete(g.links, uint32(off))
	}
}

// alive reports whether the row at off, written under the name written, has any
// name left. Once false it is so for ever. The caller holds mu.
func (c *Cache) alive(g *generation, off int64, written weir.PieceID) bool {
	if g.leaving || g.links[uint32(off)] > 0 {
		return !g.leaving
	}
	t := c.torrents[written.Torrent]
	return t != nil && t.slot(written.Index).is(g, off)
}

// row is a row that might hold what is looked for. Whoever has one gives the
// reference to its generation back.
type row struct {
	gen    *generation
	record uint32
	hash   []byte // the record, if it was in memory
}

// rowsWith returns the rows whose hash begins like this one, newest first.
func (c *Cache) rowsWith(hash []byte) (rows []row) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i := len(c.gens) - 1; i >= 0; i-- {
		g := c.gens[i]
		if record, ok := g.hashes.find(hash); ok && !g.leaving {
			g.acquire()
			rows = append(rows, row{g, record, g.hashes.at(record)})
		}
	}
	return rows
}

// locate returns where the row is, if it has this hash and length, and the name
// that it was written under.
func (r row) locate(hash []byte, n int64) (off int64, written weir.PieceID, ok bool) {
	b := r.hash
	if b == nil {
		var err error
		if b, err = r.gen.readHash(r.record); err != nil {
			return 0, written, false
		}
	}
	off, have, ok := parseHash(b)
	if !ok || !bytes.Equal(have, hash) {
		return 0, written, false
	}
	err := guard(func() error {
		id, slab, m, whole := entryAt(r.gen.log, off)
		written, ok = id, whole && slab == 0 && m == n
		return nil
	})
	return off, written, ok && err == nil
}

// Adopt makes id held when a piece of n bytes with the same hash is held under
// any other name: it is not stored again, and needs not be fetched. The hash is
// the SHA-1 of the piece (20 bytes) or the root of its hash tree (32 bytes, BEP
// 52). Adopt reports whether id is held now, however that came. It never waits
// for a writer; nothing is read when nothing is found.
func (c *Cache) Adopt(id weir.PieceID, hash []byte, n int64) bool {
	if !goodHash(hash) || !goodPiece(id, n) {
		return false
	}
	if c.Has(id) {
		return true
	}
	held, fresh := c.link(id, hash, n, nil)
	if fresh {
		c.tell([]note{{id, true}})
	}
	return held
}

// link points id at a row with this hash, and with these bytes, if any are given.
// It reports whether id is held now, and whether that is new.
func (c *Cache) link(id weir.PieceID, hash []byte, n int64, blocks [][]byte) (held, fresh bool) {
	for _, r := range c.rowsWith(hash) {
		if !held {
			held, fresh = c.linkTo(r, id, hash, n, blocks)
		}
		r.gen.release()
	}
	return held, fresh
}

func (c *Cache) linkTo(r row, id weir.PieceID, hash []byte, n int64, blocks [][]byte) (held, fresh bool) {
	off, written, ok := r.locate(hash, n)
	if !ok || blocks != nil && !(place{r.gen, off, n, true}).holds(id, blocks) {
		return false, false
	}
	f := found{id, off, n, written != id}
	// The note comes first, so that what takes the piece away again is noted after
	// it. Without it the link is forgotten by the next start, and only that.
	if err := r.gen.note(linked, f); err != nil {
		c.log.Debug("link not noted", "err", err)
	}
	c.mu.Lock()
	switch t := c.torrents[id.Torrent]; {
	case c.closed:
	case t != nil && t.has(id.Index):
		held = true
	case c.alive(r.gen, off, written):
		c.index(f, r.gen)
		c.torrents[id.Torrent].slot(id.Index).heat.store(0, c.now())
		held, fresh = true, true
	}
	c.mu.Unlock()
	if !held {
		if err := r.gen.note(gone, f); err != nil {
			c.log.Debug("link stays noted", "err", err)
		}
	}
	return held, fresh
}

// holds reports whether the bytes here are these, and right.
func (p place) holds(id weir.PieceID, blocks [][]byte) bool {
	rest := slices.Clone(blocks)
	for s := range slabCount(p.n) {
		same := true
		read := p.view(id, int64(s)*slabBytes, int(slabLen(p.n, s)), func(b []byte) {
			for same && len(b) > 0 {
				n := min(len(b), len(rest[0]))
				same = bytes.Equal(b[:n], rest[0][:n])
				b = b[n:]
				if rest[0] = rest[0][n:]; len(rest[0]) == 0 {
					rest = rest[1:]
				}
			}
		})
		if !read || !same {
			return false
		}
	}
	return true
}

// PutHashed is Put of a piece whose hash is known (see Adopt), so that it can be
// adopted under other names. When the same bytes are held already they are not
// written again. Without a hash it is Put.
func (c *Cache) PutHashed(id weir.PieceID, hash []byte, blocks [][]byte) error {
	switch {
	case len(hash) == 0:
		hash = nil
	case !goodHash(hash):
		return fmt.Errorf("put %s with a hash of %d bytes: %w", id, len(hash), weir.ErrInvalid)
	}
	return c.put(id, hash, blocks)
}

// namesOf returns the names that point at the row at off.
func (c *Cache) namesOf(g *generation, off int64) (names []found) {
	for _, f := range c.piecesOf(g) {
		if f.off == off {
			names = append(names, f)
		}
	}
	return names
}

// byRow groups pieces in the order of the log by the row that they lie in.
func byRow(pieces []found) (rows [][]found) {
	for len(pieces) > 0 {
		n := 1
		for n < len(pieces) && pieces[n].off == pieces[0].off {
			n++
		}
		rows = append(rows, pieces[:n])
		pieces = pieces[n:]
	}
	return rows
}

// relink points names that had the row at off of g at the one that it moved to.
// The caller has the turn.
func (c *Cache) relink(names []found, g *generation, to place, uses uint8) {
	if len(names) == 0 {
		return
	}
	var moved []found
	c.mu.Lock()
	for _, f := range names {
		t := c.torrents[f.id.Torrent]
		if t == nil || !t.slot(f.id.Index).is(g, f.off) {
			continue // dropped meanwhile
		}
		f.off, f.link = to.off, true
		c.index(f, to.gen)
		t.slot(f.id.Index).heat.store(uses, c.now())
		moved = append(moved, f)
	}
	c.mu.Unlock()
	if err := to.gen.note(linked, moved...); err != nil {
		c.log.Debug("link not noted", "err", err)
	}
}
