package fs

import (
	"time"
)

// takenFor is how long the name of a file that was handed over still answers. Many
// programs close what they have copied first, and set its mode, owner and times by
// its name then; some look at it again.
const takenFor = 10 * time.Second

// putAway takes a draft out of its folder's listing, and leaves it its name for
// takenFor after it was last touched. The name is free for a torrent: what it leads
// to is the torrent then.
func (f *FS) putAway(d *draft) {
	r := f.root
	r.mu.Lock()
	if d.slot == nil || d.taken {
		r.mu.Unlock()
		return
	}
	in, name := d.slot.in, d.slot.name
	r.drop(d.slot)
	d.taken = true
	d.slot = &slot{in: in, name: name, draft: d}
	d.slot.putTaken()
	r.mu.Unlock()
	f.notifier.folderChanged(in.id)
}

// putBack undoes putAway, when the draft was refused. It has no name any more if
// something else has got that.
func (f *FS) putBack(d *draft) {
	r := f.root
	r.mu.Lock()
	if d.slot == nil || !d.taken {
		r.mu.Unlock()
		return
	}
	in, name := d.slot.in, d.slot.name
	r.dropDraftSlot(d)
	d.taken, d.slot = false, nil
	if in.byName[name] == nil {
		d.slot = &slot{in: in, name: name, draft: d}
		r.put(d.slot)
	}
	r.mu.Unlock()
	f.notifier.folderChanged(in.id)
}

// putTaken enters a slot among the taken ones of its folder. The caller has root.mu.
func (s *slot) putTaken() {
	if s.in.taken == nil {
		s.in.taken = make(map[string]*slot)
	}
	if old := s.in.taken[s.name]; old != nil {
		old.draft.slot = nil
	}
	s.in.taken[s.name] = s
}

// dropDraftSlot takes a draft out of where its folder has it. The caller has r.mu.
func (r *root) dropDraftSlot(d *draft) {
	if d.taken {
		delete(d.slot.in.taken, d.slot.name)
	} else {
		r.drop(d.slot)
	}
}

// stateOf returns whether a draft has a name, and whether it was handed over.
func (r *root) stateOf(d *draft) (named, taken bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return d.slot != nil, d.taken
}

// coversTaken reports whether a torrent's folder has the name of a file that was
// handed over just now.
func (r *root) coversTaken(t *torrent) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return t.slot.in.taken[t.slot.name] != nil
}

// replaceTaken drops what has a slot if that was handed over, and returns false if
// it was not.
func (f *FS) replaceTaken(s *slot) bool {
	if s.draft == nil {
		return false
	}
	if _, taken := f.root.stateOf(s.draft); !taken {
		return false
	}
	f.dropDraft(s.draft)
	return true
}

// makeRoom drops what was handed over and nobody has open, whose time has not come
// yet: others need the room.
func (f *FS) makeRoom() {
	for _, d := range f.root.allDrafts() {
		if _, taken := f.root.stateOf(d); taken && d.closed() {
			f.dropDraft(d)
		}
	}
}
