package fs

import (
	"context"
	"errors"
	"syscall"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/tree"
)

// The operations that change the tree. They are few, and all but copying a file in
// are the host's to do. Whatever else a program tries is EROFS.

// openNoFlush says that closing a file needs not be told of (FOPEN_NOFLUSH, since
// Linux 5.16).
const openNoFlush fuse.OpenResponseFlags = 1 << 5

// sorting returns the sorting folder in which something is to be changed.
func (f *FS) sorting(id fuse.NodeID) (*folder, error) {
	if f.opt.Host == nil {
		return nil, syscall.EROFS
	}
	if d := f.root.folder(id); d != nil {
		return d, nil
	}
	if t, _ := f.root.of(id); t == nil && id != byHashNode {
		return nil, syscall.ESTALE
	}
	return nil, syscall.EROFS
}

// pathIn returns the path of a name in a sorting folder.
func (f *FS) pathIn(d *folder, name string) (string, error) {
	p := name
	if above := f.root.pathOf(d); above != "" {
		p = above + "/" + name
	}
	if len(name) > tree.NameBytes || len(p) > tree.PathBytes {
		return "", syscall.ENAMETOOLONG
	}
	return p, nil
}

// create makes and opens a draft.
func (f *FS) create(parent fuse.NodeID, name string, by Opener, resp *fuse.CreateResponse) error {
	in, err := f.sorting(parent)
	if err != nil {
		return err
	}
	if _, err := f.pathIn(in, name); err != nil {
		return err
	}
	if _, ok := weir.SourceFile(name); !ok {
		return syscall.EROFS
	}
	d, err := f.root.makeDraft(in, name, time.Now())
	if err == syscall.ENOSPC {
		f.makeRoom()
		d, err = f.root.makeDraft(in, name, time.Now())
	}
	if err != nil {
		return err
	}
	resp.Node = d.id
	f.draftAttr(&resp.Attr, d)
	f.openDraft(d, by, &resp.OpenResponse)
	return nil
}

func (f *FS) openDraft(d *draft, by Opener, resp *fuse.OpenResponse) {
	d.mu.Lock()
	d.open++
	d.mu.Unlock()
	resp.Handle = f.handles.add(&handle{draft: d, by: by, opened: time.Now()})
	resp.Flags = fuse.OpenDirectIO // what the kernel keeps nothing of needs no care
}

// writeDraft writes to an open draft.
func (f *FS) writeDraft(id fuse.HandleID, p []byte, off int64) error {
	h := f.handles.get(id)
	if h == nil || h.draft == nil {
		return syscall.EBADF
	}
	return f.write(h.draft, p, off)
}

// flush hands over what was written since the last time. Every close of a
// descriptor is a flush, so one with nothing new is not worth a word: a shell
// closes the first one before anybody writes.
func (f *FS) flush(ctx context.Context, id fuse.HandleID) error {
	h := f.handles.get(id)
	if h == nil || h.draft == nil {
		return nil
	}
	dir, name, ok := f.root.placeOf(h.draft)
	if !ok {
		dir, name = h.draft.placed()
	}
	if complete, _ := weir.SourceFile(name); !complete || !h.draft.hasWritten() {
		return nil
	}
	if ctx == noWait {
		return errMustWait{}
	}
	return f.handOver(ctx, h.draft, dir, name)
}

// handOver gives a draft's content to the host. The draft is put away first, so that
// the torrent may have its name.
func (f *FS) handOver(ctx context.Context, d *draft, dir, name string) error {
	content := d.takeWritten(dir, name)
	if content == nil {
		return nil
	}
	f.putAway(d)
	if err := f.opt.Host.AddFile(ctx, dir, name, content); err != nil && !errors.Is(err, weir.ErrExists) {
		f.log.Warn("a file that was copied into the mount is refused", "folder", dir, "file", name, "err", err)
		d.refused()
		f.putBack(d)
		return hostError(err)
	}
	return nil
}

// mkdir makes a sorting folder.
func (f *FS) mkdir(ctx context.Context, parent fuse.NodeID, name string, resp *fuse.LookupResponse) error {
	in, err := f.sorting(parent)
	if err != nil {
		return err
	}
	path, err := f.pathIn(in, name)
	if err != nil {
		return err
	}
	if !tree.FolderName(name) {
		return syscall.EROFS
	}
	if s := f.root.named(in, name); s != nil {
		if !f.replaceTaken(s) {
			return syscall.EEXIST
		}
	}
	if ctx == noWait {
		return errMustWait{}
	}
	if err := f.opt.Host.MakeFolder(ctx, path); err != nil {
		return hostError(err)
	}
	s := f.root.named(in, name)
	if s == nil || s.dir == nil { // removed at once, or a Host that breaks its promise
		return syscall.ENOENT
	}
	resp.Node, resp.EntryValid = s.dir.id, validFor
	f.sortingAttr(&resp.Attr, s.dir)
	return nil
}

// remove takes a name away: of a draft, or with rmdir of a torrent's folder, which
// removes the torrent, or of a sorting folder that is empty. Inside of torrents,
// see unlinkIn.
func (f *FS) remove(ctx context.Context, parent fuse.NodeID, name string, rmdir bool) error {
	if f.opt.Host == nil || parent == byHashNode {
		return syscall.EROFS
	}
	in := f.root.folder(parent)
	if in == nil {
		return f.unlinkIn(ctx, parent, name, rmdir)
	}
	s := f.root.named(in, name)
	switch {
	case s == nil:
		return syscall.ENOENT
	case s.isDir() && !rmdir:
		return syscall.EISDIR
	case !s.isDir() && rmdir:
		return syscall.ENOTDIR
	case s.draft != nil:
		f.dropDraft(s.draft)
		return nil
	case s.t == nil && s.dir == nil: // by-hash
		return syscall.EROFS
	case s.dir != nil && !f.root.empty(s.dir):
		return syscall.ENOTEMPTY
	case ctx == noWait:
		return errMustWait{}
	}
	if s.t != nil {
		return hostError(f.opt.Host.RemoveTorrent(ctx, s.t.ih))
	}
	return hostError(f.opt.Host.RemoveFolder(ctx, f.root.pathOf(s.dir)))
}

// rename moves a torrent's folder, a sorting folder or a draft to a name that is
// not taken.
func (f *FS) rename(ctx context.Context, parent fuse.NodeID, name string, newParent fuse.NodeID, newName string) error {
	from, err := f.sorting(parent)
	if err != nil {
		return err
	}
	to, err := f.sorting(newParent)
	if err != nil {
		return err
	}
	path, err := f.pathIn(to, newName)
	if err != nil {
		return err
	}
	s, taken := f.root.named(from, name), f.root.named(to, newName)
	switch {
	case s == nil:
		return syscall.ENOENT
	case taken == s:
		return nil
	case taken != nil && !f.replaceTaken(taken) && (s.draft == nil || taken.draft == nil):
		return syscall.EEXIST
	case s.draft != nil:
		return f.renameDraft(ctx, s.draft, to, newName)
	case s.t == nil && s.dir == nil: // by-hash
		return syscall.EROFS
	case ctx == noWait:
		return errMustWait{}
	}
	if s.dir != nil {
		if !tree.FolderName(newName) {
			return syscall.EINVAL
		}
		return hostError(f.opt.Host.MoveFolder(ctx, f.root.pathOf(s.dir), path))
	}
	raw := tree.RawName(newName)
	if tree.SafeName(raw) != newName {
		return syscall.EINVAL // it would be shown under another name
	}
	if err := f.opt.Host.MoveTorrent(ctx, s.t.ih, f.root.pathOf(to), raw); err != nil {
		return hostError(err)
	}
	if now := f.root.named(to, newName); now == nil || now.t != s.t {
		f.notifier.nameGone(newParent, newName) // the kernel believes in it from now on
	}
	return nil
}

// renameDraft gives a draft its name, and takes it from one that has it. If that is one that says what to add, and
// nobody has the draft open any more, it is handed over.
func (f *FS) renameDraft(ctx context.Context, d *draft, to *folder, name string) error {
	complete, ok := weir.SourceFile(name)
	if !ok {
		return syscall.EROFS
	}
	if complete && d.closed() && d.hasWritten() {
		if ctx == noWait {
			return errMustWait{}
		}
		if err := f.handOver(ctx, d, f.root.pathOf(to), name); err != nil {
			return err
		}
	}
	if old := f.root.named(to, name); old != nil && old.draft != nil && old.draft != d {
		f.dropDraft(old.draft)
	}
	f.chores.poke()
	return f.root.renameDraft(d, to, name)
}
