package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/catalogue"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/cmd/internal/gateway"
	"github.com/weirfs/weir/cmd/internal/hosts"
	"github.com/weirfs/weir/cmd/internal/metrics"
	"github.com/weirfs/weir/cmd/internal/sharing"
	"github.com/weirfs/weir/cmd/internal/sources"
	"github.com/weirfs/weir/cmd/internal/store"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/fs/mountpoint"
)

// Open mounts, if there is a mountpoint, and serves; it returns when the catalogue and all
// sources are shown.
// Sources on this machine are checked before anything is mounted. Those at URLs are
// fetched meanwhile, and shown when they have arrived. Open ends with the first error, or
// when ctx ends. Call Close in any case.
func (d *Daemon) Open(ctx context.Context) error {
	// Cheap checks come first: a .torrent may take a second to read.
	if d.opt.Mountpoint != "" {
		if _, err := mountpoint.Check(d.opt.Mountpoint, d.opt.AllowNonEmpty); err != nil {
			return err
		}
	}
	fetching, stopFetching := context.WithCancel(ctx)
	local, remote := sources.Split(d.opt.Sources)
	fetched := make(chan sources.Loaded, 2)
	var fetchers sync.WaitGroup
	defer fetchers.Wait()
	defer stopFetching()
	fetchers.Go(func() { fetched <- sources.Load(fetching, d.load.Typed(), remote) })
	here, found := sources.Read(local)
	if here.Err != nil {
		return here.Err
	}
	fetchers.Go(func() { fetched <- sources.Load(fetching, d.load.Found(), found) })

	// The cache opens while the engine listens and looks for the first peers.
	var opening errgroup.Group
	d.store = store.New()
	opening.Go(func() error { return d.openCache(ctx) })
	early := d.openEngine()
	if early == nil {
		early = d.join(here.Specs)
	}
	if err := errors.Join(early, opening.Wait()); err != nil {
		return err
	}
	if err := d.assemble(); err != nil {
		return err
	}
	if err := errors.Join(d.openControl(), d.openMetrics(), d.makeGateway()); err != nil {
		return err
	}
	// Mount once the tree is complete, so that no program sees half of it.
	if err := d.torrents.restore(); err != nil {
		return err
	}
	d.content.resumePins()
	if err := d.showSources(ctx, here.Specs); err != nil {
		return err
	}
	if err := d.serve(); err != nil {
		return err
	}
	if d.control != nil {
		d.control.Serve()
	}
	d.background.running.Go((&observer{ctx: d.background.ctx, torrents: d.torrents, content: d.content, cache: d.cache, events: d.events}).run)
	d.background.running.Go(func() { d.torrents.sharing.Run(d.background.ctx) })
	if err := d.watchFolders(); err != nil {
		return err
	}
	for range cap(fetched) {
		there := <-fetched
		if there.Err != nil {
			return there.Err
		}
		if err := d.showSources(ctx, there.Specs); err != nil {
			return err
		}
	}
	return nil
}

// assemble connects what needs both the cache and the engine, once both are open.
func (d *Daemon) assemble() (err error) {
	ts := d.torrents
	ts.store, ts.engine = d.store, d.engine
	ts.catalogue = catalogue.New(d.cache, d.opt.Ephemeral)
	ts.pinned = d.cache.Pinned
	if ts.sharing, err = sharing.Open(d.opt.Sharing, ts.catalogue, d.log); err != nil {
		return fmt.Errorf("read what torrents gave and got: %w", err)
	}
	d.content = &content{torrents: ts, cache: d.cache, fs: d.fs, background: d.background, log: d.log, pinning: newToken()}
	d.view = &view{opt: &d.opt, started: d.started, torrents: ts, content: d.content, fs: d.fs, cache: d.cache, engine: d.engine}
	d.limits = &limits{engine: d.engine, upload: d.opt.UploadLimit, download: d.opt.DownloadLimit}
	return nil
}

// watchFolders adds the torrents in the watched folders, now and whenever one appears.
func (d *Daemon) watchFolders() error {
	if len(d.opt.Watch) == 0 {
		return nil
	}
	w, err := sources.Watch(sources.Options{
		Folders: d.opt.Watch, Every: d.opt.WatchEvery, Log: d.log,
		Add: func(spec *source.Spec) (api.Added, error) { return d.torrents.addSpec(d.background.ctx, spec, "") },
		AddURL: func(url string) {
			d.background.start("add the torrent at a URL of a watched folder", func() error { return d.torrents.addURL(d.background.ctx, url, "") })
		},
	})
	if err != nil {
		return err
	}
	d.background.running.Go(func() { w.Run(d.background.ctx) })
	return nil
}

// openCache opens the cache for those who wait for it.
func (d *Daemon) openCache(ctx context.Context) error {
	c, err := openCache(ctx, cache.Options{
		Dir: d.opt.CacheDir, LimitBytes: d.opt.CacheBytes, Mountpoint: d.opt.Mountpoint, Control: d.opt.Control,
		MinFreeBytes: d.opt.MinFree.Bytes, MinFreePercent: d.opt.MinFree.Percent,
		Log: d.log, Changed: d.torrents.heldChanged, Protect: d.readers.budget.Protect,
	})
	if err != nil {
		d.store.Fail(err)
		return err
	}
	d.cache = c
	d.store.Open(c)
	return nil
}

// openEngine opens the engine, which needs the cache only once it has something to
// store.
func (d *Daemon) openEngine() error {
	var routers []string
	if d.opt.DHT {
		routers = engine.PublicRouters()
	}
	e := engine.New(engine.Options{
		WebSeeds: d.opt.WebSeeds, DHT: d.opt.DHT, DHTBootstrap: routers, LSD: d.opt.LSD,
		Store: d.store, StoreReady: d.store.Ready(), Log: d.log, Listen: d.opt.Listen, Encryption: d.opt.Encryption, Peers: d.opt.Peers, UserAgent: userAgent(d.opt.Version),
		AllowPrivate: d.opt.AllowPrivate, MaxMetadata: d.opt.MaxMetadata, UploadLimit: d.opt.UploadLimit, DownloadLimit: d.opt.DownloadLimit,
	})
	d.engine = e // Close must close it even if Open fails
	if err := e.Open(); err != nil {
		return err
	}
	d.log.Debug("engine is open", "port", e.Port())
	return nil
}

// join starts to find peers for the torrents of the command line, if they are few, while
// the catalogue is read and the mount is made.
func (d *Daemon) join(specs []*source.Spec) error {
	if max(len(d.opt.Sources), len(specs)) > maxWarm {
		return nil
	}
	for _, spec := range specs {
		t, err := d.engine.Add(spec)
		if err != nil && !errors.Is(err, weir.ErrExists) {
			return err
		}
		if err := t.Warm(); err != nil {
			return err
		}
	}
	return nil
}

// showSources shows torrents of the command line. One that is named twice, or was
// in the catalogue, is shown once.
func (d *Daemon) showSources(ctx context.Context, specs []*source.Spec) error {
	warm := max(len(d.opt.Sources), len(specs)) <= maxWarm // a file may name many
	var changed []*entry
	named := map[*entry]bool{}
	for _, spec := range specs {
		e, _, err := d.torrents.show(ctx, spec, "", warm)
		if err != nil {
			return err
		}
		if named[e] {
			continue
		}
		named[e] = true
		changed = append(changed, e)
		d.mu.Lock()
		d.names = append(d.names, e.path())
		d.mu.Unlock()
	}
	// In the background: each record is synced to the disk.
	d.background.start("keep torrents in the catalogue", func() error {
		for _, e := range changed {
			if err := d.torrents.record(e.InfoHash()); err != nil {
				return fmt.Errorf("%s will be gone after a restart: %w", e.path(), err)
			}
		}
		return nil
	})
	return nil
}

// openMetrics serves metrics over HTTP, if that is asked for.
func (d *Daemon) openMetrics() error {
	if d.opt.Metrics == "" {
		return nil
	}
	s := metrics.New(metrics.Options{Addr: d.opt.Metrics, Pprof: d.opt.Pprof, Version: d.opt.Version, Samples: d.view.samples, Log: d.log})
	if err := s.Open(); err != nil {
		return err
	}
	d.metrics = s
	d.log.Info("metrics are served", "address", s.Addr())
	return nil
}

// openControl creates the control socket before the mount is visible; clients wait on
// it until all is ready.
func (d *Daemon) openControl() error {
	if d.opt.Control == "" {
		return nil
	}
	s := control.New(control.Options{
		Socket: d.opt.Control, Mount: d.mount, Cache: control.NewCache(d.cache, d.opt.CacheDir, d.opt.Mountpoint), Log: d.log,
	})
	if err := s.Listen(); err != nil {
		return err
	}
	d.control = s
	return nil
}

// makeGateway makes the HTTP server, if that is asked for. It listens when all is shown.
func (d *Daemon) makeGateway() error {
	h := d.opt.HTTP
	if h.Addr == "" {
		return nil
	}
	var token string
	if !h.Public && (h.AskToken || !hosts.Of(h.Addr).Loopback()) {
		var err error
		if token, err = gateway.Token(filepath.Join(d.opt.CacheDir, tokenFile)); err != nil {
			return err
		}
	}
	d.gateway = gateway.New(gateway.Options{
		Addr: h.Addr, Names: h.Names, Cert: h.Cert, Key: h.Key, Token: token,
		Tree: d.fs.Paths(), Reason: d.torrents.reason, ReadTimeout: d.opt.ReadTimeout, Log: d.log,
	})
	return nil
}

// tokenFile is in the cache folder.
const tokenFile = "http-token"

// serve begins to answer the kernel, if there is a mountpoint, and HTTP.
func (d *Daemon) serve() error {
	d.served = make(chan struct{})
	if d.opt.Mountpoint == "" {
		if err := d.fs.Start(); err != nil {
			return err
		}
	} else if err := d.serveMount(); err != nil {
		return err
	}
	if d.gateway == nil {
		return nil
	}
	if err := d.gateway.Open(); err != nil {
		return err
	}
	d.log.Info("HTTP is served", "address", d.gateway.Addr())
	return nil
}

func (d *Daemon) serveMount() error {
	if err := d.fs.Mount(); err != nil {
		return err
	}
	var ctx context.Context
	ctx, d.leave = context.WithCancelCause(context.Background())
	go func() {
		defer close(d.served)
		d.serveErr = d.fs.Serve(ctx)
	}()
	return nil
}

// How long to wait for a cache that another weir uses, and how often to try: the weir of a
// mount that has just been unmounted may still be writing.
const (
	inUseTimeout = 2 * time.Second
	inUseTick    = 20 * time.Millisecond
)

// openCache opens the cache, and waits a little if another weir is about to close it.
func openCache(ctx context.Context, o cache.Options) (*cache.Cache, error) {
	c, err := cache.Open(o)
	if !errors.Is(err, weir.ErrInUse) {
		return c, err
	}
	o.Log.Info("waiting for another weir to close the cache", "err", err)
	tick := time.NewTicker(inUseTick)
	defer tick.Stop()
	timeout := time.After(inUseTimeout)
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timeout:
			return nil, fmt.Errorf("%w: unmount that one, or give this one a cache folder of its own", err)
		case <-tick.C:
			if c, err = cache.Open(o); !errors.Is(err, weir.ErrInUse) {
				return c, err
			}
		}
	}
}

// userAgent is the name that weir tells trackers and peers.
func userAgent(version string) string { return "weir/" + cmp.Or(version, "devel") }
