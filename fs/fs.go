// Package fs shows torrents as folders through FUSE: the tree of names, their inodes,
// attributes and extended attributes, and the mount itself. Changes that programs make in
// the mount are carried out by a Host, through the methods of FS.
//
// Torrents never change. So a node id, which is also the inode number, is computed from the
// info hash and a number in the torrent's tree: there is no node table, and an idle tree can
// be dropped and built again. An operation answers at once, or returns a wait: for the
// swarm, a magnet's metadata, a tree or the Host. fs/internal/kernel talks to the kernel.
//
// What must not live here: anything about peers, pieces, storage or prefetch.
// The package sees torrents through the interfaces Torrent and File and imports
// neither the engine nor the cache nor the reader.
//
// All locks but FS.mu are leaves: nothing is called under them, in particular no
// Torrent, no File and nothing that notifies the kernel. FS.mu guards the
// life of the mount and is held while mounting, so that Close waits for Mount; no
// request needs it.
package fs

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/incoming"
	"github.com/weirfs/weir/fs/internal/kernel"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/tree"
	"github.com/weirfs/weir/fs/mountpoint"
)

// Torrent is what the tree needs to know of a torrent. All methods are safe for
// concurrent use, and none but WaitInfo waits for the network.
type Torrent interface {
	InfoHash() weir.InfoHash
	// Outline returns false while a magnet's metadata is unknown. It is called for thousands
	// of torrents in a row, so it must be quick: it loads nothing.
	Outline() (Outline, bool)
	// Added is when the torrent was added; it is the same after a restart.
	Added() time.Time
	// Info returns nil while a magnet's metadata is unknown. It may read from the
	// local disk; it is called when a torrent's tree is needed.
	Info() *weir.TorrentInfo
	// WaitInfo returns when the metadata is known or ctx is done.
	WaitInfo(ctx context.Context) (*weir.TorrentInfo, error)
	// HeldBytes returns how many bytes of r (torrent coordinates) are held
	// locally. It is asked for at every stat, so it must be quick.
	HeldBytes(r weir.Range) int64
	// Status describes the swarm; r (torrent coordinates) is empty while the metadata is
	// unknown.
	Status(r weir.Range) Status
	// OpenFile opens the file at index of Info().Files. An error that wraps
	// weir.ErrRefused is EACCES.
	OpenFile(index int, by Opener) (File, error)
}

// File is one open of one file. Offsets count from the file's beginning; callers
// never ask beyond its end. All methods but Close are safe for concurrent use.
type File interface {
	// View calls use exactly once with the n bytes at off if all of them are held
	// locally; otherwise it returns what is missing, without waiting for the network.
	// The bytes are valid during the call only.
	View(off int64, n int, use func(b []byte)) (*weir.Miss, error)
	// Fetch waits for what was missing and fills p with the bytes that were asked for,
	// all of them, or returns an error.
	Fetch(ctx context.Context, miss *weir.Miss, p []byte) error
	// Ahead returns how many bytes are wanted ahead of the reader now.
	Ahead() int64
	Close() error
}

// Defaults of Options.
const (
	DefaultReadTimeout = 60 * time.Second
	DefaultReadAheadKB = 1024
)

// Options say where and how to mount. Only Mountpoint is required.
type Options struct {
	Mountpoint    string        // a directory
	Source        string        // what the kernel lists as mounted there; "": weir
	UID, GID      uint32        // who owns all files and folders
	AllowOther    bool          // users other than the mounting one may read the mount
	AllowNonEmpty bool          // mount on a directory that is not empty
	ReadTimeout   time.Duration // how long a read, or opening a magnet's folder, may wait; 0: DefaultReadTimeout
	Control       string        // path of the control socket, shown in user.weir.control of the mount's root
	Host          Host          // nil: nothing can be changed through the mount
	ByHash        bool          // by-hash/<info hash> in the root leads to any torrent
	Unmounter     Unmounter     // unmounts for us; nil: we unmount ourselves
	ReadAheadKB   int           // kernel read-ahead of the mount, KiB; 0: DefaultReadAheadKB, negative: unchanged
	Version       string        // shown in user.weir.version of the mount's root
	Log           *slog.Logger  // nil: no log
}

// FS is a tree of torrents that can be mounted once. Torrents may be added and
// removed at any time, from any goroutine.
type FS struct {
	opt          Options
	root         *root
	trees        *trees
	files        *files
	totals       *totals
	removals     *removals
	incoming     *incomingFiles
	housekeeping *housekeeping
	server       *kernel.Server
	operations   operations

	// base ends when the file system is closed.
	base context.Context
	stop context.CancelCauseFunc

	mu         sync.Mutex
	mounted    *mountpoint.Mount // nil until mounted
	serving    bool
	closed     bool
	ended      sync.Once // see end
	endErr     error
	background sync.WaitGroup // housekeeping
}

// New returns an empty tree. It does no I/O until Mount.
func New(opt Options) *FS {
	if opt.ReadTimeout <= 0 {
		opt.ReadTimeout = DefaultReadTimeout
	}
	if opt.ReadAheadKB == 0 {
		opt.ReadAheadKB = DefaultReadAheadKB
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	f := &FS{opt: opt, root: newRoot(time.Now(), opt.ByHash), housekeeping: newHousekeeping()}
	f.base, f.stop = context.WithCancelCause(context.Background())
	f.server = kernel.New(kernel.Options{
		Source: cmp.Or(opt.Source, "weir"), ReadAheadKB: max(DefaultReadAheadKB, opt.ReadAheadKB),
		AllowOther: opt.AllowOther, AllowNonEmpty: opt.AllowNonEmpty, Deadline: opt.ReadTimeout, Log: opt.Log,
	})
	notifier := f.server.Notifier
	f.trees = &trees{root: f.root, notifier: notifier, housekeeping: f.housekeeping, deadline: f.server.Deadline}
	f.removals = &removals{root: f.root, notifier: notifier, housekeeping: f.housekeeping, log: opt.Log}
	f.incoming = &incomingFiles{files: make(map[node.ID]*incomingFile), nextID: node.FirstIncoming, root: f.root, notifier: notifier, housekeeping: f.housekeeping, host: opt.Host, log: opt.Log}
	f.incoming.Limit, f.incoming.MakeRoom = incoming.AllBytes, f.incoming.dropHandedOver
	f.housekeeping.tasks = []func(time.Time) time.Duration{f.trees.dropIdle, f.removals.restoreDue, f.incoming.dropDue}
	f.totals = &totals{root: f.root, writable: opt.Host != nil}
	f.files = &files{root: f.root, trees: f.trees, incoming: f.incoming, log: opt.Log}
	as := attrs{root: f.root, uid: opt.UID, gid: opt.GID, writable: opt.Host != nil}
	f.operations = operations{
		&lookups{attrs: as, trees: f.trees, files: f.incoming, host: opt.Host, log: opt.Log},
		f.files,
		&changes{attrs: as, trees: f.trees, files: f.files, incoming: f.incoming, removals: f.removals, notifier: notifier, host: opt.Host},
		&xattrs{root: f.root, trees: f.trees, version: opt.Version, control: opt.Control},
		f.totals,
	}
	return f
}

// Add is AddAt for the root.
func (f *FS) Add(name string, t Torrent) (shown string, err error) { return f.AddAt("", name, t) }

// AddAt puts a torrent's folder into sorting folder dir, a path with '/' between
// names, "" for the root. Missing folders are made, and stay until RemoveFolder. It returns
// the name that the torrent is shown under: name made safe, or the info hash if name is
// empty, with a suffix if that is taken. It never waits. The error is weir.ErrExists if
// there is a torrent with this info hash, or dir names something else than folders, and
// weir.ErrInvalid if dir is not a valid path.
func (f *FS) AddAt(dir, name string, t Torrent) (shown string, err error) {
	_, at, changed, err := f.root.add(dir, name, t)
	f.server.Notifier.FoldersChanged(changed...)
	if err != nil {
		return "", err
	}
	f.totals.forget()
	return at.name, nil
}

// Move moves a torrent's folder to another sorting folder, which is made if it is missing,
// and renames it unless name is empty. It returns the name that it is shown under. Inodes
// stay the same, and open files stay open. The error is weir.ErrNotFound if there is no such
// torrent; see AddAt for others.
func (f *FS) Move(ih weir.InfoHash, dir, name string) (shown string, err error) {
	old, now, changed, err := f.root.move(ih, dir, name)
	f.server.Notifier.FoldersChanged(changed...)
	if err != nil {
		return "", err
	}
	f.server.Notifier.NameGone(old.in.id, old.name)
	return now.name, nil
}

// Remove removes a torrent's folder. Waiting reads of it end with ESTALE, and so does every
// later operation on its open files. The error is weir.ErrNotFound if there is no such
// torrent.
func (f *FS) Remove(ih weir.InfoHash) error {
	t, old, err := f.root.remove(ih)
	if err != nil {
		return err
	}
	f.server.Cancel(func(w kernel.Waiting) bool {
		prefix, _ := w.Node.Split()
		return prefix == t.prefix
	}, weir.ErrRemoved)
	f.totals.forget()
	f.server.Notifier.NameGone(old.in.id, old.name)
	f.server.Notifier.Forget(t)
	f.server.Notifier.Changed(t.staleAll(f.files.handles.openOf(t)))
	return nil
}

// MakeFolder makes a sorting folder, and those above it if they are missing.
// The error is weir.ErrExists or weir.ErrInvalid.
func (f *FS) MakeFolder(dir string) error {
	changed, err := f.root.makeFolder(dir)
	f.server.Notifier.FoldersChanged(changed...)
	return err
}

// RemoveFolder removes a sorting folder. The error is weir.ErrNotFound, or
// weir.ErrInUse if something is in it.
func (f *FS) RemoveFolder(dir string) error {
	old, err := f.root.removeFolder(dir)
	if err != nil {
		return err
	}
	f.server.Notifier.NameGone(old.in.id, old.name)
	return nil
}

// MoveFolder moves a sorting folder with everything in it. Missing folders above the new
// path are made. The error is weir.ErrNotFound, weir.ErrExists if there is something at to,
// or weir.ErrInvalid.
func (f *FS) MoveFolder(from, to string) error {
	old, changed, err := f.root.moveFolder(from, to)
	f.server.Notifier.FoldersChanged(changed...)
	if err != nil {
		return err
	}
	f.server.Notifier.NameGone(old.in.id, old.name)
	return nil
}

// FolderChanged returns the mtime of a sorting folder, "" for the root: when something was
// last added or removed, incoming files aside. The error is weir.ErrNotFound.
func (f *FS) FolderChanged(dir string) (time.Time, error) {
	f.root.mu.RLock()
	defer f.root.mu.RUnlock()
	d, err := f.root.find(dir)
	if err != nil {
		return time.Time{}, err
	}
	return d.changed, nil
}

// SetFolderChanged restores the mtime of a folder after a restart. Call it before Mount. The
// error is weir.ErrNotFound.
func (f *FS) SetFolderChanged(dir string, at time.Time) error {
	f.root.mu.Lock()
	defer f.root.mu.Unlock()
	d, err := f.root.find(dir)
	if err == nil {
		d.changed = at
	}
	return err
}

// Paths returns the tree for those who read it by path.
func (f *FS) Paths() *Paths { return &Paths{lookups: f.operations.lookups, files: f.files} }

// HeldChanged says that bytes of r (torrent coordinates) came or went locally. Within about
// half a second the kernel is told to ask again how many blocks the files there have. It is
// cheap, never waits and may be called for each piece.
func (f *FS) HeldChanged(ih weir.InfoHash, r weir.Range) {
	t := f.root.byInfoHash(ih)
	if t == nil || r.Empty() || t.tree.Load() == nil { // without a tree the kernel has no attributes of its files
		return
	}
	t.held.add(r)
	f.server.Notifier.ChangesLater(t)
}

// SafeName returns the name under which something with a raw name from a torrent is
// shown: escaped as docs/semantics.md says, 255 bytes at most.
func SafeName(raw string) string { return tree.SafeName(raw) }

// RawName undoes SafeName for names that were not cut.
func RawName(safe string) string { return tree.RawName(safe) }
