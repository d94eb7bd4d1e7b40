package cache

import (
	"cmp"
	"errors"
	"slices"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/index"
	"github.com/weirfs/weir/cache/internal/policy"
	"github.com/weirfs/weir/cache/internal/segment"
)

// hotHalf is how much of a dropped segment may move because it was used, when it is
// dropped for new pieces: the half of it.
const hotHalf = -1

// dropOne drops the segment that the policy names, after moving what stays: of what
// was used no more than hotBytes, and what Protect names if protect says so. It
// returns false when there is none.
func (w *writer) dropOne(hotBytes int64, protect bool) bool {
	v := w.victim()
	if v == nil {
		// A small budget may be all in segments that are still open.
		w.retireAll()
		if v = w.victim(); v == nil {
			return false
		}
	}
	w.held.mu.RLock()
	freed := v.disk
	w.held.mu.RUnlock()
	if hotBytes == hotHalf {
		hotBytes = freed / 2
	}
	w.drop(v, hotBytes, false, protect)
	w.credit += freed
	return true
}

// victim returns the sealed segment to drop next, or nil.
func (w *writer) victim() *volume {
	h := w.held
	h.mu.RLock()
	defer h.mu.RUnlock()
	pinned := make(map[*volume]int64)
	w.pins.each(func(id weir.PieceID) {
		if s := h.at(id); s != nil {
			pinned[s.in] += segment.Span(s.bytes())
		}
	})
	var sealed []*volume
	var facts []policy.Segment
	for _, v := range h.volumes {
		if v.sealed {
			sealed = append(sealed, v)
			facts = append(facts, policy.Segment{Class: v.Class, Bytes: v.disk, Pinned: min(pinned[v], v.disk)}) // shared rows count more than once
		}
	}
	if i := policy.Victim(facts, h.limit.Load()); i >= 0 {
		return sealed[i]
	}
	return nil
}

// drop moves what is worth it (with all: everything) out of a sealed segment and
// removes it. Readers that are in it keep its map until they are done.
func (w *writer) drop(v *volume, hotBytes int64, all, protect bool) {
	w.leave(v)
	var gone []segment.Name
	pinned := make(map[*volume]int64) // by where pinned pieces went, the end of them
	lost := make(map[weir.InfoHash]int64)
	var why error
	for _, r := range w.candidates(v, protect) {
		n := r.names[0].N
		keep, to, left := policy.Fate(v.Class, r.uses, r.pinned, r.protected, n, hotBytes)
		if all {
			keep, to, left = true, v.Class, r.uses
		}
		if keep {
			if in, err := w.move(v, r.names, to, left); err == nil {
				if r.pinned {
					pinned[in] = in.End()
				}
				if w.stats.moves.Add(1); !r.pinned && !r.protected && !all {
					hotBytes -= n
					w.moved += n
				}
				continue
			} else if r.pinned {
				why = err
				for _, f := range r.names {
					if w.pins.has(f.ID) {
						lost[f.ID.Torrent] += f.N
					}
				}
			}
		}
		if v.Class == policy.Probation {
			for _, f := range r.names {
				w.ghost.Add(f.ID)
			}
		}
		gone = append(gone, r.names...)
	}
	w.stats.evictions.Add(int64(len(gone)))
	w.remove(v, gone, pinned)
	for torrent, bytes := range lost {
		w.log.Warn("pinned pieces were dropped, because there was no room to move them; they are fetched again when there is: "+
			"free space on the disk, or unpin something with weir unpin PATH", "torrent", torrent, "bytes", bytes, "err", why)
	}
}

// leave makes sure that nothing new points at a segment.
func (w *writer) leave(v *volume) {
	w.held.mu.Lock()
	v.leaving = true
	w.held.mu.Unlock()
}

// candidate is a row of a segment that is dropped. What holds of one of its names
// holds of the row.
type candidate struct {
	names             []segment.Name
	uses              uint8
	pinned, protected bool
}

// candidates returns the rows of v that have a name, the most used first: they
// move while there is room.
func (w *writer) candidates(v *volume, protect bool) (rows []candidate) {
	protected := func(weir.PieceID) bool { return false }
	if protect && w.protect != nil {
		protected = w.protect(policy.MostProtected(w.held.limit.Load(), w.pins.bytes()))
	}
	names := w.held.namesIn(v)
	for len(names) > 0 {
		n := 1
		for n < len(names) && names[n].Off == names[0].Off {
			n++
		}
		r := candidate{names: names[:n]}
		for _, f := range r.names {
			_, uses, _ := w.held.size(f.ID)
			r.uses = max(r.uses, uses)
			r.pinned = r.pinned || w.pins.has(f.ID)
			r.protected = r.protected || protected(f.ID)
		}
		rows, names = append(rows, r), names[n:]
	}
	slices.SortStableFunc(rows, func(a, b candidate) int { return cmp.Compare(b.uses, a.uses) })
	return rows
}

// move writes a row of v again, into the newest segment of a class, and points its
// names there.
func (w *writer) move(v *volume, names []segment.Name, to policy.Class, uses uint8) (*volume, error) {
	in, err := w.room(to, names[0].N, false)
	if err != nil {
		return nil, err
	}
	row := new(segment.Row)
	if err := v.Load(row, names[0].ID, names[0].Off); err != nil {
		return nil, err
	}
	if err := w.append(in, uses, row); err != nil || len(names) == 1 {
		return in, err
	}
	var moved []segment.Name
	h := w.held
	h.mu.Lock()
	for _, f := range names[1:] {
		if h.at(f.ID).is(v, f.Off) { // else dropped meanwhile
			f.Off, f.Link = row.Off, true
			h.set(f, in).heat.store(uses, h.now())
			moved = append(moved, f)
		}
	}
	h.mu.Unlock()
	_ = w.setNames(index.Linked, in, moved...)
	return in, nil
}

// remove forgets the pieces gone, all that is left in v, and v itself. Its file
// goes once the pinned pieces, which moved, are on disk: up to an end in each segment.
func (w *writer) remove(v *volume, gone []segment.Name, pinned map[*volume]int64) {
	// In small steps, so that readers come through in between.
	for chunk := range slices.Chunk(gone, 256) {
		w.held.mu.Lock()
		for _, f := range chunk {
			if s := w.held.at(f.ID); s != nil && s.in == v {
				w.held.forget(f.ID)
				w.changes = append(w.changes, change{f.ID, false})
			}
		}
		w.held.mu.Unlock()
	}
	w.held.take(v)
	// Freeing the blocks takes a while: the writer goes on, at most one segment
	// ahead of it.
	w.removal.Lock()
	go func() {
		defer w.removal.Unlock()
		var err error
		for in, end := range pinned { // those are not removed before this is
			err = errors.Join(err, in.Sync(end), w.names.Sync())
		}
		if err := errors.Join(err, v.Drop()); err != nil {
			w.log.Warn("remove segment", "err", err)
		}
		w.log.Debug("segment removed", "segment", v.Seq)
		if v.inDatabase.Load() {
			if err := w.names.ForgetNames(v.Salt); err != nil { // the next start does it
				w.log.Debug("names of a segment that is gone stay", "err", err)
			}
		}
		v.Release()
	}()
}

// shrink drops segments until a smaller budget is kept. What was used moves, and not
// only half of it: there is nothing new to make room for. It moves once, and up to
// half of the budget.
func (w *writer) shrink(limit int64) {
	hot, round := limit/2, w.round()
	for i := 0; w.usedBytes() > limit; i++ {
		before := w.moved
		if !w.dropOne(hot, i < round) {
			break
		}
		hot = max(0, hot-(w.moved-before))
	}
	wait(&w.removal)
}

// merge writes the pieces of small segments together when there are too many.
func (w *writer) merge() {
	for {
		w.held.mu.RLock()
		var small *volume
		for _, v := range w.held.volumes {
			if v.sealed && (small == nil || v.disk < small.disk) {
				small = v
			}
		}
		many := len(w.held.volumes) > maxSegments && small != nil && small.disk < w.segmentBytes()/4
		w.held.mu.RUnlock()
		if !many {
			return
		}
		w.drop(small, 0, true, false)
	}
}

// Evict drops pieces of a torrent and gives their space on disk back. What is
// pinned stays, and what is not held is passed over. The error says that the
// space, or the memory that they are gone, could not be brought to disk; they
// are no longer served in any case.
func (c *Cache) Evict(ih weir.InfoHash, pieces []int) error {
	w, h := &c.writer, c.held
	if err := w.acquire(); err != nil {
		return err
	}
	defer w.release()
	lost := make(map[*volume][]segment.Name)
	for _, i := range pieces {
		id := weir.PieceID{Torrent: ih, Index: i}
		if c.pins.has(id) {
			continue
		}
		h.mu.Lock()
		if s := h.at(id); s != nil {
			lost[s.in] = append(lost[s.in], segment.Name{ID: id, Off: int64(s.off), N: s.bytes(), Link: s.link()})
			h.forget(id)
			w.changes = append(w.changes, change{id, false})
		}
		h.mu.Unlock()
	}
	for _, which := range policy.Classes { // what is written can't have holes
		if lost[w.active[which]] != nil {
			w.retire(which)
		}
	}
	wait(&w.sealing)
	var errs []error
	for v, names := range lost {
		errs = append(errs, w.discard(v, names))
	}
	wait(&w.removal)
	return errors.Join(errs...)
}

// discard gives the disk space of forgotten pieces of a sealed segment back.
func (w *writer) discard(v *volume, lost []segment.Name) error {
	w.held.mu.Lock()
	empty := v.live == 0
	v.leaving = v.leaving || empty
	w.held.mu.Unlock()
	if empty {
		w.remove(v, nil, nil)
		return nil
	}
	recorded := w.setNames(index.Gone, v, lost...)
	segment.SortByRow(lost)
	err := v.Free(lost, w.held.namesIn(v))
	w.held.measure(v)
	if recorded != nil { // now that there is room, maybe
		recorded = w.setNames(index.Gone, v, lost...)
	}
	return errors.Join(recorded, err)
}

// Clear drops every piece, the pinned ones too. Pins and records stay: see
// ClearRecords.
func (c *Cache) Clear() error {
	w := &c.writer
	if err := w.acquire(); err != nil {
		return err
	}
	defer w.release()
	w.retireAll()
	c.held.mu.RLock()
	all := slices.Clone(c.held.volumes)
	c.held.mu.RUnlock()
	for _, v := range all {
		w.leave(v)
		w.remove(v, c.held.namesIn(v), nil)
	}
	wait(&w.removal)
	return nil
}
