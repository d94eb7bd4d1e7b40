package fs

import (
	"context"
	"encoding/binary"
	"syscall"

	"bazil.org/fuse"
)

// Offsets in a listing: 0 is "." and 1 "..". After that, in a torrent, offset
// 2+i is the i-th child; in a sorting folder, offset 2+p is what has place p or the
// next one after it. So a listing goes on anywhere in no time, and survives changes
// of such a folder.
const dotEntries = 2

// readDir appends to buf the entries of folder id from offset off on, until
// buf holds size bytes.
func (f *FS) readDir(ctx context.Context, id fuse.NodeID, off int64, size int, buf []byte) ([]byte, error) {
	if off < 0 {
		return nil, syscall.EINVAL
	}
	l := listing{buf: buf, size: size}
	from := max(off, dotEntries) - dotEntries
	if id == byHashNode {
		if l.dots(off, id, fuse.RootID) {
			f.root.listLinks(&l, uint64(from))
		}
		return l.buf, nil
	}
	if d := f.root.folder(id); d != nil {
		if l.dots(off, id, f.root.parent(d)) {
			f.root.list(&l, d, uint64(from))
		}
		return l.buf, nil
	}
	t, g, e, err := f.entry(ctx, id)
	if err != nil {
		return nil, err
	}
	if !g.IsDir(e) {
		return nil, syscall.ENOTDIR
	}
	parent := makeNode(t.prefix, g.Parent(e))
	if e == 0 {
		parent = f.root.folderOf(t)
	}
	if l.dots(off, id, parent) {
		s := g.Children(e)
		for i := from; i < int64(s.Count); i++ {
			child := s.First + uint32(i)
			if t.hidden.has(child) {
				continue
			}
			typ := fuse.DT_File
			switch {
			case g.IsDir(child):
				typ = fuse.DT_Dir
			case g.File(child).Link != "":
				typ = fuse.DT_Link
			}
			if !l.add(makeNode(t.prefix, child), uint64(i+dotEntries+1), typ, g.Name(child)) {
				break
			}
		}
	}
	return l.buf, nil
}

// listing collects entries in the kernel's form (struct fuse_dirent) up to a
// size.
type listing struct {
	buf  []byte
	size int
}

// dots appends the "." and ".." that are due at offset off, and returns false
// when there was no room.
func (l *listing) dots(off int64, self, parent fuse.NodeID) bool {
	return (off > 0 || l.add(self, 1, fuse.DT_Dir, ".")) && (off > 1 || l.add(parent, 2, fuse.DT_Dir, ".."))
}

// add appends an entry whose successor is at offset next, and returns false if
// it does not fit.
func (l *listing) add(id fuse.NodeID, next uint64, typ fuse.DirentType, name string) bool {
	const header = 8 + 8 + 4 + 4
	padded := (header + len(name) + 7) &^ 7
	if len(l.buf)+padded > l.size {
		return false
	}
	order := binary.NativeEndian
	l.buf = order.AppendUint64(l.buf, uint64(id))
	l.buf = order.AppendUint64(l.buf, next)
	l.buf = order.AppendUint32(l.buf, uint32(len(name)))
	l.buf = order.AppendUint32(l.buf, uint32(typ))
	l.buf = append(l.buf, name...)
	for range padded - header - len(name) {
		l.buf = append(l.buf, 0)
	}
	return true
}
