// Package kernel speaks FUSE for a file system: it mounts, takes requests, has the
// file system answer them, inline whatever needs no waiting, and tells the kernel what
// it must forget. It is the only importer of bazil.org/fuse, and the one place where an
// error becomes an errno on the wire.
//
// One goroutine, helped by others while files are read, takes requests. Only what
// has to wait gets a goroutine, and an entry by which an interrupt can end it.
//
// What must not live here: what is in the mount. No lock is held while the file system
// is called.
package kernel

import (
	"github.com/weirfs/weir/fs/internal/node"
)

// FileSystem is what the kernel asks. An operation answers at once, or returns what
// there is to be waited for; it never waits itself. All methods are safe for
// concurrent use.
type FileSystem interface {
	Lookup(parent node.ID, name string) (node.Entry, node.Wait[node.Entry], error)
	Getattr(id node.ID) (node.Attr, node.Wait[node.Attr], error)
	Readlink(id node.ID) (string, node.Wait[string], error)
	OpenDir(id node.ID) (node.Opened, node.Wait[node.Opened], error)
	// ReadDir appends to buf the entries of a folder from offset off on, until it holds
	// size bytes. The Wait has a buffer of its own.
	ReadDir(id node.ID, off int64, size int, buf []byte) ([]byte, node.Wait[[]byte], error)
	OpenFile(id node.ID, readOnly bool, by node.Caller) (node.Opened, node.Wait[node.Opened], error)
	// Read calls use once with what is read, valid during the call, or returns what
	// there is to be waited for, or an error.
	Read(r node.Read, use func(b []byte)) (*node.PendingRead, error)
	Release(h node.Handle)
	Getxattr(id node.ID, name string, size uint32) ([]byte, node.Wait[[]byte], error)
	Listxattr(id node.ID, size uint32) ([]byte, error)
	Statfs() (node.Usage, node.Wait[node.Usage], error)

	// Writable says whether any of what follows is ever asked for.
	Writable() bool
	Create(parent node.ID, name string, by node.Caller) (node.Entry, node.Opened, error)
	Write(h node.Handle, p []byte, off int64) error
	Setattr(id node.ID, c node.Change) (node.Attr, error)
	Setxattr(id node.ID) error
	Flush(h node.Handle) (node.Wait[node.None], error)
	Mkdir(parent node.ID, name string) (node.Entry, node.Wait[node.Entry], error)
	Remove(parent node.ID, name string, dir bool) (node.Wait[node.None], error)
	Rename(parent node.ID, name string, newParent node.ID, newName string) (node.Wait[node.None], error)

	// HasName reports whether a folder has a name, when the kernel was told that it
	// has not.
	HasName(parent node.ID, name string) bool
}
