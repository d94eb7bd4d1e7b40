// Package sources reads the torrents that users and programs name: on the command line, in
// files that are copied into the mount or appear in watched folders, and over the control
// socket.
//
// What must not live here: what is done with them.
package sources

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// Split separates the sources that need a network from the others.
func Split(args []string) (local, remote []string) {
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

// Loaded is the result of loading some sources.
type Loaded struct {
	Specs []*source.Spec
	Err   error // of all sources that could not be loaded
}

// Read reads all sources on this machine, at once, and returns the URLs in them.
func Read(args []string) (here Loaded, urls []string) {
	named, errs := make([]*source.Contents, len(args)), make([]error, len(args))
	var reading sync.WaitGroup
	for i, arg := range args {
		reading.Go(func() { named[i], errs[i] = source.Read(arg) })
	}
	reading.Wait()
	if here.Err = errors.Join(errs...); here.Err != nil {
		return here, nil
	}
	for _, c := range named {
		here.Specs = append(here.Specs, c.Specs...)
		urls = append(urls, c.URLs...)
	}
	return here, urls
}

// Load fetches all sources at URLs, at once.
func Load(ctx context.Context, l source.Loader, args []string) Loaded {
	specs, errs := make([]*source.Spec, len(args)), make([]error, len(args))
	var loading sync.WaitGroup
	for i, arg := range args {
		loading.Go(func() { specs[i], errs[i] = l.Load(ctx, arg) })
	}
	loading.Wait()
	return Loaded{specs, errors.Join(errs...)}
}

// Loaders load torrents by their names.
type Loaders struct {
	AllowPrivate bool // what is named may lead to this machine and its network
}

// Typed loads what the user named on a command line or in the settings.
func (l Loaders) Typed() source.Loader { return source.Loader{AllowPrivate: l.AllowPrivate} }

// Found loads URLs in a file in the mount or a watched folder. Browsers put files there, so
// the URLs may not be the user's.
func (l Loaders) Found() source.Loader {
	return source.Loader{Found: true, AllowPrivate: l.AllowPrivate}
}

// LoadNamed loads what another process names: a magnet, a URL or an info hash, and
// never a file.
func (l Loaders) LoadNamed(ctx context.Context, arg string) (*source.Spec, error) {
	arg = strings.TrimSpace(arg)
	scheme, _, ok := strings.Cut(arg, ":")
	switch scheme = strings.ToLower(scheme); {
	case ok && (scheme == "magnet" || scheme == "http" || scheme == "https"): // its errors say more
		return l.Typed().Load(ctx, arg)
	}
	spec, err := source.ParseName(arg)
	if err != nil {
		return nil, weir.Errorf(weir.ErrInvalid, "%.80q is neither a magnet, a URL nor an info hash; send a .torrent file as the body of the request", arg)
	}
	return spec, nil
}
