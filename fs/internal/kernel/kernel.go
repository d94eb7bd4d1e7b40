// Package kernel speaks FUSE for a file system: it mounts, takes requests, gets the answers
// from the file system, and tells the kernel what to forget. It is the only importer of
// bazil.org/fuse, and the only place where an error becomes an errno.
//
// One goroutine takes requests and answers them; others help it while files are read. Only a
// request that has to wait gets a goroutine, and is listed so that an interrupt can end it.
//
// What must not live here: what is in the mount. No lock is held while the file system
// is called.
package kernel

import (
	"github.com/weirfs/weir/fs/internal/node"
)

// FileSystem answers requests. An operation answers at once or returns a wait; it never waits
// itself. All methods are safe for concurrent use.
type FileSystem interface {
	Lookup(parent node.ID, name string) (node.Entry, node.Wait[node.Entry], error)
	Getattr(id node.ID) (node.Attr, node.Wait[node.Attr], error)
	Readlink(id node.ID) (string, node.Wait[string], error)
	OpenDir(id node.ID) (node.Opened, node.Wait[node.Opened], error)
	// ReadDir appends to buf the entries of a folder from offset off on, until it holds
	// size bytes. The Wait has a buffer of its own.
	ReadDir(id node.ID, off int64, size int, buf []byte) ([]byte, node.Wait[[]byte], error)
	OpenFile(id node.ID, readOnly bool, by node.Caller) (node.Opened, node.Wait[node.Opened], error)
	// Read calls use once with the bytes, which are valid during the call, or returns a read
	// that waits, or an error.
	Read(r node.Read, use func(b []byte)) (*node.PendingRead, error)
	Release(h node.Handle)
	Getxattr(id node.ID, name string, size uint32) ([]byte, node.Wait[[]byte], error)
	Listxattr(id node.ID, size uint32) ([]byte, error)
	Statfs() (node.Usage, node.Wait[node.Usage], error)

	// Writable reports whether the methods below are ever called.
	Writable() bool
	Create(parent node.ID, name string, by node.Caller) (node.Entry, node.Opened, error)
	Write(h node.Handle, p []byte, off int64) error
	Setattr(id node.ID, c node.Change) (node.Attr, error)
	Setxattr(id node.ID) error
	Flush(h node.Handle) (node.Wait[node.None], error)
	Mkdir(parent node.ID, name string) (node.Entry, node.Wait[node.Entry], error)
	Remove(parent node.ID, name string, dir bool) (node.Wait[node.None], error)
	Rename(parent node.ID, name string, newParent node.ID, newName string) (node.Wait[node.None], error)

	// HasName reports whether a folder has a name.
	HasName(parent node.ID, name string) bool
}
