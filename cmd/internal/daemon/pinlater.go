package daemon

import (
	"context"
	"slices"

	"github.com/weirfs/weir"
)

// A pin of a magnet without metadata is in its record, and is carried out when the
// metadata comes. Somebody who waits for it keeps the torrent warm until then.

// awaiting is a wait for the metadata of a torrent that has such pins.
type awaiting struct{ stop context.CancelFunc }

// pinLater notes that a path beneath a torrent is to be pinned. The caller has the
// turn to pin.
func (d *Daemon) pinLater(e *entry, inside string) error {
	d.mu.Lock()
	if !slices.ContainsFunc(e.rec.Pin, func(p []byte) bool { return string(p) == inside }) {
		e.rec.Pin = append(slices.Clip(e.rec.Pin), []byte(inside))
	}
	d.awaitPins(e)
	d.mu.Unlock()
	return d.record(e.InfoHash())
}

// unpinLater undoes pinLater for a path and what lies beneath it. The caller has the
// turn to pin.
func (d *Daemon) unpinLater(e *entry, inside string) error {
	d.mu.Lock()
	before := len(e.rec.Pin)
	e.rec.Pin = slices.DeleteFunc(slices.Clone(e.rec.Pin), func(p []byte) bool { return within(string(p), inside) })
	changed := len(e.rec.Pin) < before
	if len(e.rec.Pin) == 0 && e.awaiting != nil {
		e.awaiting.stop()
		e.awaiting = nil
	}
	d.mu.Unlock()
	if !changed {
		return nil
	}
	return d.record(e.InfoHash())
}

// awaitPins has pins carried out when the metadata is there. The caller holds mu.
func (d *Daemon) awaitPins(e *entry) {
	if len(e.rec.Pin) == 0 || e.awaiting != nil {
		return
	}
	ctx, stop := context.WithCancel(d.ctx)
	a := &awaiting{stop}
	e.awaiting = a
	d.behind.Go(func() {
		defer stop()
		info, err := e.WaitInfo(ctx)
		d.mu.Lock()
		if e.awaiting == a {
			e.awaiting = nil // whoever adds a pin from now on waits for himself
		}
		d.mu.Unlock()
		if err == nil {
			err = d.pinAwaited(e, info)
		}
		if err != nil && ctx.Err() == nil { // else it is undone, or carried out after a restart
			d.log.Debug("a pin that waits for metadata", "torrent", e.InfoHash(), "err", err)
		}
	})
}

// pinAwaited carries out the pins of a torrent whose metadata has come.
func (d *Daemon) pinAwaited(e *entry, info *weir.TorrentInfo) error {
	if err := d.pinTurn.take(d.ctx); err != nil {
		return err
	}
	defer d.pinTurn.give()
	d.mu.RLock()
	paths, removed := e.rec.Pin, d.entries.byHash[e.InfoHash()] != e
	d.mu.RUnlock()
	if removed || len(paths) == 0 {
		return nil
	}
	for _, p := range paths {
		t, err := d.locateSelected(e, info, string(p))
		if err == nil {
			_, err = d.pin([]*target{t})
		}
		if d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		if err != nil {
			d.log.Error("what was pinned before its metadata came is not kept", "torrent", e.InfoHash(), "path", weir.Printable(string(p)), "err", err)
		}
	}
	d.mu.Lock()
	e.rec.Pin = nil
	d.mu.Unlock()
	return d.record(e.InfoHash())
}
