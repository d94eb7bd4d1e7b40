package node

import "encoding/binary"

// Type is what a listing says of a node, as in dirent.h.
type Type uint32

const (
	Dir  Type = 4
	File Type = 8
	Link Type = 10
)

// Listing collects the entries of a folder in the kernel's form (struct fuse_dirent)
// up to a size.
type Listing struct {
	Bytes []byte
	Size  int
}

// Add appends an entry whose successor is at offset next, and returns false if it does
// not fit.
func (l *Listing) Add(id ID, next uint64, typ Type, name string) bool {
	const header = 8 + 8 + 4 + 4
	padded := (header + len(name) + 7) &^ 7
	if len(l.Bytes)+padded > l.Size {
		return false
	}
	order := binary.NativeEndian
	l.Bytes = order.AppendUint64(l.Bytes, uint64(id))
	l.Bytes = order.AppendUint64(l.Bytes, next)
	l.Bytes = order.AppendUint32(l.Bytes, uint32(len(name)))
	l.Bytes = order.AppendUint32(l.Bytes, uint32(typ))
	l.Bytes = append(l.Bytes, name...)
	for range padded - header - len(name) {
		l.Bytes = append(l.Bytes, 0)
	}
	return true
}
