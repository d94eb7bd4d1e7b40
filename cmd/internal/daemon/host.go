package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/sources"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/fs"
)

// host lets programs change the set of torrents through the mount.
type host struct {
	torrents   *torrents
	background *background
}

var _ fs.Host = host{}

// AddFile implements fs.Host.
func (h host) AddFile(ctx context.Context, dir, name string, content []byte) error {
	named, err := sources.ReadDropped(content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var errs []error
	for _, spec := range named.Specs {
		e, known, err := h.torrents.show(ctx, spec, dir, true)
		switch {
		case err != nil:
			errs = append(errs, err)
			continue
		case known:
			errs = append(errs, weir.Errorf(weir.ErrExists, "%s is there already", e.path()))
		}
		h.background.start("record a torrent in the catalogue", func() error { return h.torrents.record(spec.InfoHash) })
	}
	for _, url := range named.URLs {
		// Not while a program waits in close(2).
		h.background.start("add the torrent at a URL", func() error { return h.torrents.addURL(h.background.ctx, url, dir) })
	}
	return errors.Join(errs...)
}

// RemoveTorrent implements fs.Host. Held pieces are dropped in the background: rm
// doesn't wait for that.
func (h host) RemoveTorrent(ctx context.Context, ih weir.InfoHash) error {
	e := h.torrents.byHash(ih)
	if e == nil {
		return weir.Errorf(weir.ErrNotFound, "no torrent has the info hash %s", ih)
	}
	if err := h.torrents.detach(ctx, ih); err != nil {
		return err
	}
	h.background.start("drop what was held of a removed torrent", func() error { return h.torrents.forget(context.WithoutCancel(ctx), e, false) })
	return nil
}

// MoveTorrent implements fs.Host.
func (h host) MoveTorrent(ctx context.Context, ih weir.InfoHash, dir, name string) error {
	_, err := h.torrents.move(ctx, ih, dir, name)
	return err
}

// MakeFolder implements fs.Host.
func (h host) MakeFolder(ctx context.Context, dir string) error {
	return h.torrents.makeFolder(ctx, dir)
}

// RemoveFolder implements fs.Host.
func (h host) RemoveFolder(ctx context.Context, dir string) error {
	return h.torrents.removeFolder(ctx, dir)
}

// MoveFolder implements fs.Host.
func (h host) MoveFolder(ctx context.Context, from, to string) error {
	return h.torrents.moveFolder(ctx, from, to)
}

// ByHash implements fs.Host.
func (h host) ByHash(ctx context.Context, ih weir.InfoHash) error {
	_, _, err := h.torrents.show(ctx, &source.Spec{InfoHash: ih}, "", true)
	if err == nil {
		h.background.start("record a torrent in the catalogue", func() error { return h.torrents.record(ih) })
	}
	return err
}
