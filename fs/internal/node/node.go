// Package node has the plain types that the kernel side and the file system share: node ids,
// attributes, entries, changes and waits.
//
// What must not live here: the FUSE protocol, and where the answers come from.
package node

import (
	"context"
	"os"
	"time"
)

// Wait is returned by an operation that can't answer at once: it waits until ctx is done, and
// returns the answer. nil: there is nothing to wait for.
type Wait[A any] func(ctx context.Context) (A, error)

// None is the answer of an operation without a result.
type None struct{}

// Attr describes a node, as stat(2) does.
type Attr struct {
	ID        ID
	Mode      os.FileMode
	Links     uint32
	UID, GID  uint32
	Size      uint64
	Blocks    uint64 // of 512 bytes
	BlockSize uint32
	Time      time.Time     // of access, change and status change
	ValidFor  time.Duration // how long the kernel may keep it
}

// Entry is the node with a name. ID 0 says that there is none, and that the kernel may keep
// this answer for ValidFor too.
type Entry struct {
	ID       ID
	Attr     Attr
	ValidFor time.Duration // how long the kernel may keep the name
}

// Handle is one open file.
type Handle uint64

// Caller is who sent a request.
type Caller struct {
	TID uint32 // of the thread, 0 if the kernel does not say
	UID uint32
}

// Opened is the answer to an open.
type Opened struct {
	Handle      Handle
	KeepCache   bool // the kernel may keep the pages or the listing from before
	KeepListing bool // the kernel may keep the listing of this folder
	Direct      bool // bypass the page cache
	NoFlush     bool // closing needs no FLUSH
}

// Read is a request for n bytes at Off of an open file.
type Read struct {
	Handle Handle
	Off    int64
	N      int
	TID    uint32 // of the thread that reads
}

// PendingRead is a read that has to wait.
type PendingRead struct {
	N    int                                       // bytes to read
	Fill func(ctx context.Context, p []byte) error // fills the N bytes of p, or fails
}

// Change is what a setattr changes; what is nil stays.
type Change struct {
	Size     *uint64
	Mode     *os.FileMode // permissions
	UID, GID *uint32
	Time     *time.Time
}

// Usage is the answer to statfs(2).
type Usage struct {
	Blocks, FreeBlocks uint64
	Files, FreeFiles   uint64
	BlockSize          uint32 // bytes
	NameBytes          uint32 // the longest name
}
