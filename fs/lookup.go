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

// operations are what the kernel asks, each part with the state that it needs.
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

// Getattr waits only for a tree that was dropped.
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
	t, n := l.root.of(id)
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

// Lookup finds a name in a folder. A name that is not in a torrent never will be, and
// is answered with ID 0, which the kernel may keep like any other answer; one that is
// not in a sorting folder is ENOENT and not kept.
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

// entryOf is a name that is kept as long as the attributes of what it leads to.
func entryOf(a node.Attr) node.Entry { return node.Entry{ID: a.ID, ValidFor: a.ValidFor, Attr: a} }

func (l *lookups) lookupSorting(d *folder, name string) (node.Entry, error) {
	s := l.root.named(d, name)
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
	return d != nil && l.root.named(d, name) != nil
}

// Programs may keep a handle of a file instead of its path (name_to_handle_at(2)), as
// an NFS server does, and open it when the kernel has long forgotten the inode. For
// this the kernel looks up "." and ".." of inodes.

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

// parentAbove returns the folder that a node is in, 0 if that is a folder in a torrent.
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
	t, n := l.root.of(id)
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

// The folder by-hash holds a symbolic link for each torrent, to where its folder
// is, and looking up another info hash there has the torrent added. Links, since a
// folder can only be in one place. What is in by-hash is never kept by the kernel:
// it changes with every torrent that comes, moves or goes.

// lookupHash finds the link of a torrent. One that is not there is added, if it
// can be; that may take as long as the host likes.
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
			l.log.Info("torrent looked up by its info hash is not added", "torrent", ih, "err", err)
			return node.Entry{}, kernel.HostError(err)
		}
		t := l.root.byInfoHash(ih)
		if t == nil {
			return node.Entry{}, syscall.ENOENT
		}
		return entryOf(l.link(t)), nil
	}, nil
}

// Readlink returns what a link leads to, one of by-hash or one in a torrent.
func (l *lookups) Readlink(id node.ID) (string, node.Wait[string], error) {
	if t, n := l.root.of(id); t != nil && n == node.LinkEntry {
		return l.root.linkTarget(t), nil, nil
	}
	return inTree(l.trees, id, func(at entry) (string, error) {
		if at.tree.IsDir(at.n) || at.tree.File(at.n).Link == "" {
			return "", syscall.EINVAL
		}
		return at.tree.LinkTarget(at.n), nil
	})
}
