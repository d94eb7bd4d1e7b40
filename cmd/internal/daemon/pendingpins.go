package daemon

import (
	"context"
	"slices"

	"github.com/weirfs/weir"
)

// A pin of a magnet without metadata is kept in its record, and applied when the
// metadata arrives. A goroutine that waits for it keeps the torrent warm until then.

// awaiting is the wait for the metadata of a torrent with such pins.
type awaiting struct{ stop context.CancelFunc }

// addPendingPin records that a path beneath a torrent is to be pinned. The caller holds
// pinning.
func (c *content) addPendingPin(e *entry, inside string) error {
	c.torrents.mu.Lock()
	if !slices.ContainsFunc(e.rec.Pin, func(p []byte) bool { return string(p) == inside }) {
		e.rec.Pin = append(slices.Clip(e.rec.Pin), []byte(inside))
	}
	c.awaitMetadata(e)
	c.torrents.mu.Unlock()
	return c.torrents.record(e.InfoHash())
}

// dropPendingPins undoes addPendingPin for a path and what lies beneath it. The caller
// holds pinning.
func (c *content) dropPendingPins(e *entry, inside string) error {
	c.torrents.mu.Lock()
	before := len(e.rec.Pin)
	e.rec.Pin = slices.DeleteFunc(slices.Clone(e.rec.Pin), func(p []byte) bool { return within(string(p), inside) })
	changed := len(e.rec.Pin) < before
	if len(e.rec.Pin) == 0 && e.awaiting != nil {
		e.awaiting.stop()
		e.awaiting = nil
	}
	c.torrents.mu.Unlock()
	if !changed {
		return nil
	}
	return c.torrents.record(e.InfoHash())
}

// resumePins resumes the pins of the last run: those that wait for metadata, and the
// fetching of missing pinned pieces.
func (c *content) resumePins() {
	for _, e := range c.torrents.list() {
		c.torrents.mu.Lock()
		c.awaitMetadata(e)
		c.torrents.mu.Unlock()
		if len(c.cache.Pinned(e.InfoHash())) > 0 {
			e.pinsChanged.Store(true)
		}
	}
}

// awaitMetadata applies pending pins once the metadata is there. The caller holds mu.
func (c *content) awaitMetadata(e *entry) {
	if len(e.rec.Pin) == 0 || e.awaiting != nil {
		return
	}
	ctx, stop := context.WithCancel(c.background.ctx)
	a := &awaiting{stop}
	e.awaiting = a
	c.background.running.Go(func() {
		defer stop()
		info, err := e.WaitInfo(ctx)
		c.torrents.mu.Lock()
		if e.awaiting == a {
			e.awaiting = nil // a pin that is added from now on starts another wait
		}
		c.torrents.mu.Unlock()
		if err == nil {
			err = c.pinPending(e, info)
		}
		if err != nil && ctx.Err() == nil { // else it is undone, or carried out after a restart
			c.log.Debug("apply a pin that waited for metadata", "torrent", e.InfoHash(), "err", err)
		}
	})
}

// pinPending applies the pending pins of a torrent whose metadata has arrived.
func (c *content) pinPending(e *entry, info *weir.TorrentInfo) error {
	if err := c.pinning.acquire(c.background.ctx); err != nil {
		return err
	}
	defer c.pinning.release()
	c.torrents.mu.RLock()
	paths, removed := e.rec.Pin, c.torrents.entries.byHash[e.InfoHash()] != e
	c.torrents.mu.RUnlock()
	if removed || len(paths) == 0 {
		return nil
	}
	for _, p := range paths {
		t, err := c.locateSelected(e, info, string(p))
		if err == nil {
			_, err = c.pin([]*target{t})
		}
		if c.background.ctx.Err() != nil {
			return c.background.ctx.Err()
		}
		if err != nil {
			c.log.Error("a path that was pinned before the metadata arrived can't be pinned", "torrent", e.InfoHash(), "path", weir.Printable(string(p)), "err", err)
		}
	}
	c.torrents.mu.Lock()
	e.rec.Pin = nil
	c.torrents.mu.Unlock()
	return c.torrents.record(e.InfoHash())
}
