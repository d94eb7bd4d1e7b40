package fs

import (
	"context"
	"syscall"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/tree"
)

// The operations, as methods that need no kernel. Those that take a context may
// have to wait; under noWait they return errMustWait instead.

// at returns the torrent that a node is of, and which entry. ESTALE: it was
// removed, for the kernel does not ask for what it was never given.
func (f *FS) at(id fuse.NodeID) (*torrent, uint32, error) {
	if t, e := f.root.of(id); t != nil {
		return t, e, nil
	}
	return nil, 0, syscall.ESTALE
}

// entry returns the tree that a node is in, and which entry of it.
func (f *FS) entry(ctx context.Context, id fuse.NodeID) (*torrent, *torrentTree, uint32, error) {
	t, e, err := f.at(id)
	if err != nil {
		return nil, nil, 0, err
	}
	g, err := f.tree(ctx, t)
	if err != nil {
		return nil, nil, 0, err
	}
	if e >= uint32(g.Len()) {
		return nil, nil, 0, syscall.ESTALE
	}
	return t, g, e, nil
}

// getattr waits only for a tree that was forgotten.
func (f *FS) getattr(ctx context.Context, id fuse.NodeID, a *fuse.Attr) error {
	switch {
	case id == pollNode:
		f.pollAttr(a)
		return nil
	case id == byHashNode:
		f.byHashAttr(a)
		return nil
	case isDraft(id):
		d, err := f.root.draft(id)
		if err == nil {
			f.draftAttr(a, d)
		}
		return err
	}
	t, e := f.root.of(id)
	if t == nil {
		if d := f.root.folder(id); d != nil {
			f.sortingAttr(a, d)
			return nil
		}
		return syscall.ESTALE
	}
	switch e {
	case 0:
		f.torrentAttr(a, t)
		return nil
	case linkEntry:
		f.linkAttr(a, t)
		return nil
	}
	t, g, e, err := f.entry(ctx, id)
	if err == nil {
		f.entryAttr(a, t, g, e)
	}
	return err
}

// lookup finds a name in a folder. A name that is not in a torrent never will
// be, and is answered with node 0, which the kernel may keep like any other
// answer; one that is not in a sorting folder is ENOENT and not kept.
func (f *FS) lookup(ctx context.Context, parent fuse.NodeID, name string, resp *fuse.LookupResponse) error {
	if len(name) > tree.NameBytes {
		return syscall.ENAMETOOLONG
	}
	switch name {
	case ".":
		return f.lookupDot(ctx, parent, resp)
	case "..":
		return f.lookupDotDot(ctx, parent, resp)
	}
	if parent == byHashNode {
		return f.lookupHash(ctx, name, resp)
	}
	resp.EntryValid = validFor
	if d := f.root.folder(parent); d != nil {
		return f.lookupSorting(d, name, resp)
	}
	t, g, dir, err := f.entry(ctx, parent)
	if err != nil {
		return err
	}
	if !g.IsDir(dir) {
		return syscall.ENOTDIR
	}
	e, ok := g.Find(dir, name)
	if !ok {
		resp.Node = 0
		return nil
	}
	if t.hidden.has(e) {
		return syscall.ENOENT
	}
	resp.Node = makeNode(t.prefix, e)
	f.entryAttr(&resp.Attr, t, g, e)
	return nil
}

func (f *FS) lookupSorting(d *folder, name string, resp *fuse.LookupResponse) error {
	s := f.root.named(d, name)
	if s == nil {
		if name == pollName && f.polling.Load() {
			resp.Node, resp.EntryValid = pollNode, 0
			f.pollAttr(&resp.Attr)
			return nil
		}
		return syscall.ENOENT
	}
	resp.Node = s.node()
	switch {
	case s.t != nil:
		f.torrentAttr(&resp.Attr, s.t)
	case s.dir != nil:
		f.sortingAttr(&resp.Attr, s.dir)
	case s.draft != nil:
		resp.EntryValid = 0
		f.draftAttr(&resp.Attr, s.draft)
	default:
		f.byHashAttr(&resp.Attr)
	}
	return nil
}

// openDir waits until a folder can be listed. Folders need no handle: what is in
// them is found by the node. The kernel may keep all listings but that of by-hash;
// it is told when one changes.
func (f *FS) openDir(ctx context.Context, id fuse.NodeID, resp *fuse.OpenResponse) error {
	if id == byHashNode {
		return nil
	}
	resp.Flags = fuse.OpenCacheDir | fuse.OpenKeepCache
	if f.root.folder(id) != nil {
		return nil
	}
	_, g, e, err := f.entry(ctx, id)
	if err == nil && !g.IsDir(e) {
		return syscall.ENOTDIR
	}
	return err
}

// openFile opens a file for reading; its contents never change, so the kernel
// keeps its pages. Drafts may be written, too.
func (f *FS) openFile(ctx context.Context, id fuse.NodeID, flags fuse.OpenFlags, by Opener, resp *fuse.OpenResponse) error {
	if isDraft(id) {
		d, err := f.root.draft(id)
		if err == nil {
			f.openDraft(d, by, resp)
		}
		return err
	}
	if !flags.IsReadOnly() {
		return syscall.EROFS
	}
	if id == pollNode {
		return nil // nobody reads it, so it needs no handle
	}
	if id == byHashNode || f.root.folder(id) != nil {
		return syscall.EISDIR
	}
	t, g, e, err := f.entry(ctx, id)
	if err != nil {
		return err
	}
	if g.IsDir(e) {
		return syscall.EISDIR
	}
	file, err := t.src.OpenFile(g.FileIndex(e), by)
	if err != nil {
		return err
	}
	resp.Handle = f.handles.add(&handle{t: t, entry: e, file: file, size: g.File(e).Length, path: g.Path(e), by: by, opened: time.Now()})
	resp.Flags = fuse.OpenKeepCache | openNoFlush
	return nil
}

// release closes a file. The kernel sends it when no read is under way.
func (f *FS) release(id fuse.HandleID) {
	if h := f.handles.take(id); h != nil {
		f.closeHandle(h)
	}
}

func (f *FS) closeHandle(h *handle) {
	if h.draft != nil {
		f.closeDraft(h.draft)
		return
	}
	if err := h.file.Close(); err != nil {
		f.log.Debug("close file", "torrent", h.t.ih, "err", err)
	}
}

// readable returns the open file behind id, and how many bytes of a read of n at
// off lie within it.
func (f *FS) readable(id fuse.HandleID, off int64, n int) (*handle, int, error) {
	h := f.handles.get(id)
	if h == nil {
		return nil, 0, syscall.EBADF
	}
	if off < 0 {
		return nil, 0, syscall.EINVAL
	}
	if h.draft != nil {
		return h, n, nil
	}
	if h.t.removed.Load() {
		return nil, 0, weir.ErrRemoved
	}
	return h, int(max(0, min(int64(n), h.size-off))), nil
}

// access allows everything but writing where nothing can be written; who may look
// in at all is decided by the kernel.
func (f *FS) access(mask uint32) error {
	const write = 2
	if mask&write != 0 && f.opt.Host == nil {
		return syscall.EROFS
	}
	return nil
}
