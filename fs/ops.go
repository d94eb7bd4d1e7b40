package fs

import (
	"context"
	"syscall"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// The operations, as methods that need no kernel. Those that take a context may
// have to wait; under noWait they return errMustWait instead.

// at returns the torrent that a node is of, and which entry. The root is not of
// one. ESTALE: it was removed, for the kernel does not ask for what it was never
// given.
func (f *FS) at(id fuse.NodeID) (*torrent, uint32, error) {
	if t, e := f.root.of(id); t != nil {
		return t, e, nil
	}
	return nil, 0, syscall.ESTALE
}

// entry returns the tree that a node is in, and which entry of it.
func (f *FS) entry(ctx context.Context, id fuse.NodeID) (*torrent, *tree, uint32, error) {
	t, e, err := f.at(id)
	if err != nil {
		return nil, nil, 0, err
	}
	g, err := t.tree(ctx, f.notifier)
	if err != nil {
		return nil, nil, 0, err
	}
	if e >= uint32(g.len()) {
		return nil, nil, 0, syscall.ESTALE
	}
	return t, g, e, nil
}

// getattr never waits: whoever knows a node below a torrent's folder has made
// its tree grow.
func (f *FS) getattr(id fuse.NodeID, a *fuse.Attr) error {
	if id == fuse.RootID {
		f.rootAttr(a)
		return nil
	}
	if id == pollNode {
		f.pollAttr(a)
		return nil
	}
	t, e, err := f.at(id)
	if err != nil {
		return err
	}
	if e == 0 {
		f.folderAttr(a, t)
		return nil
	}
	g := t.grown.Load()
	if g == nil || e >= uint32(g.len()) {
		return syscall.ESTALE
	}
	f.entryAttr(a, t, g, e)
	return nil
}

// lookup finds a name in a folder. A name that is not in a torrent never will
// be, and is answered with node 0, which the kernel may keep like any other
// answer; one that is not in the root is ENOENT and not kept.
func (f *FS) lookup(ctx context.Context, parent fuse.NodeID, name string, resp *fuse.LookupResponse) error {
	if len(name) > NameBytes {
		return syscall.ENAMETOOLONG
	}
	resp.EntryValid = validFor
	if parent == fuse.RootID {
		t := f.root.named(name)
		if t == nil {
			if name == pollName && f.polling.Load() {
				resp.Node, resp.EntryValid = pollNode, 0
				f.pollAttr(&resp.Attr)
				return nil
			}
			return syscall.ENOENT
		}
		resp.Node = makeNode(t.prefix, 0)
		f.folderAttr(&resp.Attr, t)
		return nil
	}
	t, g, dir, err := f.entry(ctx, parent)
	if err != nil {
		return err
	}
	if !g.isDir(dir) {
		return syscall.ENOTDIR
	}
	e, ok := g.find(dir, name)
	if !ok {
		resp.Node = 0
		return nil
	}
	resp.Node = makeNode(t.prefix, e)
	f.entryAttr(&resp.Attr, t, g, e)
	return nil
}

// openDir waits until a folder can be listed. Folders need no handle: what is in
// them is found by the node. The kernel may keep all listings; it is told when
// the root's changes.
func (f *FS) openDir(ctx context.Context, id fuse.NodeID, resp *fuse.OpenResponse) error {
	resp.Flags = fuse.OpenCacheDir | fuse.OpenKeepCache
	if id == fuse.RootID {
		return nil
	}
	_, g, e, err := f.entry(ctx, id)
	if err == nil && !g.isDir(e) {
		return syscall.ENOTDIR
	}
	return err
}

// openFile opens a file for reading; its contents never change, so the kernel
// keeps its pages.
func (f *FS) openFile(ctx context.Context, id fuse.NodeID, flags fuse.OpenFlags, resp *fuse.OpenResponse) error {
	if !flags.IsReadOnly() {
		return syscall.EROFS
	}
	switch id {
	case fuse.RootID:
		return syscall.EISDIR
	case pollNode:
		return nil // nobody reads it, so it needs no handle
	}
	t, g, e, err := f.entry(ctx, id)
	if err != nil {
		return err
	}
	if g.isDir(e) {
		return syscall.EISDIR
	}
	file, err := t.src.OpenFile(int(g.nodes[e].ref))
	if err != nil {
		return err
	}
	resp.Handle = f.handles.add(&handle{t: t, entry: e, file: file, size: g.file(e).Length})
	resp.Flags = fuse.OpenKeepCache
	return nil
}

// release closes a file. The kernel sends it when no read is under way.
func (f *FS) release(id fuse.HandleID) {
	if h := f.handles.take(id); h != nil {
		f.closeHandle(h)
	}
}

func (f *FS) closeHandle(h *handle) {
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
	if h.t.removed.Load() {
		return nil, 0, weir.ErrRemoved
	}
	if off < 0 {
		return nil, 0, syscall.EINVAL
	}
	return h, int(max(0, min(int64(n), h.size-off))), nil
}

// readWaiting fills p from the swarm. The kernel takes a short read for the end
// of the file, so all of p or nothing is returned.
func (f *FS) readWaiting(ctx context.Context, h *handle, p []byte, off int64) error {
	n, err := h.file.ReadAt(ctx, p, off)
	if n == len(p) {
		return nil
	}
	if err == nil { // a File that breaks its promise
		return syscall.EIO
	}
	return reason(ctx, err)
}

// access allows everything but writing; who may look in at all is decided by
// the kernel.
func (f *FS) access(mask uint32) error {
	const write = 2
	if mask&write != 0 {
		return syscall.EROFS
	}
	return nil
}
