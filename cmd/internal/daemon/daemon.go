// Package daemon is the application around weir's packages: it opens the cache, the
// engine and the mount, connects them, and closes them in the opposite order.
//
//	kernel ─► fs ─► torrent.OpenFile ─► reader ─► cache, and engine for what it lacks
//	                                    engine ─► cache: verified pieces
//	                                    cache ─► fs: what is held has changed
//	fs (Host), control (Mount), watched folders, command line ─► torrents: add, remove, move
//
// What must not live here: decisions about peers, pieces and windows, and the
// command line.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/cmd/internal/gateway"
	"github.com/weirfs/weir/cmd/internal/metrics"
	"github.com/weirfs/weir/cmd/internal/sharing"
	"github.com/weirfs/weir/cmd/internal/sources"
	"github.com/weirfs/weir/cmd/internal/store"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/reader"
)

// maxWarm is how many torrents of the command line are warmed when they are added, so that
// peers are connected before the first read. If there are more, most are probably only
// listed, and each is warmed by its first use. Torrents of the catalogue start cold.
const maxWarm = 32

// Options say what to show, where and how. CacheDir is required.
type Options struct {
	Mountpoint    string   // "": there is no mount
	Sources       []string // as a source.Loader takes them, and files that name several
	ListedAs      string   // the mount's source in lists of mounts; "": weir
	CacheDir      string
	CacheBytes    int64              // bound of the cache; 0: the cache's default
	MinFree       MinFree            // of the cache's disk
	Ephemeral     bool               // ignore the catalogue: show only Sources, and record nothing
	Control       string             // path of the control socket; "": none
	ByHash        bool               // by-hash/<info hash> in the mount opens any torrent
	ServeFrom     []string           // folders from which files may be served in place, although the process gives up what it doesn't need
	Watch         []string           // folders whose .torrent and .magnet files are added
	WatchEvery    time.Duration      // how often they are listed, in addition to inotify; 0: 20 s
	Metrics       string             // address of HTTP for Prometheus; "": none
	Pprof         bool               // serve profiles there too
	HTTP          HTTP               // files, listings and WebDAV over HTTP
	Peers         []string           // host:port, asked about every torrent
	Listen        string             // address for incoming peers; "": any free port, "off": none
	WebSeeds      bool               // ask the web servers that torrents name
	DHT           bool               // find peers of public torrents there too, from the public routers on
	LSD           bool               // the same in the local network, by multicast
	AllowPrivate  bool               // what torrents and servers name may lead to this machine and its network
	Encryption    engine.Encryption  // of connections to peers
	MaxMetadata   int64              // of a magnet, bytes; 0: 64 MiB
	UploadLimit   int64              // of blocks, over all torrents, bytes per second; 0: none
	DownloadLimit int64              // the same
	Sharing       sharing.Policy     // which torrents are given to whoever asks
	Restricted    *reader.Restricted // programs that may not read all; nil: none
	ReadTimeout   time.Duration      // of one read; 0: fs.DefaultReadTimeout
	UID, GID      uint32             // who owns what is shown
	AllowOther    bool               // other users may read the mount
	AllowNonEmpty bool               // mount on a folder that is not empty
	Unmounter     fs.Unmounter       // unmounts for us; nil: we unmount ourselves
	Version       string             // of weir, as the mount reports it
	Log           *slog.Logger       // nil: no log
}

// HTTP says where and to whom torrents are shown over HTTP. An address of this machine alone
// needs nothing else; any other needs a token, or to be public.
type HTTP struct {
	Addr      string   // host:port; "": no HTTP
	Names     []string // more hosts that requests may be for
	Cert, Key string   // files in PEM, for TLS; "": none
	AskToken  bool     // on an address of this machine, too
	Public    bool     // nobody is asked for a token
}

// Check returns an error if the options contradict each other.
func (h HTTP) Check() error {
	switch {
	case (h.Cert == "") != (h.Key == ""):
		return errors.New("--http-cert and --http-key need each other")
	case h.Public && h.AskToken:
		return errors.New("--http-read-only-public and --http-token contradict each other")
	}
	return nil
}

// MinFree is how much of a disk stays free, as in cache.Options.
type MinFree struct {
	Bytes   int64
	Percent float64
}

// Daemon is one mount with everything it needs. Open and Close are for one goroutine; the
// other methods are safe for concurrent use once Open has returned nil.
type Daemon struct {
	opt        Options
	log        *slog.Logger
	started    time.Time
	fs         *fs.FS
	readers    *readers
	load       sources.Loaders
	background *background
	mount

	// Set by Open; Close skips those that are nil.
	store  *store.Store
	cache  *cache.Cache
	engine *engine.Engine
	servers
	served chan struct{} // closed when the mount is gone
	leave  context.CancelCauseFunc

	serveErr error // of Serve; valid once served is closed
	closing  sync.Once
	closeErr error

	mu    sync.Mutex
	names []string // of the command line's torrents, as shown
}

// servers answer others than the kernel. Each is nil if it is not asked for.
type servers struct {
	control *control.Server
	metrics *metrics.Server
	gateway *gateway.Server
}

// mount has the methods that the control socket needs. New sets the events and the
// torrents, Open the others.
type mount struct {
	*events
	*torrents
	*content
	*view
	*limits
}

var _ control.Mount = mount{}

// New returns a Daemon. It does no I/O.
func New(o Options) *Daemon {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{
		opt: o, log: o.Log, started: time.Now(), load: sources.Loaders{AllowPrivate: o.AllowPrivate},
		readers: newReaders(o.CacheBytes, o.Restricted), background: newBackground(o.Log),
	}
	d.events = &events{}
	d.torrents = &torrents{
		readers: d.readers, events: d.events, load: d.load, log: o.Log, entries: newEntries(), changing: newToken(),
	}
	d.fs = fs.New(fs.Options{
		Mountpoint: o.Mountpoint, Source: o.ListedAs, UID: o.UID, GID: o.GID,
		AllowOther: o.AllowOther, AllowNonEmpty: o.AllowNonEmpty,
		ReadTimeout: o.ReadTimeout, Version: o.Version, Log: o.Log,
		Control: o.Control, Unmounter: o.Unmounter, Host: host{d.torrents, d.background}, ByHash: o.ByHash,
	})
	d.torrents.fs, d.torrents.mountpoint = d.fs, o.Mountpoint
	return d
}

// Names returns the paths of the torrents that the command line named, in its
// order, those from URLs last.
func (d *Daemon) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.names...)
}

// Count returns how many torrents are shown.
func (d *Daemon) Count() int { return d.torrents.count() }

// URL returns the address at which a browser on this machine finds the torrents, "" if HTTP is
// off. It may contain the token. It is valid once Open has returned nil.
func (d *Daemon) URL() string {
	if d.gateway == nil {
		return ""
	}
	return d.gateway.URL()
}

// Done returns a channel that is closed when the mount is gone; without a mount it never is.
// It is valid once Open has returned nil.
func (d *Daemon) Done() <-chan struct{} { return d.served }

// Close unmounts, waiting about a second for programs that use the mount, ends
// the swarms, and closes the cache when all verified pieces are in it. Reads that
// wait end with an error. It may be called more than once.
func (d *Daemon) Close() error {
	d.closing.Do(func() { d.closeErr = d.close() })
	return d.closeErr
}

func (d *Daemon) close() error {
	// Each needs what is closed after it.
	var errs []error
	d.background.cancel(weir.ErrClosed)
	d.events.close()
	if d.control != nil {
		errs = append(errs, d.control.Close())
	}
	if d.metrics != nil {
		errs = append(errs, d.metrics.Close())
	}
	if d.gateway != nil {
		errs = append(errs, d.gateway.Close())
	}
	if d.leave != nil {
		d.leave(weir.ErrClosed)
		<-d.served
		errs = append(errs, d.serveErr)
	}
	errs = append(errs, d.fs.Close())
	d.background.running.Wait()
	if d.store != nil {
		d.store.Fail(weir.ErrClosed) // ends waits for a cache that never opened
	}
	if d.engine != nil {
		errs = append(errs, d.engine.Close())
	}
	if d.torrents.sharing != nil {
		d.torrents.sharing.Close()
	}
	if d.cache != nil {
		errs = append(errs, d.cache.Close())
	}
	if d.store != nil {
		d.store.Close()
	}
	return errors.Join(errs...)
}
