// Package node is the vocabulary between the kernel and the file system: what names a
// node, and what is said of it in answer to a request, in plain types.
//
// What must not live here: the wire, and what answers are made of.
package node

import (
	"context"
	"os"
	"time"
)

// Wait is what an operation returns that can't answer at once: it waits, until ctx is
// done, and returns the answer. nil: there is nothing to wait for.
type Wait[A any] func(ctx context.Context) (A, error)

// None is the answer of an operation that has nothing to say but that it worked.
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

// Entry is what a name leads to. ID 0 says that there is nothing and that the kernel
// may keep this answer like any other.
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
	KeepCache   bool // the kernel keeps the pages, or the listing, that it has
	KeepListing bool // of a folder
	Direct      bool // past the page cache
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
	N    int                                       // how many bytes there are to be read
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
