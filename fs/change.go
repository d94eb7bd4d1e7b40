package fs

import (
	"context"
	"syscall"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/incoming"
	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

// changes are the operations that change the tree. All but copying a file in are carried
// out by the host. Everything else is EROFS.
type changes struct {
	attrs
	trees    *trees
	files    *files
	incoming *incomingFiles
	removals *removals
	notifier *kernel.Notifier
	host     Host // may be nil
}

// Writable reports whether anything can be changed.
func (c *changes) Writable() bool { return c.host != nil }

// folder returns a sorting folder that is to be changed.
func (c *changes) folder(id node.ID) (*folder, error) {
	if c.host == nil {
		return nil, syscall.EROFS
	}
	if d := c.root.folder(id); d != nil {
		return d, nil
	}
	if t, _ := c.root.torrentOf(id); t == nil && id != node.ByHash {
		return nil, syscall.ESTALE
	}
	return nil, syscall.EROFS
}

// pathIn returns the path of a name in a sorting folder.
func (c *changes) pathIn(d *folder, name string) (string, error) {
	p := tree.Join(c.root.pathOf(d), name)
	if len(name) > tree.NameBytes || len(p) > tree.PathBytes {
		return "", syscall.ENAMETOOLONG
	}
	return p, nil
}

// Create makes and opens an incoming file.
func (c *changes) Create(parent node.ID, name string, by node.Caller) (node.Entry, node.Opened, error) {
	in, err := c.folder(parent)
	if err == nil {
		_, err = c.pathIn(in, name)
	}
	if err != nil {
		return node.Entry{}, node.Opened{}, err
	}
	if _, ok := weir.SourceFile(name); !ok {
		return node.Entry{}, node.Opened{}, syscall.EROFS
	}
	f, err := c.incoming.create(in, name)
	if err != nil {
		return node.Entry{}, node.Opened{}, err
	}
	return entryOf(c.attrs.incoming(f)), c.files.openIncoming(f, by), nil
}

// Write writes to an open incoming file.
func (c *changes) Write(id node.Handle, p []byte, off int64) error {
	h := c.files.handles.get(id)
	if h == nil || h.incoming == nil {
		return syscall.EBADF
	}
	return c.incoming.Store.Write(h.incoming.File, p, off)
}

// Flush hands a file's content to the host, if it has changed since the last flush. The
// kernel flushes whenever a descriptor is closed, even before anything was written.
func (c *changes) Flush(id node.Handle) (node.Wait[node.None], error) {
	h := c.files.handles.get(id)
	if h == nil || h.incoming == nil {
		return nil, nil
	}
	f := h.incoming
	dir, name, ok := c.incoming.pathOf(f)
	if !ok {
		dir, name = f.SentFrom()
	}
	if complete, _ := weir.SourceFile(name); !complete || !f.Unsent() {
		return nil, nil
	}
	return func(ctx context.Context) (node.None, error) {
		return node.None{}, c.incoming.handOver(ctx, f, dir, name)
	}, nil
}

// Setattr sets attributes of an incoming file. For the folder of a torrent with the name of a
// file that was handed over just now, it accepts and ignores them: the program means that
// file.
func (c *changes) Setattr(id node.ID, set node.Change) (node.Attr, error) {
	if c.host == nil {
		return node.Attr{}, syscall.EROFS
	}
	if !id.IsIncoming() {
		t, n := c.root.torrentOf(id)
		if t == nil || n != 0 || set.Size != nil || !c.incoming.covers(t) {
			return node.Attr{}, syscall.EROFS
		}
		return c.torrent(t), nil
	}
	f, err := c.incoming.byID(id)
	if err != nil {
		return node.Attr{}, err
	}
	if set.Size != nil {
		if *set.Size > incoming.FileBytes {
			return node.Attr{}, syscall.EFBIG
		}
		if err := c.incoming.Resize(f.File, int64(*set.Size)); err != nil {
			return node.Attr{}, err
		}
	}
	f.Set(set, time.Now())
	return c.attrs.incoming(f), nil
}

// Setxattr refuses. Programs that also copy extended attributes accept EOPNOTSUPP.
func (c *changes) Setxattr(id node.ID) error {
	if id.IsIncoming() {
		return syscall.EOPNOTSUPP
	}
	return syscall.EROFS
}

// Mkdir makes a sorting folder.
func (c *changes) Mkdir(parent node.ID, name string) (node.Entry, node.Wait[node.Entry], error) {
	in, err := c.folder(parent)
	if err != nil {
		return node.Entry{}, nil, err
	}
	path, err := c.pathIn(in, name)
	if err != nil {
		return node.Entry{}, nil, err
	}
	if !tree.FolderName(name) {
		return node.Entry{}, nil, syscall.EROFS
	}
	if s := c.root.lookup(in, name); s != nil && !c.incoming.replace(s) {
		return node.Entry{}, nil, syscall.EEXIST
	}
	return node.Entry{}, func(ctx context.Context) (node.Entry, error) {
		if err := c.host.MakeFolder(ctx, path); err != nil {
			return node.Entry{}, kernel.HostError(err)
		}
		s := c.root.lookup(in, name)
		if s == nil || s.dir == nil { // removed at once, or the Host did not make it
			return node.Entry{}, syscall.ENOENT
		}
		return entryOf(c.sorting(s.dir)), nil
	}, nil
}

// Remove removes an incoming file, or with rmdir an empty sorting folder or a torrent's
// folder, which removes the torrent. For names inside torrents see removals.
func (c *changes) Remove(parent node.ID, name string, rmdir bool) (node.Wait[node.None], error) {
	if c.host == nil || parent == node.ByHash {
		return nil, syscall.EROFS
	}
	in := c.root.folder(parent)
	if in == nil {
		_, wait, err := inTree(c.trees, parent, func(dir entry) (node.None, error) {
			return node.None{}, c.removals.remove(dir, name, rmdir)
		})
		return wait, err
	}
	s := c.root.lookup(in, name)
	switch {
	case s == nil:
		return nil, syscall.ENOENT
	case s.isDir() && !rmdir:
		return nil, syscall.EISDIR
	case !s.isDir() && rmdir:
		return nil, syscall.ENOTDIR
	case s.file != nil:
		c.incoming.drop(s.file)
		return nil, nil
	case s.t == nil && s.dir == nil: // by-hash
		return nil, syscall.EROFS
	case s.dir != nil && !c.root.empty(s.dir):
		return nil, syscall.ENOTEMPTY
	}
	return func(ctx context.Context) (node.None, error) {
		if s.t != nil {
			return node.None{}, kernel.HostError(c.host.RemoveTorrent(ctx, s.t.ih))
		}
		return node.None{}, kernel.HostError(c.host.RemoveFolder(ctx, c.root.pathOf(s.dir)))
	}, nil
}

// Rename moves a torrent's folder, a sorting folder or an incoming file to a free name.
func (c *changes) Rename(parent node.ID, name string, newParent node.ID, newName string) (node.Wait[node.None], error) {
	from, err := c.folder(parent)
	if err != nil {
		return nil, err
	}
	to, err := c.folder(newParent)
	if err != nil {
		return nil, err
	}
	path, err := c.pathIn(to, newName)
	if err != nil {
		return nil, err
	}
	s, there := c.root.lookup(from, name), c.root.lookup(to, newName)
	switch {
	case s == nil:
		return nil, syscall.ENOENT
	case there == s:
		return nil, nil
	case there != nil && !c.incoming.replace(there) && (s.file == nil || there.file == nil):
		return nil, syscall.EEXIST
	case s.file != nil:
		return c.renameFile(s.file, to, newName)
	case s.t == nil && s.dir == nil: // by-hash
		return nil, syscall.EROFS
	case s.dir != nil:
		return c.moveFolder(s.dir, path, newName)
	}
	return c.moveTorrent(s.t, to, newName)
}

func (c *changes) moveFolder(d *folder, path, newName string) (node.Wait[node.None], error) {
	if !tree.FolderName(newName) {
		return nil, syscall.EINVAL
	}
	return func(ctx context.Context) (node.None, error) {
		return node.None{}, kernel.HostError(c.host.MoveFolder(ctx, c.root.pathOf(d), path))
	}, nil
}

func (c *changes) moveTorrent(t *torrent, to *folder, newName string) (node.Wait[node.None], error) {
	raw := tree.RawName(newName)
	if tree.SafeName(raw) != newName {
		return nil, syscall.EINVAL // it would be shown under another name
	}
	return func(ctx context.Context) (node.None, error) {
		if err := c.host.MoveTorrent(ctx, t.ih, c.root.pathOf(to), raw); err != nil {
			return node.None{}, kernel.HostError(err)
		}
		if now := c.root.lookup(to, newName); now == nil || now.t != t {
			c.notifier.NameGone(to.id, newName) // otherwise the kernel believes that it is there
		}
		return node.None{}, nil
	}, nil
}

// renameFile renames an incoming file, in place of another one if need be. If the new name
// is that of a finished file (.torrent) and the file is not open any more, its content is
// handed to the host first.
func (c *changes) renameFile(f *incomingFile, to *folder, name string) (node.Wait[node.None], error) {
	complete, ok := weir.SourceFile(name)
	if !ok {
		return nil, syscall.EROFS
	}
	rename := func() error {
		if old := c.root.lookup(to, name); old != nil && old.file != nil && old.file != f {
			c.incoming.drop(old.file)
		}
		c.incoming.housekeeping.wake()
		return c.incoming.rename(f, to, name)
	}
	if !complete || f.IsOpen() || !f.Unsent() {
		return nil, rename()
	}
	return func(ctx context.Context) (node.None, error) {
		if err := c.incoming.handOver(ctx, f, c.root.pathOf(to), name); err != nil {
			return node.None{}, err
		}
		return node.None{}, rename()
	}, nil
}
