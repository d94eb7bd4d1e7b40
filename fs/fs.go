package fs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// Torrent is what the tree needs to know of a torrent. All methods are safe for
// concurrent use, and none but WaitInfo waits for the network.
type Torrent interface {
	InfoHash() weir.InfoHash
	// Info returns nil while a magnet's metadata is unknown.
	Info() *weir.TorrentInfo
	// WaitInfo returns when the metadata is known or ctx is done.
	WaitInfo(ctx context.Context) (*weir.TorrentInfo, error)
	// HeldBytes returns how many bytes of r (torrent coordinates) are held
	// locally. It is asked for at every stat, so it must be quick.
	HeldBytes(r weir.Range) int64
	// OpenFile opens the file at index of Info().Files.
	OpenFile(index int) (File, error)
}

// File is one open of one file. Offsets count from the file's beginning; callers
// never ask beyond its end. All methods but Close are safe for concurrent use.
type File interface {
	// View calls use exactly once with the n bytes at off and returns true if all
	// of them are held locally; otherwise it returns false without waiting for the
	// network. The bytes are valid during the call only.
	View(off int64, n int, use func(b []byte)) (bool, error)
	// ReadAt waits for the swarm until p is full, or returns an error.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
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
	UID, GID      uint32        // who owns all files and folders
	AllowOther    bool          // users other than the mounting one may look in
	AllowNonEmpty bool          // mount over a directory that has something in it
	ReadTimeout   time.Duration // how long a read, or opening a magnet's folder, may wait; 0: DefaultReadTimeout
	ReadAheadKB   int           // kernel read-ahead of the mount, KiB; 0: DefaultReadAheadKB, negative: leave it
	Version       string        // shown in user.weir.version of the mount's root
	Log           *slog.Logger  // nil: no log
}

// FS is a tree of torrents that can be mounted once. Torrents may be added and
// removed at any time, from any goroutine.
type FS struct {
	opt     Options
	log     *slog.Logger
	created time.Time // stands in where a torrent does not say

	root     *root
	handles  handles
	waits    waits
	totals   totals
	notifier *notifier

	// base is the ancestor of every wait's context; stop ends it with a reason.
	base context.Context
	stop context.CancelCauseFunc

	polling atomic.Bool // see learnNoPoll

	mu       sync.Mutex
	conn     *fuse.Conn    // nil until mounted
	mounted  mountEntry    // as the kernel lists the mount
	deadline time.Duration // of one wait, fixed when mounting
	gone     chan struct{} // closed when the kernel has let go of the mount
	serving  bool
	closed   bool
	ended    sync.Once // see end
	endErr   error
	answers  [loops]error   // how each loop ended; read when gone is closed
	behind   sync.WaitGroup // notifier and watchReaders
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
	now := time.Now().Truncate(time.Second)
	return &FS{
		opt:      opt,
		log:      opt.Log,
		created:  now,
		root:     newRoot(now),
		waits:    newWaits(),
		notifier: newNotifier(),
		base:     base,
		stop:     stop,
		deadline: opt.ReadTimeout,
	}
}

// Add puts a torrent's folder into the root and returns the name it is shown
// under: name made safe, or the info hash if name is empty, with a suffix if the
// name is taken. It never waits. The error is weir.ErrExists if a torrent with
// this info hash is there.
func (f *FS) Add(name string, t Torrent) (shown string, err error) {
	added, err := f.root.add(name, t)
	if err != nil {
		return "", err
	}
	f.totals.forget()
	f.notifier.rootChanged(added.shown)
	return added.shown, nil
}

// Remove takes a torrent's folder away. Reads of it that wait end with ESTALE,
// and so does everything that is done to files of it that are open. The error is
// weir.ErrNotFound if there is no such torrent.
func (f *FS) Remove(ih weir.InfoHash) error {
	t, err := f.root.remove(ih)
	if err != nil {
		return err
	}
	f.waits.cancelTorrent(t, weir.ErrRemoved)
	f.totals.forget()
	f.notifier.rootChanged(t.shown)
	f.notifier.torrentRemoved(t, f.handles.openOf(t))
	return nil
}

// HeldChanged says that what is held locally of r (torrent coordinates) changed:
// the kernel is told, within about half a second, to ask again how many blocks
// the files there have. It is cheap, never waits and may be called per piece.
func (f *FS) HeldChanged(ih weir.InfoHash, r weir.Range) {
	if t := f.root.byInfoHash(ih); t != nil {
		f.notifier.heldChanged(t, r)
	}
}
