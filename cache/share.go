package cache

import (
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/index"
	"github.com/weirfs/weir/cache/internal/segment"
)

// Pieces with the same hash and length are stored once: one row, written under the
// name of whoever came first, and links, which are further slots of the index that
// point at it. A row lives as long as it has a name; which one goes first does not
// matter. When rows move, all of their names do. On disk a link stands in the list
// of its segment when that was sealed after it, and in the database.

// Adopt makes id held when a piece of n bytes with the same hash is held under
// any other name: it is not stored again, and needs not be fetched. The hash is
// the SHA-1 of the piece (20 bytes) or the root of its hash tree (32 bytes, BEP
// 52). Adopt reports whether id is held now, however that came. It does not
// wait for puts; nothing is read when nothing is found.
func (s *store) Adopt(id weir.PieceID, hash []byte, n int64) bool {
	if !segment.GoodHash(hash) || !goodPiece(id, n) {
		return false
	}
	if s.Has(id) {
		return true
	}
	held, fresh := s.link(id, hash, n, nil)
	if fresh {
		s.announce([]change{{id, true}})
	}
	return held
}

// link points id at a row with this hash, and with the bytes of like, if that is given.
// It reports whether id is held now, and whether that is new.
func (s *store) link(id weir.PieceID, hash []byte, n int64, like *segment.Row) (held, fresh bool) {
	for _, r := range s.held.rowsWith(hash) {
		if !held {
			held, fresh = s.linkTo(r, id, hash, n, like)
		}
		r.in.Release()
	}
	return held, fresh
}

func (s *store) linkTo(r place, id weir.PieceID, hash []byte, n int64, like *segment.Row) (held, fresh bool) {
	written, ok := r.in.Has(r.off, hash, n)
	if !ok || like != nil && !r.in.Equals(r.off, like) {
		return false, false
	}
	// It is recorded first, so that what takes the piece away again is recorded after it.
	// Without that the link is forgotten by the next start, and only that.
	f := segment.Name{ID: id, Off: r.off, N: n, Link: written != id}
	_ = s.setNames(index.Linked, r.in, f)
	h := s.held
	h.mu.Lock()
	switch {
	case h.closed:
	case h.at(id) != nil:
		held = true
	case h.alive(r.in, r.off, written):
		h.set(f, r.in).heat.store(0, h.now())
		held, fresh = true, true
	}
	h.mu.Unlock()
	if !held {
		_ = s.setNames(index.Gone, r.in, f)
	}
	return held, fresh
}

// setNames records what became of names of rows. Without that the next start knows
// less, which many can bear: the log is told.
func (s *store) setNames(fate index.Fate, v *volume, names ...segment.Name) error {
	v.inDatabase.Store(true)
	recorded := make([]index.Name, len(names))
	for i, f := range names {
		recorded[i] = index.Name{Salt: v.Salt, Off: f.Off, ID: f.ID}
	}
	err := s.names.SetNames(fate, recorded...)
	if err != nil {
		s.log.Debug("names not recorded", "segment", v.Seq, "err", err)
	}
	return err
}

// named applies what the database says to the rows of a segment, under the names that
// they have there, and returns the names that are held.
func named(rows []segment.Name, fates map[index.Name]index.Fate, salt uint64) []segment.Name {
	if len(fates) == 0 {
		return rows
	}
	length := make(map[int64]int64, len(rows))
	held := rows[:0]
	for _, f := range rows {
		length[f.Off] = f.N
		key := index.Name{Salt: salt, Off: f.Off, ID: f.ID}
		if fate, ok := fates[key]; !ok || fate == index.Linked {
			held = append(held, f)
			delete(fates, key)
		}
	}
	for key, fate := range fates {
		if n := length[key.Off]; fate == index.Linked && n > 0 && key.ID.Index < segment.MaxPieces {
			held = append(held, segment.Name{ID: key.ID, Off: key.Off, N: n, Link: true})
		}
	}
	segment.SortByRow(held)
	return held
}
