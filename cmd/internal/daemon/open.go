package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/fs/mountpoint"
)

// Open mounts and serves; it returns when the catalogue and all sources are shown.
// Sources on this machine are checked before anything is mounted, those at a URL
// are fetched beside all other work and join when they are there. The first thing
// that goes wrong ends Open with its error; ctx ends it too. Close is needed in
// any case.
func (d *Daemon) Open(ctx context.Context) error {
	// What costs nothing comes first: a .torrent may take a second to read.
	if _, err := mountpoint.Check(d.opt.Mountpoint, d.opt.AllowNonEmpty); err != nil {
		return err
	}
	peers, err := parsePeers(d.opt.Peers)
	if err != nil {
		return err
	}
	fetching, stopFetching := context.WithCancel(ctx)
	local, remote := split(d.opt.Sources)
	fetched := make(chan loaded, 2)
	var fetchers sync.WaitGroup
	defer fetchers.Wait()
	defer stopFetching()
	fetchers.Go(func() { fetched <- load(fetching, d.typed(), remote) })
	here, found := read(local)
	if here.err != nil {
		return here.err
	}
	fetchers.Go(func() { fetched <- load(fetching, d.found(), found) })

	// The cache opens while the engine listens and looks for the first peers.
	var opening errgroup.Group
	d.store = newLateStore()
	opening.Go(func() error { return d.openCache(ctx) })
	early := d.openEngine(peers)
	if early == nil {
		early = d.join(here.specs)
	}
	if err := errors.Join(early, opening.Wait()); err != nil {
		return err
	}
	if err := errors.Join(d.openControl(), d.openMetrics()); err != nil {
		return err
	}
	// Mounted when all is in it, so that nobody sees half of it.
	if err := d.restore(); err != nil {
		return err
	}
	if err := d.showSources(ctx, here.specs); err != nil {
		return err
	}
	if err := d.fs.Mount(); err != nil {
		return err
	}
	d.serve()
	if d.control != nil {
		d.control.Serve()
	}
	d.behind.Go(d.observe)
	if err := d.watch(); err != nil {
		return err
	}
	for range cap(fetched) {
		there := <-fetched
		if there.err != nil {
			return there.err
		}
		if err := d.showSources(ctx, there.specs); err != nil {
			return err
		}
	}
	return nil
}

// openCache opens the cache and hands it to those who wait for it.
func (d *Daemon) openCache(ctx context.Context) error {
	c, err := openCache(ctx, cache.Options{
		Dir: d.opt.CacheDir, LimitBytes: d.opt.CacheBytes, Mountpoint: d.opt.Mountpoint, Control: d.opt.Control,
		MinFreeBytes: d.opt.MinFree.Bytes, MinFreePercent: d.opt.MinFree.Percent,
		Log: d.log, Changed: d.heldChanged, Protect: d.readers.budget.Protect,
	})
	if err != nil {
		d.store.fail(err)
		return err
	}
	d.cache = c
	d.store.open(c)
	return nil
}

// openEngine opens the engine, which needs the cache only when it has something
// to keep.
func (d *Daemon) openEngine(peers []string) error {
	var routers []string
	if d.opt.DHT {
		routers = engine.PublicRouters()
	}
	e := engine.New(engine.Options{
		DHT: d.opt.DHT, DHTBootstrap: routers, LSD: d.opt.LSD,
		Store: d.store, StoreReady: d.store.ready, Log: d.log, Listen: d.opt.Listen, Encryption: d.opt.Encryption, Peers: peers, UserAgent: userAgent(d.opt.Version),
		AllowPrivate: d.opt.AllowPrivate, MaxMetadata: d.opt.MaxMetadata, UploadLimit: d.opt.UploadLimit, DownloadLimit: d.opt.DownloadLimit,
	})
	d.engine = e // for Close, which it needs even now
	if err := e.Open(); err != nil {
		return err
	}
	d.log.Debug("engine is open", "port", e.Port())
	return nil
}

// join begins to look for the peers of a few torrents while the catalogue is read
// and the mount is made.
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
		e, _, err := d.show(ctx, spec, "", warm)
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
	// Behind: each is synced to the disk.
	d.aside("keep torrents in the catalogue", func() error {
		for _, e := range changed {
			if err := d.record(e.InfoHash()); err != nil {
				return fmt.Errorf("%s will be gone after a restart: %w", e.path(), err)
			}
		}
		return nil
	})
	return nil
}

// openControl makes the control socket: whoever sees the mount finds it, and waits
// there until all is ready.
func (d *Daemon) openControl() error {
	if d.opt.Control == "" {
		return nil
	}
	s := control.New(control.Options{
		Socket: d.opt.Control, Mount: d, Cache: control.NewCache(d.cache, d.opt.CacheDir, d.opt.Mountpoint), Log: d.log,
	})
	if err := s.Listen(); err != nil {
		return err
	}
	d.control = s
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
