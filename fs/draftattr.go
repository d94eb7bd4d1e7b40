package fs

import (
	"os"
	"syscall"
	"time"

	"bazil.org/fuse"
)

// draftAttrs are what programs set on files that they copy, and look at again. None
// of it is of use to anybody else.
type draftAttrs struct {
	mode     os.FileMode // permissions
	uid, gid *uint32     // nil: as everything has it
	mtime    time.Time
}

func (f *FS) draftAttr(a *fuse.Attr, d *draft) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.fill(a, d.id, d.attr.mtime)
	a.Valid = 0
	a.Mode = d.attr.mode
	if d.attr.uid != nil {
		a.Uid = *d.attr.uid
	}
	if d.attr.gid != nil {
		a.Gid = *d.attr.gid
	}
	a.Nlink = 1
	a.Size = uint64(len(d.data))
	a.Blocks = (a.Size + 511) / 512
}

// set takes what r sets but the size.
func (d *draft) set(r *fuse.SetattrRequest, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.touched = now
	if r.Valid.Mode() {
		d.attr.mode = r.Mode.Perm()
	}
	if r.Valid.Uid() {
		d.attr.uid = &r.Uid
	}
	if r.Valid.Gid() {
		d.attr.gid = &r.Gid
	}
	switch {
	case r.Valid.MtimeNow():
		d.attr.mtime = now
	case r.Valid.Mtime():
		d.attr.mtime = r.Mtime
	}
}

// setattr sets attributes of a draft. Those of a torrent's folder that has the name
// of a file which was handed over just now are taken without a word: the program
// means that file.
func (f *FS) setattr(r *fuse.SetattrRequest, a *fuse.Attr) error {
	if f.opt.Host == nil {
		return syscall.EROFS
	}
	if !isDraft(r.Node) {
		t, e := f.root.of(r.Node)
		if t == nil || e != 0 || r.Valid.Size() || !f.root.coversTaken(t) {
			return syscall.EROFS
		}
		f.torrentAttr(a, t)
		return nil
	}
	d, err := f.root.draft(r.Node)
	if err != nil {
		return err
	}
	if r.Valid.Size() {
		if r.Size > draftBytes {
			return syscall.EFBIG
		}
		if err := f.resize(d, int64(r.Size)); err != nil {
			return err
		}
	}
	d.set(r, time.Now())
	f.draftAttr(a, d)
	return nil
}
