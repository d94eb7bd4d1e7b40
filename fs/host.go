package fs

import (
	"context"
	"time"

	"github.com/weirfs/weir"
)

// Host is what may be done to the set of torrents through the mount. A program's
// call waits for the answer, under a context that ends when the program is
// interrupted and at the read deadline; meanwhile nothing else can be done to the
// folder that it is about, so answers should come within milliseconds. A Host
// changes the tree by the methods of FS before it returns.
//
// A dir is the path of a sorting folder, "" the root, names joined by '/' as they
// are shown. The name of a torrent or of a file is raw, as for FS.Add.
//
// Errors become errnos: weir.ErrInvalid and weir.ErrHostile EINVAL, ErrExists
// EEXIST, ErrNotFound ENOENT, ErrInUse EBUSY, ErrNoSpace ENOSPC, ErrRefused
// EACCES. AddFile may return ErrExists: what was asked for is there, and the
// program is told of no error.
type Host interface {
	// AddFile takes a .torrent, or a text with magnets, info hashes and URLs, one a
	// line, that was copied into folder dir. It may be called again with more of the
	// same file. The content is the callee's.
	AddFile(ctx context.Context, dir, name string, content []byte) error
	// RemoveTorrent is called when a torrent's folder was removed.
	RemoveTorrent(ctx context.Context, ih weir.InfoHash) error
	// MoveTorrent is called when a torrent's folder is to be moved or renamed.
	MoveTorrent(ctx context.Context, ih weir.InfoHash, dir, name string) error
	// MakeFolder, RemoveFolder and MoveFolder are about sorting folders.
	MakeFolder(ctx context.Context, dir string) error
	RemoveFolder(ctx context.Context, dir string) error
	MoveFolder(ctx context.Context, from, to string) error
	// ByHash is called when somebody looks up by-hash/<info hash> of a torrent that
	// is not there: it adds it, or returns an error.
	ByHash(ctx context.Context, ih weir.InfoHash) error
}

// Unmounter is another process that takes a mount away, for a weir that may not any
// more. Its Unmount returns an error that wraps weir.ErrInUse while programs use it.
type Unmounter interface {
	Unmount(lazy bool) error
	Abort() error // what programs wait for fails
}

// Opener says who opens a file.
type Opener struct {
	PID     uint32 // of the process, or the thread if its process can't be told; 0 if the kernel does not say
	UID     uint32
	Program string // name of the process's main thread, "" if it can't be told
}

// Status says how a torrent does, for extended attributes.
type Status struct {
	Peers        int     // connected
	Seeds        int     // of these, how many have everything
	Availability float64 // copies of the torrent that the connected peers have between them; the fraction is the share of pieces with one more
	State        string  // one word: "cold", "downloading", …
	Wait         string  // in words, why there is no progress; "" if nothing is wanted or all is well
	WebSeeds     string  // a line for each web server: its address, what it does, bytes per second
}

// Outline is what may be told of a torrent without loading its metadata.
type Outline struct {
	Length  int64     // bytes of all files, without padding
	Held    int64     // of these, held locally
	Files   int       // padding included
	Created time.Time // zero when the metainfo does not say
}

// Wait is one request that a program waits for.
type Wait struct {
	Torrent weir.InfoHash
	Path    string     // beneath the mount, '/' between names
	Range   weir.Range // of the file's bytes; empty for a look into a folder
	PID     uint32     // of the process, 0 if unknown
	Program string     // its name, "" if it can't be told
	Since   time.Time
}

// HandleInfo is one open file.
type HandleInfo struct {
	Torrent weir.InfoHash
	Path    string // beneath the mount
	PID     uint32 // of the process that opened it; it may have ended, or handed the file on
	Program string // its name, "" if it could not be told
	Opened  time.Time
	Ahead   int64 // bytes that are wanted ahead of the reader
}
