package fs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/mountpoint"
)

// Torrent is what the tree needs to know of a torrent. All methods are safe for
// concurrent use, and none but WaitInfo waits for the network.
type Torrent interface {
	InfoHash() weir.InfoHash
	// Outline returns false while a magnet's metadata is unknown. It is asked for
	// whenever a torrent is listed or looked at from outside, thousands of them in a
	// row, so it must be quick: it loads nothing.
	Outline() (Outline, bool)
	// Added is when the torrent was added; it is the same after a restart.
	Added() time.Time
	// Info returns nil while a magnet's metadata is unknown. It may read from the
	// local disk; it is called when somebody looks inside.
	Info() *weir.TorrentInfo
	// WaitInfo returns when the metadata is known or ctx is done.
	WaitInfo(ctx context.Context) (*weir.TorrentInfo, error)
	// HeldBytes returns how many bytes of r (torrent coordinates) are held
	// locally. It is asked for at every stat, so it must be quick.
	HeldBytes(r weir.Range) int64
	// Status tells how r (torrent coordinates) does; it is empty while the metadata
	// is unknown.
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
	AllowOther    bool          // users other than the mounting one may look in
	AllowNonEmpty bool          // mount over a directory that has something in it
	ReadTimeout   time.Duration // how long a read, or opening a magnet's folder, may wait; 0: DefaultReadTimeout
	Control       string        // path of the control socket, shown in user.weir.control of the mount's root
	Host          Host          // nil: nothing can be changed through the mount
	ByHash        bool          // by-hash/<info hash> in the root leads to any torrent
	Unmounter     Unmounter     // takes the mount away in our place; nil: we do
	ReadAheadKB   int           // kernel read-ahead of the mount, KiB; 0: DefaultReadAheadKB, negative: leave it
	Version       string        // shown in user.weir.version of the mount's root
	Log           *slog.Logger  // nil: no log
}

// FS is a tree of torrents that can be mounted once. Torrents may be added and
// removed at any time, from any goroutine.
type FS struct {
	opt Options
	log *slog.Logger

	root      *root
	trees     trees
	hiding    hiding
	draftSum  atomic.Int64 // bytes in drafts
	handles   handles
	waits     waits
	processes processes
	totals    totals
	notifier  *notifier
	chores    chores

	// base is the ancestor of every wait's context; stop ends it with a reason.
	base context.Context
	stop context.CancelCauseFunc

	polling atomic.Bool // see learnNoPoll

	mu       sync.Mutex
	conn     *fuse.Conn // nil until mounted
	mounted  *mountpoint.Mount
	deadline time.Duration // of one wait, fixed when mounting
	gone     chan struct{} // closed when the kernel has let go of the mount
	serving  bool
	closed   bool
	ended    sync.Once // see end
	endErr   error
	answers  [loops]error   // how each loop ended; read when gone is closed
	behind   sync.WaitGroup // notifier, watchReaders, chores and growing trees
}

// New returns an empty tree. Nothing is touched until Mount.
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
	base, stop := context.WithCancelCause(context.Background())
	return &FS{
		opt:      opt,
		log:      opt.Log,
		root:     newRoot(time.Now(), opt.ByHash),
		waits:    newWaits(),
		notifier: newNotifier(),
		chores:   newChores(),
		base:     base,
		stop:     stop,
		deadline: opt.ReadTimeout,
	}
}

// Add is AddAt for the root.
func (f *FS) Add(name string, t Torrent) (shown string, err error) { return f.AddAt("", name, t) }

// AddAt puts a torrent's folder into sorting folder dir, a path with '/' between
// names, "" for the root. The folder and those above it are made if they are not
// there, and stay until RemoveFolder. It returns the name that the torrent is shown
// under: name made safe, or the info hash if name is empty, with a suffix if the
// name is taken. It never waits. The error is weir.ErrExists if a torrent with
// this info hash is there, or if something else has a name in dir, and
// weir.ErrInvalid if dir can't be.
func (f *FS) AddAt(dir, name string, t Torrent) (shown string, err error) {
	_, at, grew, err := f.root.add(dir, name, t)
	f.notifier.foldersChanged(grew)
	if err != nil {
		return "", err
	}
	f.totals.forget()
	return at.name, nil
}

// Move puts a torrent's folder into another sorting folder, made if it is not
// there, and under another name, unless that is empty. It returns the name that it
// is shown under then. Inodes stay, and what is open stays open. The error is
// weir.ErrNotFound if there is no such torrent; see AddAt for others.
func (f *FS) Move(ih weir.InfoHash, dir, name string) (shown string, err error) {
	old, now, grew, err := f.root.move(ih, dir, name)
	f.notifier.foldersChanged(grew)
	if err != nil {
		return "", err
	}
	f.notifier.nameGone(old.in.id, old.name)
	return now.name, nil
}

// Remove takes a torrent's folder away. Reads of it that wait end with ESTALE,
// and so does everything that is done to files of it that are open. The error is
// weir.ErrNotFound if there is no such torrent.
func (f *FS) Remove(ih weir.InfoHash) error {
	t, old, err := f.root.remove(ih)
	if err != nil {
		return err
	}
	f.waits.cancelTorrent(t, weir.ErrRemoved)
	f.totals.forget()
	f.notifier.nameGone(old.in.id, old.name)
	f.notifier.torrentRemoved(t, f.handles.openOf(t))
	return nil
}

// MakeFolder makes a sorting folder, and those above it where they are not there.
// The error is weir.ErrExists or weir.ErrInvalid.
func (f *FS) MakeFolder(dir string) error {
	grew, err := f.root.makeFolder(dir)
	f.notifier.foldersChanged(grew)
	return err
}

// RemoveFolder removes a sorting folder. The error is weir.ErrNotFound, or
// weir.ErrInUse if something is in it.
func (f *FS) RemoveFolder(dir string) error {
	old, err := f.root.removeFolder(dir)
	if err != nil {
		return err
	}
	f.notifier.nameGone(old.in.id, old.name)
	return nil
}

// MoveFolder gives a sorting folder, with all that is in it, another path; what is
// above that is made if it is not there. The error is weir.ErrNotFound,
// weir.ErrExists if there is something at to, or weir.ErrInvalid.
func (f *FS) MoveFolder(from, to string) error {
	old, grew, err := f.root.moveFolder(from, to)
	f.notifier.foldersChanged(grew)
	if err != nil {
		return err
	}
	f.notifier.nameGone(old.in.id, old.name)
	return nil
}

// FolderChanged returns when something last came to a sorting folder or went, "" for
// the root; the files that are being copied in don't count. It is the folder's
// mtime. The error is weir.ErrNotFound.
func (f *FS) FolderChanged(dir string) (time.Time, error) {
	f.root.mu.RLock()
	defer f.root.mu.RUnlock()
	d, err := f.root.find(dir)
	if err != nil {
		return time.Time{}, err
	}
	return d.changed, nil
}

// SetFolderChanged puts that back to what it was before a restart. Call it before
// Mount. The error is weir.ErrNotFound.
func (f *FS) SetFolderChanged(dir string, at time.Time) error {
	f.root.mu.Lock()
	defer f.root.mu.Unlock()
	d, err := f.root.find(dir)
	if err == nil {
		d.changed = at
	}
	return err
}

// HeldChanged says that what is held locally of r (torrent coordinates) changed:
// the kernel is told, within about half a second, to ask again how many blocks
// the files there have. It is cheap, never waits and may be called per piece.
func (f *FS) HeldChanged(ih weir.InfoHash, r weir.Range) {
	if t := f.root.byInfoHash(ih); t != nil {
		f.notifier.heldChanged(t, r)
	}
}
