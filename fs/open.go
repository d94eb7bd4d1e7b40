package fs

import (
	"context"
	"log/slog"
	"syscall"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/process"
)

// files are the open files.
type files struct {
	root      *root
	trees     *trees
	incoming  *incomingFiles
	handles   handles
	processes process.Cache
	log       *slog.Logger
}

// OpenDir waits until a folder can be listed. Folders need no handle: the node id is enough.
// The kernel may keep all listings but that of by-hash; it is notified when one changes.
func (fs *files) OpenDir(id node.ID) (node.Opened, node.Wait[node.Opened], error) {
	if id == node.ByHash {
		return node.Opened{}, nil, nil
	}
	kept := node.Opened{KeepListing: true, KeepCache: true}
	if fs.root.folder(id) != nil {
		return kept, nil, nil
	}
	return inTree(fs.trees, id, func(at entry) (node.Opened, error) {
		if !at.tree.IsDir(at.n) {
			return node.Opened{}, syscall.ENOTDIR
		}
		return kept, nil
	})
}

// OpenFile opens a file for reading. Its content never changes, so the kernel may keep its
// pages. Incoming files may also be written.
func (fs *files) OpenFile(id node.ID, readOnly bool, by node.Caller) (node.Opened, node.Wait[node.Opened], error) {
	if id.IsIncoming() {
		f, err := fs.incoming.byID(id)
		if err != nil {
			return node.Opened{}, nil, err
		}
		return fs.openIncoming(f, by), nil, nil
	}
	if !readOnly {
		return node.Opened{}, nil, syscall.EROFS
	}
	if id == node.ByHash || fs.root.folder(id) != nil {
		return node.Opened{}, nil, syscall.EISDIR
	}
	return inTree(fs.trees, id, func(at entry) (node.Opened, error) {
		if at.tree.IsDir(at.n) {
			return node.Opened{}, syscall.EISDIR
		}
		h, err := fs.open(at, fs.opener(by))
		if err != nil {
			return node.Opened{}, err
		}
		return node.Opened{Handle: fs.handles.add(h), KeepCache: true, NoFlush: true}, nil
	})
}

// open opens a file of a torrent.
func (fs *files) open(at entry, by Opener) (*handle, error) {
	file, err := at.t.src.OpenFile(at.tree.FileIndex(at.n), by)
	if err != nil {
		return nil, err
	}
	return &handle{t: at.t, entry: at.n, file: file, size: at.tree.File(at.n).Length, path: at.tree.Path(at.n), by: by, opened: time.Now()}, nil
}

func (fs *files) openIncoming(f *incomingFile, by node.Caller) node.Opened {
	f.Open()
	h := fs.handles.add(&handle{incoming: f, by: fs.opener(by), opened: time.Now()})
	return node.Opened{Handle: h, Direct: true} // no pages in the kernel that could become stale
}

// opener returns who sent a request.
func (fs *files) opener(c node.Caller) Opener {
	by := Opener{PID: c.TID, UID: c.UID}
	if p, ok := fs.processes.Of(c.TID, time.Now()); ok && c.TID != 0 {
		by.PID, by.Program = p.PID, p.Name
	}
	return by
}

// Release closes a file. The kernel sends it when no read is under way.
func (fs *files) Release(id node.Handle) {
	if h := fs.handles.take(id); h != nil {
		fs.closeHandle(h)
	}
}

func (fs *files) closeHandle(h *handle) {
	if h.incoming != nil {
		fs.incoming.closed(h.incoming)
		return
	}
	if err := h.file.Close(); err != nil {
		fs.log.Debug("close file", "torrent", h.t.ih, "err", err)
	}
}

// closeAll closes everything that is open.
func (fs *files) closeAll() {
	for _, h := range fs.handles.takeAll() {
		fs.closeHandle(h)
	}
}

// Read calls use with the bytes if all are held, or returns a read that waits.
func (fs *files) Read(r node.Read, use func(b []byte)) (*node.PendingRead, error) {
	h, n, err := fs.readable(r)
	switch {
	case err != nil:
		return nil, err
	case h.incoming != nil:
		use(h.incoming.Read(r.Off, n))
		return nil, nil
	case n == 0:
		use(nil)
		return nil, nil
	}
	miss, err := h.file.View(r.Off, n, use)
	if err != nil || miss == nil {
		return nil, err
	}
	return fs.pendingRead(h, r, n, miss)
}

// readable returns the open file of a read, and how many of its bytes lie within it.
func (fs *files) readable(r node.Read) (*handle, int, error) {
	h := fs.handles.get(r.Handle)
	switch {
	case h == nil:
		return nil, 0, syscall.EBADF
	case r.Off < 0:
		return nil, 0, syscall.EINVAL
	case h.incoming != nil:
		return h, r.N, nil
	case h.t.removed.Load():
		return nil, 0, weir.ErrRemoved
	}
	return h, int(max(0, min(int64(r.N), h.size-r.Off))), nil
}

// pendingRead returns a read of n bytes that waits for what is missing. It reads all or
// nothing, since the kernel takes a short read for the end of the file.
func (fs *files) pendingRead(h *handle, r node.Read, n int, miss *weir.Miss) (*node.PendingRead, error) {
	in := weir.Range{Off: r.Off, End: r.Off + int64(n)}
	if h.timeout.again(r.TID, in, time.Now()) {
		return nil, context.DeadlineExceeded
	}
	return &node.PendingRead{N: n, Fill: func(ctx context.Context, p []byte) error {
		if h.t.removed.Load() { // see trees.wait
			return weir.ErrRemoved
		}
		err := h.file.Fetch(ctx, miss, p)
		if err != nil && kernel.Errno(err) == syscall.ETIMEDOUT {
			h.timeout.set(r.TID, in, time.Now())
		}
		return err
	}}, nil
}
