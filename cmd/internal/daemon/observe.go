package daemon

import (
	"context"
	"time"

	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine"
)

const observeTick = time.Second

// observer polls all torrents, publishes events and refreshes pins.
type observer struct {
	ctx      context.Context // of the daemon
	torrents *torrents
	content  *content
	cache    *cache.Cache
	events   *events
}

// filesEvery is how often changed files are looked at again, in polls.
const filesEvery = 10

// run polls once a second until the daemon ends.
func (o *observer) run() {
	tick := time.NewTicker(observeTick)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-o.ctx.Done():
			o.poll()
			return
		case <-tick.C:
			o.poll()
		}
		if n%filesEvery == 0 {
			o.torrents.lookAtFiles()
		}
	}
}

func (o *observer) poll() {
	for _, e := range o.torrents.list() {
		o.torrents.learnShape(e)
		if e.heldChangedSinceLook.Swap(false) {
			o.events.publish(o.torrents.event(api.EventHave, e))
			sharedEntry{e, o.torrents}.look()
			// A pinned piece may have come or gone.
			o.torrents.mu.RLock()
			pinning := e.pins != nil
			o.torrents.mu.RUnlock()
			if pinning || o.ctx.Err() == nil && len(o.cache.Pinned(e.InfoHash())) > 0 {
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
			ev := o.torrents.event(kind, e)
			ev.Wait = why
			o.events.publish(ev)
		}
		e.stuck = why
	}
	o.torrents.recordTouched()
	if o.ctx.Err() == nil {
		o.content.refreshPins()
	}
}
