package fs

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// Bounds of what is copied in, bytes. The metainfo of a million files has about
// 50 MB.
const (
	draftBytes    = 64 << 20  // one file
	allDraftBytes = 256 << 20 // all together
	draftFiles    = 1000      // how many there may be at once
)

// draftIdle is how long a file that nobody has open may stay.
const draftIdle = time.Minute

// draft is a file that is being copied into the mount. It is in memory, and gone
// soon after what it says was added.
type draft struct {
	id fuse.NodeID

	// Guarded by root.mu.
	slot  *slot // nil when it has no name any more
	taken bool  // the slot is among its folder's taken ones

	mu      sync.Mutex
	data    []byte
	written bool // since it was handed over
	open    int  // handles
	touched time.Time
	attr    draftAttrs
	// where it was when it was handed over
	lastDir, lastName string
}

// makeDraft enters a new draft.
func (r *root) makeDraft(in *folder, name string, now time.Time) (*draft, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case in.byName[name] != nil, in.taken[name] != nil:
		return nil, syscall.EEXIST
	case len(r.drafts) >= draftFiles:
		return nil, syscall.ENOSPC
	}
	for r.drafts[r.draftID] != nil {
		r.draftID++
		if r.draftID > lastDraft {
			r.draftID = firstDraft
		}
	}
	d := &draft{id: r.draftID, touched: now, attr: draftAttrs{mode: 0o644, mtime: now}}
	r.draftID++ // the kernel may still know the last ones
	if r.draftID > lastDraft {
		r.draftID = firstDraft
	}
	d.slot = &slot{in: in, name: name, draft: d}
	r.put(d.slot)
	r.drafts[d.id] = d
	return d, nil
}

// unnameDraft takes a draft's name away, and returns in which folder that was; ok
// is false if it had none.
func (r *root) unnameDraft(d *draft) (in fuse.NodeID, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.slot == nil {
		return 0, false
	}
	in = d.slot.in.id
	r.dropDraftSlot(d)
	d.slot = nil
	return in, true
}

// renameDraft gives a draft another place, which is nobody's or that of a file that
// was handed over.
func (r *root) renameDraft(d *draft, in *folder, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case d.slot == nil:
		return syscall.ENOENT
	case in.byName[name] != nil && !d.taken:
		return syscall.EEXIST
	}
	r.dropDraftSlot(d)
	d.slot = &slot{in: in, name: name, draft: d}
	if d.taken {
		d.slot.putTaken()
	} else {
		r.put(d.slot)
	}
	return nil
}

// endDraft forgets a draft that has no name and is not open.
func (r *root) endDraft(d *draft) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.slot == nil {
		delete(r.drafts, d.id)
	}
}

func (r *root) draft(id fuse.NodeID) (*draft, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if d := r.drafts[id]; d != nil {
		return d, nil
	}
	return nil, syscall.ESTALE
}

// placeOf returns the folder that a draft is in, and its name; ok is false if it
// has none any more.
func (r *root) placeOf(d *draft) (dir, name string, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if d.slot == nil {
		return "", "", false
	}
	return r.path(d.slot.in), d.slot.name, true
}

// folderOfDraft returns the folder that a draft is in.
func (r *root) folderOfDraft(d *draft) (fuse.NodeID, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if d.slot == nil {
		return 0, syscall.ESTALE
	}
	return d.slot.in.id, nil
}

func (r *root) allDrafts() []*draft {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*draft, 0, len(r.drafts))
	for _, d := range r.drafts {
		all = append(all, d)
	}
	return all
}

// resize makes the draft size bytes long.
func (f *FS) resize(d *draft, size int64) error {
	if size < 0 || size > draftBytes {
		return syscall.EFBIG
	}
	f.roomFor(d, size)
	d.mu.Lock()
	defer d.mu.Unlock()
	grows := size - int64(len(d.data))
	if f.draftSum.Add(grows) > allDraftBytes && grows > 0 {
		f.draftSum.Add(-grows)
		return syscall.ENOSPC
	}
	if grows > 0 {
		d.data = append(d.data, make([]byte, grows)...)
	} else {
		d.data = d.data[:size]
	}
	d.wrote(time.Now())
	return nil
}

// wrote notes a change of the content. The caller has d.mu.
func (d *draft) wrote(now time.Time) {
	d.written = true
	d.touched, d.attr.mtime = now, now
}

// roomFor makes room for a draft of size bytes, if there is too little.
func (f *FS) roomFor(d *draft, size int64) {
	d.mu.Lock()
	grows := size - int64(len(d.data))
	d.mu.Unlock()
	if f.draftSum.Load()+grows > allDraftBytes {
		f.makeRoom()
	}
}

// write puts p into the draft at off.
func (f *FS) write(d *draft, p []byte, off int64) error {
	if off < 0 || off > draftBytes || off+int64(len(p)) > draftBytes {
		return syscall.EFBIG
	}
	d.mu.Lock()
	size := int64(len(d.data))
	d.mu.Unlock()
	if end := off + int64(len(p)); end > size {
		if err := f.resize(d, end); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if off+int64(len(p)) > int64(len(d.data)) { // truncated by another program meanwhile
		return syscall.EIO
	}
	copy(d.data[off:], p)
	d.wrote(time.Now())
	return nil
}

// read returns a copy of up to n bytes at off.
func (d *draft) read(off int64, n int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < 0 || off >= int64(len(d.data)) {
		return nil
	}
	return slices.Clone(d.data[off:min(off+int64(n), int64(len(d.data)))])
}

// hasWritten reports whether there is something new to be handed over.
func (d *draft) hasWritten() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written && len(d.data) > 0
}

// takeWritten returns a copy of what is to be handed over, nil if there is nothing
// new, and remembers where that was.
func (d *draft) takeWritten(dir, name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.written || len(d.data) == 0 {
		return nil
	}
	d.written = false
	d.lastDir, d.lastName = dir, name
	return slices.Clone(d.data)
}

// placed returns where the draft was when it was handed over.
func (d *draft) placed() (dir, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lastDir, d.lastName
}

// refused says that what was taken is to be handed over yet.
func (d *draft) refused() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written = true
}

func (d *draft) closed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open == 0
}

// closeDraft is called when a handle of d is closed. With the last one a draft goes
// that was refused, or has no name any more.
func (f *FS) closeDraft(d *draft) {
	d.mu.Lock()
	d.open--
	open := d.open
	d.touched = time.Now()
	d.mu.Unlock()
	if open > 0 {
		return
	}
	_, name, ok := f.root.placeOf(d)
	complete, _ := weir.SourceFile(name)
	switch {
	case !ok, complete && d.hasWritten():
		f.dropDraft(d)
		return
	case complete:
		f.putAway(d)
	}
	f.chores.poke() // it waits for its rename, or to be forgotten
}

// dropDraft takes a draft's name away, and its content if nobody has it open.
func (f *FS) dropDraft(d *draft) {
	if in, ok := f.root.unnameDraft(d); ok {
		f.notifier.folderChanged(in)
	}
	d.mu.Lock()
	open := d.open
	size := 0
	if open == 0 {
		size = len(d.data)
		d.data = nil
	}
	d.mu.Unlock()
	if open == 0 {
		f.draftSum.Add(-int64(size))
		f.root.endDraft(d)
	}
}

// forgetDrafts drops those that nobody finishes, and those that are done with.
func (f *FS) forgetDrafts(now time.Time) (next time.Duration) {
	for _, d := range f.root.allDrafts() {
		named, taken := f.root.stateOf(d)
		stay := draftIdle
		if taken {
			stay = takenFor
		}
		d.mu.Lock()
		open, left := d.open, d.touched.Add(stay).Sub(now)
		d.mu.Unlock()
		if open > 0 {
			continue
		}
		if named && left > 0 {
			next = sooner(next, left)
			continue
		}
		if named && !taken {
			dir, name, _ := f.root.placeOf(d)
			f.log.Warn("a file that was copied into the mount is dropped: nobody gave it its name", "folder", dir, "file", name,
				"want", fmt.Sprintf("a name with %s at its end", strings.Join(weir.SourceExts(), ", ")))
		}
		f.dropDraft(d)
	}
	return next
}
