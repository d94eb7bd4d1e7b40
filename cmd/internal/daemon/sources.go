package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine/source"
)

// How long to wait for the cache when another weir holds it, and how often to
// look: the weir of a mount that has just been unmounted may still be writing.
const (
	inUseTimeout = 2 * time.Second
	inUseTick    = 20 * time.Millisecond
)

// openCache opens the cache, waiting a little for a weir that is about to end.
func openCache(ctx context.Context, o cache.Options) (*cache.Cache, error) {
	c, err := cache.Open(o)
	if !errors.Is(err, weir.ErrInUse) {
		return c, err
	}
	o.Log.Info("waiting for another weir to leave the cache", "err", err)
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

// parsePeers checks addresses of the command line.
func parsePeers(addrs []string) ([]string, error) {
	peers := make([]string, len(addrs))
	var errs []error
	for i, a := range addrs {
		var err error
		if peers[i], err = source.ParsePeer(a); err != nil {
			errs = append(errs, err)
		}
	}
	return peers, errors.Join(errs...)
}

// split parts the sources that a network must be asked for from the others.
func split(args []string) (local, remote []string) {
	for _, arg := range args {
		scheme, _, _ := strings.Cut(arg, ":")
		if strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") {
			remote = append(remote, arg)
		} else {
			local = append(local, arg)
		}
	}
	return local, remote
}

// loaded is what became of some sources.
type loaded struct {
	specs []*source.Spec
	err   error // of all sources that could not be loaded
}

// read reads all sources on this machine, at once, and returns the URLs in them.
func read(args []string) (here loaded, urls []string) {
	named, errs := make([]*source.Contents, len(args)), make([]error, len(args))
	var reading sync.WaitGroup
	for i, arg := range args {
		reading.Go(func() { named[i], errs[i] = source.Read(arg) })
	}
	reading.Wait()
	if here.err = errors.Join(errs...); here.err != nil {
		return here, nil
	}
	for _, c := range named {
		here.specs = append(here.specs, c.Specs...)
		urls = append(urls, c.URLs...)
	}
	return here, urls
}

// load fetches all sources at URLs, at once.
func load(ctx context.Context, l source.Loader, args []string) loaded {
	specs, errs := make([]*source.Spec, len(args)), make([]error, len(args))
	var loading sync.WaitGroup
	for i, arg := range args {
		loading.Go(func() { specs[i], errs[i] = l.Load(ctx, arg) })
	}
	loading.Wait()
	return loaded{specs, errors.Join(errs...)}
}

// userAgent is what trackers and peers are told.
func userAgent(version string) string { return "weir/" + cmp.Or(version, "devel") }

// typed loads what the user named on a command line or in the settings.
func (d *Daemon) typed() source.Loader { return source.Loader{AllowPrivate: d.opt.AllowPrivate} }

// found loads what stands in a file that somebody put into the mount or a watched
// folder: browsers do, so nobody knows who named it.
func (d *Daemon) found() source.Loader {
	return source.Loader{Found: true, AllowPrivate: d.opt.AllowPrivate}
}

// loadNamed loads what another process names: a magnet, a URL or an info hash, and
// never a file.
func loadNamed(ctx context.Context, l source.Loader, arg string) (*source.Spec, error) {
	arg = strings.TrimSpace(arg)
	scheme, _, ok := strings.Cut(arg, ":")
	switch scheme = strings.ToLower(scheme); {
	case ok && (scheme == "magnet" || scheme == "http" || scheme == "https"): // its errors say more
		return l.Load(ctx, arg)
	}
	spec, err := source.ParseName(arg)
	if err != nil {
		return nil, fmt.Errorf("%.80q is neither a magnet, a URL nor an info hash; send a .torrent file as the body of the request: %w", arg, weir.ErrInvalid)
	}
	return spec, nil
}
