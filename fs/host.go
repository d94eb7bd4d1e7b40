package fs

import (
	"context"
	"time"

	"github.com/weirfs/weir"
)

// Host carries out changes to the set of torrents that programs make through the mount. The
// program's call waits for it, under a context that ends when the program is interrupted
// and at the read deadline. The kernel keeps the folder locked meanwhile, so a Host should
// return within milliseconds. It changes the tree with the methods of FS before it returns.
//
// A dir is the path of a sorting folder, "" the root, names joined by '/' as they
// are shown. The name of a torrent or of a file is raw, as for FS.Add.
//
// Errors become errnos: weir.ErrInvalid and weir.ErrHostile EINVAL, ErrExists
// EEXIST, ErrNotFound ENOENT, ErrInUse EBUSY, ErrNoSpace ENOSPC, ErrRefused
// EACCES. If AddFile returns ErrExists, the torrent is there already, and the program gets
// no error.
type Host interface {
	// AddFile adds the torrents of a file that was copied into folder dir: a .torrent, or a
	// text with magnets, info hashes and URLs, one a line. It may be called again with more
	// of the same file. The Host may keep content.
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

// Unmounter unmounts for a weir that has given up the right to, through another process.
// Unmount returns an error that wraps weir.ErrInUse while programs use the mount.
type Unmounter interface {
	Unmount(lazy bool) error
	Abort() error // whatever programs wait for fails
}

// Opener says who opens a file.
type Opener struct {
	PID     uint32 // of the process, or the thread if its process can't be told; 0 if the kernel does not say
	UID     uint32
	Program string // name of the process's main thread, "" if it can't be told
}

// Status describes a torrent's swarm, for extended attributes.
type Status struct {
	Peers        int     // connected
	Seeds        int     // of these, those that have everything
	Availability float64 // complete copies among the connected peers; the fraction is the share of pieces with one more
	State        string  // one word: "cold", "downloading", …
	Wait         string  // in words, why there is no progress; "" if nothing is wanted or all is well
	WebSeeds     string  // a line for each web server: its address, what it does, bytes per second
}

// Outline is what is known of a torrent without loading its metadata.
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
	Range   weir.Range // of the file; empty for a wait for metadata
	PID     uint32     // of the process, 0 if unknown
	Program string     // its name, "" if it can't be told
	Since   time.Time
}

// HandleInfo is one open file.
type HandleInfo struct {
	Torrent weir.InfoHash
	Path    string // beneath the mount
	PID     uint32 // of the process that opened it; it may have ended, or passed the file on
	Program string // its name, "" if it could not be told
	Opened  time.Time
	Ahead   int64 // bytes that are wanted ahead of the reader
}
