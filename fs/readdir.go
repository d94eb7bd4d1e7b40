package fs

import (
	"syscall"

	"github.com/weirfs/weir/fs/internal/node"
)

// Offsets in a listing: 0 is "." and 1 "..". After that, in a torrent, offset 2+i is the
// i-th child; in a sorting folder, offset 2+p is the slot at position p or the next one. So
// a listing can be resumed anywhere without a search, and survives changes of the folder.
const dotEntries = 2

// ReadDir appends to buf the entries of a folder from offset off on, until buf holds
// size bytes.
func (l *lookups) ReadDir(id node.ID, off int64, size int, buf []byte) ([]byte, node.Wait[[]byte], error) {
	if off < 0 {
		return nil, nil, syscall.EINVAL
	}
	list := node.Listing{Bytes: buf, Size: size}
	from := uint64(max(off, dotEntries) - dotEntries)
	if id == node.ByHash {
		if addDots(&list, off, id, node.Root) {
			l.root.listLinks(&list, from)
		}
		return list.Bytes, nil, nil
	}
	if d := l.root.folder(id); d != nil {
		if addDots(&list, off, id, l.root.parent(d)) {
			l.root.list(&list, d, from)
		}
		return list.Bytes, nil, nil
	}
	if at, ok, err := l.trees.entry(id); ok || err != nil {
		if err == nil {
			err = l.listEntry(&list, at, off)
		}
		return list.Bytes, nil, err
	}
	return inTree(l.trees, id, func(at entry) ([]byte, error) {
		list := node.Listing{Size: size}
		err := l.listEntry(&list, at, off)
		return list.Bytes, err
	})
}

// listEntry lists a folder in a torrent.
func (l *lookups) listEntry(list *node.Listing, dir entry, off int64) error {
	if !dir.tree.IsDir(dir.n) {
		return syscall.ENOTDIR
	}
	self, parent := node.Make(dir.t.prefix, dir.n), node.Make(dir.t.prefix, dir.tree.Parent(dir.n))
	if dir.n == 0 {
		parent = l.root.folderOf(dir.t)
	}
	if !addDots(list, off, self, parent) {
		return nil
	}
	s := dir.tree.Children(dir.n)
	for i := max(off, dotEntries) - dotEntries; i < int64(s.Count); i++ {
		child := s.First + uint32(i)
		if dir.t.removing.has(child) {
			continue
		}
		typ := node.File
		switch {
		case dir.tree.IsDir(child):
			typ = node.Dir
		case dir.tree.File(child).Link != "":
			typ = node.Link
		}
		if !list.Add(node.Make(dir.t.prefix, child), uint64(i+dotEntries+1), typ, dir.tree.Name(child)) {
			return nil
		}
	}
	return nil
}

// addDots appends "." and ".." if they come at or after offset off, and returns false when
// there was no room.
func addDots(l *node.Listing, off int64, self, parent node.ID) bool {
	return (off > 0 || l.Add(self, 1, node.Dir, ".")) && (off > 1 || l.Add(parent, 2, node.Dir, ".."))
}
