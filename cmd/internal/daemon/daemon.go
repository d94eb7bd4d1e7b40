// Package daemon is the application around weir's packages: it opens the cache,
// the engine and the mount, joins them, and takes them down again in the order
// in which they need each other.
//
//	kernel ─► fs ─► torrent.OpenFile ─► reader ─► cache, and engine for what it lacks
//	                                    engine ─► cache: verified pieces
//	                                    cache ─► fs: what is held has changed
//
// What must not live here: policy of any kind, and the command line.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/fs"
)

// maxWarm is how many torrents are warmed when they are added, so that the
// first read finds peers connected. With more than that, most are only looked
// at in a listing, and each is warmed by its first use.
const maxWarm = 32

// Options say what to mount, where and how. Mountpoint, Sources and CacheDir
// are required.
type Options struct {
	Mountpoint    string
	Sources       []string // as source.Load takes them
	CacheDir      string
	CacheBytes    int64             // bound of the cache; 0: the cache's default
	Peers         []string          // host:port, asked about every torrent
	Listen        string            // address for incoming peers; "": any free port, "off": none
	DHT           bool              // find peers of public torrents there too, from the public routers on
	Encryption    engine.Encryption // of connections to peers
	UploadLimit   int64             // of blocks, over all torrents, bytes per second; 0: none
	DownloadLimit int64             // the same
	ReadTimeout   time.Duration     // of one read; 0: fs.DefaultReadTimeout
	UID, GID      uint32            // who owns what is shown
	AllowOther    bool              // users other than ours may look in
	AllowNonEmpty bool              // hide what the mountpoint holds
	Version       string            // of weir, for those who ask the mount
	Log           *slog.Logger      // nil: no log
}

// Daemon is one mount with all that it needs. Open and Close are for one
// goroutine; the rest is safe for concurrent use.
type Daemon struct {
	opt Options
	log *slog.Logger
	fs  *fs.FS

	// Set by Open, nil before; Close goes by that.
	cache  *cache.Cache
	engine *engine.Engine
	served chan struct{} // closed when the mount is gone
	leave  context.CancelCauseFunc

	serveErr error // of Serve; valid once served is closed
	closing  sync.Once
	closeErr error

	mu    sync.Mutex
	names []string // as shown, in the order of the sources
	known map[weir.InfoHash]*engine.Torrent
}

// New returns a Daemon that has touched nothing yet.
func New(o Options) *Daemon {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{opt: o, log: o.Log, known: map[weir.InfoHash]*engine.Torrent{}}
	d.fs = fs.New(fs.Options{
		Mountpoint: o.Mountpoint, UID: o.UID, GID: o.GID,
		AllowOther: o.AllowOther, AllowNonEmpty: o.AllowNonEmpty,
		ReadTimeout: o.ReadTimeout, Version: o.Version, Log: o.Log,
	})
	return d
}

// Open mounts and serves; it returns when all sources are shown. Sources on this
// machine are checked before anything is mounted, those at a URL are fetched
// beside all other work and join when they are there. The first thing that goes
// wrong ends Open with its error; ctx ends it too. Close is needed in any case.
func (d *Daemon) Open(ctx context.Context) error {
	if err := fs.CheckHost(); err != nil {
		return err
	}
	peers, err := parsePeers(d.opt.Peers)
	if err != nil {
		return err
	}
	fetching, stopFetching := context.WithCancel(ctx)
	local, remote := split(d.opt.Sources)
	fetched := make(chan loaded, 1)
	var fetchers sync.WaitGroup
	defer fetchers.Wait()
	defer stopFetching()
	fetchers.Go(func() { fetched <- load(fetching, remote) })
	here := load(ctx, local)
	if here.err != nil {
		return here.err
	}

	var opening errgroup.Group
	opening.Go(func() error { return d.openStore(ctx, peers) })
	opening.Go(d.fs.Mount)
	if err := opening.Wait(); err != nil {
		return err
	}
	// Until the first answer, programs that look in wait: so nobody sees the
	// root before the local torrents are in it.
	if err := d.add(here.specs); err != nil {
		return err
	}
	d.serve()
	there := <-fetched
	if there.err != nil {
		return there.err
	}
	return d.add(there.specs)
}

// openStore opens the cache and the engine on it.
func (d *Daemon) openStore(ctx context.Context, peers []string) error {
	c, err := openCache(ctx, cache.Options{
		Dir: d.opt.CacheDir, LimitBytes: d.opt.CacheBytes, Mountpoint: d.opt.Mountpoint, Log: d.log, Changed: d.heldChanged,
	})
	if err != nil {
		return err
	}
	d.cache = c
	var routers []string
	if d.opt.DHT {
		routers = engine.PublicRouters()
	}
	e := engine.New(engine.Options{
		DHT: d.opt.DHT, DHTBootstrap: routers,
		Store: c, Log: d.log, Listen: d.opt.Listen, Encryption: d.opt.Encryption, Peers: peers, UserAgent: userAgent(d.opt.Version),
		UploadLimit: d.opt.UploadLimit, DownloadLimit: d.opt.DownloadLimit,
	})
	if err := e.Open(); err != nil {
		return errors.Join(err, e.Close())
	}
	d.engine = e
	d.log.Debug("engine is open", "port", e.Port(), "cache", d.opt.CacheDir)
	return nil
}

// add shows torrents. One that is named twice is shown once.
func (d *Daemon) add(specs []*source.Spec) error {
	for _, spec := range specs {
		t, err := d.engine.Add(spec)
		if errors.Is(err, weir.ErrExists) {
			continue
		} else if err != nil {
			return err
		}
		d.mu.Lock()
		d.known[spec.InfoHash] = t
		d.mu.Unlock()
		name, err := d.fs.Add(spec.DisplayName(), torrent{t, d.cache})
		if err != nil {
			return fmt.Errorf("show %s: %w", spec.DisplayName(), err)
		}
		d.mu.Lock()
		d.names = append(d.names, name)
		d.mu.Unlock()
		if len(d.opt.Sources) <= maxWarm {
			if err := t.Warm(); err != nil {
				return err
			}
		}
		d.log.Debug("torrent added", "torrent", spec.InfoHash, "name", name)
	}
	return nil
}

// serve answers the kernel from now on.
func (d *Daemon) serve() {
	var ctx context.Context
	ctx, d.leave = context.WithCancelCause(context.Background())
	d.served = make(chan struct{})
	go func() {
		defer close(d.served)
		d.serveErr = d.fs.Serve(ctx)
	}()
}

// heldChanged tells the mount that a piece came or went, and the swarm that one
// went.
func (d *Daemon) heldChanged(id weir.PieceID, held bool) {
	d.mu.Lock()
	t := d.known[id.Torrent]
	d.mu.Unlock()
	if t == nil {
		return // of a torrent that is not mounted now
	}
	if !held {
		t.Evicted(id.Index)
	}
	if info := t.Info(); info != nil {
		d.fs.HeldChanged(id.Torrent, info.PieceRange(id.Index))
	}
}

// Names returns the names of the torrents' folders, in the order of the sources,
// those from URLs last.
func (d *Daemon) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.names...)
}

// Done returns a channel that is closed when the mount is gone. It is valid
// once Open has returned nil.
func (d *Daemon) Done() <-chan struct{} { return d.served }

// Close unmounts, waiting about a second for programs that use the mount, ends
// the swarms, and closes the cache when all verified pieces are in it. Reads that
// wait end with an error. It may be called more than once.
func (d *Daemon) Close() error {
	d.closing.Do(func() { d.closeErr = d.close() })
	return d.closeErr
}

func (d *Daemon) close() error {
	// From the reader's side to the disk: each needs what is closed after it.
	var errs []error
	if d.served != nil {
		d.leave(weir.ErrClosed)
		<-d.served
		errs = append(errs, d.serveErr)
	}
	errs = append(errs, d.fs.Close())
	if d.engine != nil {
		errs = append(errs, d.engine.Close())
	}
	if d.cache != nil {
		errs = append(errs, d.cache.Close())
	}
	return errors.Join(errs...)
}
