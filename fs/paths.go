package fs

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
)

// Paths reads the tree by path, without the kernel: for those who show it by other means
// than a mount. It shows what the mount shows, but for incoming files. All methods are safe
// for concurrent use.
type Paths struct {
	lookups *lookups
	files   *files
}

// Node is a folder or file of the tree.
type Node struct {
	Path    string        // beneath the root, '/' between names, links followed; "" is the root
	Torrent weir.InfoHash // zero for a sorting folder
	Folder  bool
	File    int   // index into Info().Files, -1 for a folder
	Length  int64 // bytes, of a file
	Held    int64 // of these, held locally
	Time    time.Time

	id node.ID
}

// Name returns the last name of the path.
func (n Node) Name() string { return path.Base("/" + n.Path) }

// Find returns what is at a path beneath the root, "" for the root itself. Links are
// followed. It waits for a magnet's metadata if path leads into its folder, until ctx is done
// or for a third of the read deadline. The error wraps weir.ErrNotFound if there is nothing.
func (p *Paths) Find(ctx context.Context, path string) (Node, error) {
	at := Node{Folder: true, File: -1, id: node.Root}
	at.Time = p.lookups.sorting(p.lookups.root.folder(node.Root)).Time
	if path == "" {
		return at, nil
	}
	dir, names, err := p.torrentFolder(path)
	if err != nil || names == nil {
		return dir, err
	}
	return p.beneath(ctx, dir, strings.Join(names, "/"))
}

// InTorrent returns what is at a path beneath a torrent's folder. It waits, and fails, as Find
// does.
func (p *Paths) InTorrent(ctx context.Context, ih weir.InfoHash, path string) (Node, error) {
	t := p.lookups.root.byInfoHash(ih)
	if t == nil {
		return Node{}, weir.Errorf(weir.ErrNotFound, "no torrent has the info hash %s", ih)
	}
	dir := p.ofTorrent(t)
	if path == "" {
		return dir, nil
	}
	return p.beneath(ctx, dir, path)
}

// torrentFolder walks down the sorting folders. It returns the folder that path is, or the
// torrent's folder that path leads into, and the names beneath that.
func (p *Paths) torrentFolder(path string) (Node, []string, error) {
	names := strings.Split(path, "/")
	d := p.lookups.root.folder(node.Root)
	for i, name := range names {
		s := p.lookups.root.lookup(d, name)
		switch {
		case s != nil && s.t != nil && i == len(names)-1:
			return p.ofTorrent(s.t), nil, nil
		case s != nil && s.t != nil:
			return p.ofTorrent(s.t), names[i+1:], nil
		case s == nil || s.dir == nil:
			return Node{}, nil, weir.Errorf(weir.ErrNotFound, "nothing is called %q", path)
		}
		d = s.dir
	}
	return p.sorting(path, d), nil, nil
}

func (p *Paths) sorting(path string, d *folder) Node {
	return Node{Path: path, Folder: true, File: -1, Time: p.lookups.sorting(d).Time, id: d.id}
}

func (p *Paths) ofTorrent(t *torrent) Node {
	return Node{
		Path: p.lookups.root.torrentPath(t), Torrent: t.ih, Folder: true, File: -1, Time: t.time(), id: node.Make(t.prefix, 0),
	}
}

// beneath returns what is at a path beneath a torrent's folder.
func (p *Paths) beneath(ctx context.Context, dir Node, path string) (Node, error) {
	at, err := p.lookups.trees.waitEntry(ctx, dir.id)
	if err != nil {
		return Node{}, p.found(err, dir)
	}
	n, ok := at.tree.Walk(path)
	if !ok || at.t.removing.has(n) {
		return Node{}, weir.Errorf(weir.ErrNotFound, "nothing in %q is called %q", dir.Path, path)
	}
	return p.ofEntry(dir.Path, entry{at.t, at.tree, n}), nil
}

// ofEntry describes an entry of the torrent whose folder is at above.
func (p *Paths) ofEntry(above string, at entry) Node {
	n := Node{Path: above, Torrent: at.t.ih, Folder: true, File: -1, Time: at.t.time(), id: node.Make(at.t.prefix, at.n)}
	if at.n != 0 {
		n.Path = tree.Join(above, at.tree.Path(at.n))
	}
	if at.tree.IsDir(at.n) {
		return n
	}
	file := at.tree.File(at.n)
	n.Folder, n.File = false, at.tree.FileIndex(at.n)
	n.Length, n.Held = file.Length, at.t.src.HeldBytes(file.Range())
	return n
}

// List returns what is in a folder, as the mount lists it; a link is what it leads to, and one
// that leads nowhere is left out. It waits, and fails, as Find does.
func (p *Paths) List(ctx context.Context, dir Node) ([]Node, error) {
	if d := p.lookups.root.folder(dir.id); d != nil {
		return p.listSorting(dir.Path, d), nil
	}
	at, err := p.lookups.trees.waitEntry(ctx, dir.id)
	if err != nil {
		return nil, p.found(err, dir)
	}
	if !at.tree.IsDir(at.n) {
		return nil, weir.Errorf(weir.ErrInvalid, "%q is a file", dir.Path)
	}
	above := p.lookups.root.torrentPath(at.t)
	s := at.tree.Children(at.n)
	nodes := make([]Node, 0, s.Count)
	for child := s.First; child < s.First+s.Count; child++ {
		if at.t.removing.has(child) {
			continue
		}
		if at.tree.IsDir(child) || at.tree.File(child).Link == "" {
			nodes = append(nodes, p.ofEntry(above, entry{at.t, at.tree, child}))
			continue
		}
		if to, ok := at.tree.Walk(at.tree.Path(child)); ok {
			n := p.ofEntry(above, entry{at.t, at.tree, to})
			n.Path = tree.Join(above, at.tree.Path(child))
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

func (p *Paths) listSorting(path string, d *folder) []Node {
	var nodes []Node
	for _, s := range p.lookups.root.slots(d) {
		switch {
		case s.t != nil:
			nodes = append(nodes, p.ofTorrent(s.t))
		case s.dir != nil:
			nodes = append(nodes, p.sorting(tree.Join(path, s.name), s.dir))
		}
	}
	return nodes
}

// found returns the error of a tree that could not be had.
func (p *Paths) found(err error, dir Node) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return weir.Errorf(context.DeadlineExceeded, "the metadata of %q has not arrived in time", dir.Path)
	}
	return err
}

// Open opens a file. The caller closes it.
func (p *Paths) Open(n Node, by Opener) (*OpenFile, error) {
	at, ok, err := p.lookups.trees.entry(n.id)
	switch {
	case err != nil:
		return nil, weir.ErrRemoved
	case !ok: // dropped since Find
		if at, err = p.lookups.trees.waitEntry(context.Background(), n.id); err != nil {
			return nil, err
		}
	}
	if at.tree.IsDir(at.n) {
		return nil, weir.Errorf(weir.ErrInvalid, "%q is a folder", n.Path)
	}
	h, err := p.files.open(at, by)
	if err != nil {
		return nil, err
	}
	return &OpenFile{files: p.files, handle: h, id: p.files.handles.add(h)}, nil
}

// OpenFile is a file that was opened by its path. It is listed among FS.Handles.
type OpenFile struct {
	files  *files
	handle *handle
	id     node.Handle
}

// ReadAt fills b with the bytes from off on, or returns an error. It waits for what is not
// held until ctx is done. Callers never ask beyond the file's end. The error is
// weir.ErrRemoved when the torrent was removed.
func (f *OpenFile) ReadAt(ctx context.Context, b []byte, off int64) error {
	if f.handle.t.removed.Load() {
		return weir.ErrRemoved
	}
	miss, err := f.handle.file.View(off, len(b), func(held []byte) { copy(b, held) })
	if err != nil || miss == nil {
		return err
	}
	return f.handle.file.Fetch(ctx, miss, b)
}

// Close closes the file, and ends what is fetched ahead of it. It may be called once.
func (f *OpenFile) Close() { f.files.Release(f.id) }
