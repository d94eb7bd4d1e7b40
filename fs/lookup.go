package fs

import (
	"context"
	"log/slog"
	"syscall"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

// operations are the kernel's requests, each group with the state that it needs.
type operations struct {
	*lookups
	*files
	*changes
	*xattrs
	*totals
}

var _ kernel.FileSystem = operations{}

// lookups finds names and lists folders.
type lookups struct {
	attrs
	trees *trees
	files *incomingFiles
	host  Host // may be nil
	log   *slog.Logger
}

// Getattr returns the attributes of a node. It waits only if its tree was dropped.
func (l *lookups) Getattr(id node.ID) (node.Attr, node.Wait[node.Attr], error) {
	switch {
	case id == node.ByHash:
		return l.byHash(), nil, nil
	case id.IsIncoming():
		f, err := l.files.byID(id)
		if err != nil {
			return node.Attr{}, nil, err
		}
		return l.incoming(f), nil, nil
	}
	t, n := l.root.torrentOf(id)
	if t == nil {
		if d := l.root.folder(id); d != nil {
			return l.sorting(d), nil, nil
		}
		return node.Attr{}, nil, syscall.ESTALE
	}
	switch n {
	case 0:
		return l.torrent(t), nil, nil
	case node.LinkEntry:
		return l.link(t), nil, nil
	}
	at, ok, err := l.trees.entry(id)
	switch {
	case err != nil:
		return node.Attr{}, nil, err
	case ok:
		return l.entry(at), nil, nil
	}
	return node.Attr{}, func(ctx context.Context) (node.Attr, error) {
		at, err := l.trees.waitEntry(ctx, id)
		if err != nil {
			return node.Attr{}, err
		}
		return l.entry(at), nil
	}, nil
}

// Lookup finds a name in a folder. A name that a torrent does not have, it never will: the
// answer is ID 0, which the kernel may keep. For a sorting folder it is ENOENT, which the
// kernel does not keep.
func (l *lookups) Lookup(parent node.ID, name string) (node.Entry, node.Wait[node.Entry], error) {
	if len(name) > tree.NameBytes {
		return node.Entry{}, nil, syscall.ENAMETOOLONG
	}
	switch {
	case name == ".":
		return l.lookupID(parent)
	case name == "..":
		return l.lookupParent(parent)
	case parent == node.ByHash:
		return l.lookupHash(name)
	}
	if d := l.root.folder(parent); d != nil {
		e, err := l.lookupSorting(d, name)
		return e, nil, err
	}
	at, ok, err := l.trees.entry(parent)
	switch {
	case err != nil:
		return node.Entry{}, nil, err
	case ok:
		e, err := l.lookupIn(at, name)
		return e, nil, err
	}
	return node.Entry{}, func(ctx context.Context) (node.Entry, error) {
		at, err := l.trees.waitEntry(ctx, parent)
		if err != nil {
			return node.Entry{}, err
		}
		return l.lookupIn(at, name)
	}, nil
}

// lookupIn finds a name in a folder of a torrent.
func (l *lookups) lookupIn(dir entry, name string) (node.Entry, error) {
	if !dir.tree.IsDir(dir.n) {
		return node.Entry{}, syscall.ENOTDIR
	}
	n, ok := dir.tree.Find(dir.n, name)
	if !ok {
		return node.Entry{ValidFor: validFor}, nil
	}
	if dir.t.removing.has(n) {
		return node.Entry{}, syscall.ENOENT
	}
	return entryOf(l.entry(entry{dir.t, dir.tree, n})), nil
}

// entryOf returns an entry that the kernel may keep as long as its attributes.
func entryOf(a node.Attr) node.Entry { return node.Entry{ID: a.ID, ValidFor: a.ValidFor, Attr: a} }

func (l *lookups) lookupSorting(d *folder, name string) (node.Entry, error) {
	s := l.root.lookup(d, name)
	switch {
	case s == nil:
		return node.Entry{}, syscall.ENOENT
	case s.t != nil:
		return entryOf(l.torrent(s.t)), nil
	case s.dir != nil:
		return entryOf(l.sorting(s.dir)), nil
	case s.file != nil:
		return entryOf(l.incoming(s.file)), nil
	}
	return entryOf(l.byHash()), nil
}

// HasName reports whether a sorting folder has a name.
func (l *lookups) HasName(parent node.ID, name string) bool {
	d := l.root.folder(parent)
	return d != nil && l.root.lookup(d, name) != nil
}

// An NFS server keeps file handles (name_to_handle_at(2)) instead of paths, and may open one
// after the kernel has forgotten the inode. Then the kernel looks up "." and ".." of node
// ids.

// lookupID finds a node by its number.
func (l *lookups) lookupID(id node.ID) (node.Entry, node.Wait[node.Entry], error) {
	a, wait, err := l.Getattr(id)
	if err != nil || wait == nil {
		return entryOf(a), nil, err
	}
	return node.Entry{}, func(ctx context.Context) (node.Entry, error) {
		a, err := wait(ctx)
		return entryOf(a), err
	}, nil
}

// lookupParent finds the folder that a node is in; the root is in itself.
func (l *lookups) lookupParent(id node.ID) (node.Entry, node.Wait[node.Entry], error) {
	parent, err := l.parentAbove(id)
	switch {
	case err != nil:
		return node.Entry{}, nil, err
	case parent != 0:
		return l.lookupID(parent)
	}
	return inTree(l.trees, id, func(at entry) (node.Entry, error) {
		up := at.tree.Parent(at.n)
		if up == 0 {
			return entryOf(l.torrent(at.t)), nil
		}
		return entryOf(l.entry(entry{at.t, at.tree, up})), nil
	})
}

// parentAbove returns the folder that a node is in, or 0 if that is inside a torrent.
func (l *lookups) parentAbove(id node.ID) (node.ID, error) {
	switch {
	case id == node.ByHash:
		return node.Root, nil
	case id.IsIncoming():
		f, err := l.files.byID(id)
		if err != nil {
			return 0, err
		}
		return l.files.folderOf(f)
	}
	if d := l.root.folder(id); d != nil {
		return l.root.parent(d), nil
	}
	t, n := l.root.torrentOf(id)
	switch {
	case t == nil:
		return 0, syscall.ESTALE
	case n == node.LinkEntry:
		return node.ByHash, nil
	case n == 0:
		return l.root.folderOf(t), nil
	}
	return 0, nil
}

// The folder by-hash has a symbolic link to each torrent's folder. Looking up another info
// hash there adds the torrent. The kernel never keeps what is in by-hash: it changes with
// every torrent that is added, moved or removed.

// lookupHash finds the link to a torrent, and has the host add the torrent if it is not in
// the mount.
func (l *lookups) lookupHash(name string) (node.Entry, node.Wait[node.Entry], error) {
	ih, err := weir.ParseInfoHash(name)
	if err != nil {
		return node.Entry{}, nil, syscall.ENOENT
	}
	if t := l.root.byInfoHash(ih); t != nil {
		return entryOf(l.link(t)), nil, nil
	}
	if l.host == nil {
		return node.Entry{}, nil, syscall.ENOENT
	}
	return node.Entry{}, func(ctx context.Context) (node.Entry, error) {
		if err := l.host.ByHash(ctx, ih); err != nil {
			l.log.Info("can't add a torrent that was looked up by its info hash", "torrent", ih, "err", err)
			return node.Entry{}, kernel.HostError(err)
		}
		t := l.root.byInfoHash(ih)
		if t == nil {
			return node.Entry{}, syscall.ENOENT
		}
		return entryOf(l.link(t)), nil
	}, nil
}

// Readlink returns the target of a link in by-hash or in a torrent.
func (l *lookups) Readlink(id node.ID) (string, node.Wait[string], error) {
	if t, n := l.root.torrentOf(id); t != nil && n == node.LinkEntry {
		return l.root.linkTarget(t), nil, nil
	}
	return inTree(l.trees, id, func(at entry) (string, error) {
		if at.tree.IsDir(at.n) || at.tree.File(at.n).Link == "" {
			return "", syscall.EINVAL
		}
		return at.tree.LinkTarget(at.n), nil
	})
}
