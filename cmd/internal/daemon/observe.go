package daemon

import (
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine"
)

const observeTick = time.Second

// heldChanged tells the mount that a piece came or went, and the swarm that one
// went. It is called by the cache, for each piece.
func (d *Daemon) heldChanged(id weir.PieceID, held bool) {
	e := d.byHash(id.Torrent)
	if e == nil {
		return // of a torrent that is not mounted now
	}
	if !held {
		e.Evicted(id.Index)
	}
	e.haveChanged.Store(true)
	// By the shape: a cold torrent's metadata is not read for this.
	if s := e.shape.Load(); s != nil && id.Index < s.skeleton.NumPieces() {
		d.fs.HeldChanged(id.Torrent, s.skeleton.PieceRange(id.Index))
	}
}

// observe looks at all torrents once a second: for metadata that has arrived, for
// what is to be told to listeners, and for pins that are fetched.
func (d *Daemon) observe() {
	tick := time.NewTicker(observeTick)
	defer tick.Stop()
	for {
		select {
		case <-d.ctx.Done():
			d.look()
			return
		case <-tick.C:
			d.look()
		}
	}
}

func (d *Daemon) look() {
	for _, e := range d.list() {
		d.learnShape(e)
		if e.haveChanged.Swap(false) {
			d.tell(d.event(api.EventHave, e))
			// A pinned piece may have come or gone.
			d.mu.RLock()
			pinning := e.pins != nil
			d.mu.RUnlock()
			if pinning || d.ctx.Err() == nil && len(d.cache.Pinned(e.InfoHash())) > 0 {
				e.pinsChanged.Store(true)
			}
		}
		s := e.Stats()
		why := ""
		if s.State == engine.StateStuck {
			why = s.Why
		}
		if (why == "") != (e.stuck == "") {
			kind := api.EventStuck
			if why == "" {
				kind = api.EventUnstuck
			}
			ev := d.event(kind, e)
			ev.Wait = why
			d.tell(ev)
		}
		e.stuck = why
	}
	d.recordTouched()
	if d.ctx.Err() == nil {
		d.lookAtPins()
	}
}

// learnShape keeps what a magnet's metadata says once it has arrived.
func (d *Daemon) learnShape(e *entry) {
	d.mu.RLock()
	had := e.rec.Shape != nil
	d.mu.RUnlock()
	if had {
		return
	}
	s := e.known()
	if s == nil {
		return
	}
	info := e.Info()
	if info == nil {
		return
	}
	d.mu.Lock()
	e.rec.Shape = newRecShape(info)
	e.rec.Shape.Created = s.Created
	d.mu.Unlock()
	d.tell(d.event(api.EventMetadata, e))
	if err := d.record(e.InfoHash()); err != nil {
		d.log.Warn("a torrent's metadata is not in the catalogue", "torrent", e.InfoHash(), "err", err)
	}
}

// event returns what listeners are told of a torrent.
func (d *Daemon) event(kind api.EventKind, e *entry) api.Event {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return api.Event{Kind: kind, InfoHash: e.InfoHash().String(), Path: e.path(), SizeBytes: e.rec.size(), HaveBytes: e.have()}
}
