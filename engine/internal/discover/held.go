package discover

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/weirfs/weir/engine/internal/discover/schedule"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
)

const (
	// heldAtOnce bounds the held torrents that are announced to trackers at once.
	heldAtOnce = 8
	// notReadyRetry is when a torrent is looked at again whose facts are not known yet.
	notReadyRetry = 10 * time.Second
)

// Held is what a Discoverer asks of a torrent that is held, and that nobody uses. Its
// methods are called on goroutines of the Discoverer, one at a time, and may read a disk.
type Held interface {
	// Facts returns what there is to announce. If there is nothing, or not any more,
	// there is false, and the torrent is left alone. If that is not known yet, ready is.
	Facts() (f Facts, there, ready bool)
}

// heldTorrents announces the torrents that are held: at their trackers, in the DHT and in
// the local network. One goroutine does what schedule decides; there is none for a torrent.
type heldTorrents struct {
	d    *Discoverer
	wake chan struct{} // holds one
	jobs chan struct{} // holds a token per torrent that is announced to trackers

	mu       sync.Mutex
	held     map[*Presence]Held
	schedule schedule.Schedule[*Presence]
	joined   bool // the DHT, for lookups
	looking  bool // a lookup is under way
}

// Hold announces a torrent until Release, or until there is nothing to announce. A search
// that begins meanwhile takes over; call Hold again when it has ended. It does not wait.
func (d *Discoverer) Hold(p *Presence, t Held) {
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[p] = t
	if p.hasNewTrackers() {
		h.schedule.Remove(p) // now, and not only when the others want to hear of it
	}
	h.schedule.Add(p, time.Now())
	h.poke()
}

// Release ends Hold, and tells the trackers that know of us that we leave: wait waits for
// that, at most about a second. A search that is under way does so when it ends.
func (d *Discoverer) Release(p *Presence, facts func() Facts) (wait func()) {
	d.held.drop(p)
	if p.searched() || !p.greeted() || !d.enter() {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer d.runs.Done()
		defer close(done)
		if p.own(d.ctx) {
			d.goodbye(context.WithoutCancel(d.ctx), p, facts())
			p.disown()
		}
	}()
	return func() { <-done }
}

// Holds returns how many torrents are announced though nobody uses them.
func (d *Discoverer) Holds() int {
	d.held.mu.Lock()
	defer d.held.mu.Unlock()
	return len(d.held.held)
}

// drop leaves a torrent alone.
func (h *heldTorrents) drop(p *Presence) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, p)
	h.schedule.Remove(p)
	if h.d.lsd != nil {
		for _, ih := range p.hashes {
			h.d.lsd.Quit(ih)
		}
	}
}

func (h *heldTorrents) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run does what is due until the Discoverer is closed.
func (h *heldTorrents) run() {
	ctx := h.d.ctx
	var running sync.WaitGroup
	defer h.d.runs.Done()
	defer h.leaveDHT()
	defer running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		h.lookup(ctx, &running)
		timer.Reset(time.Until(h.next(time.Now())))
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
			continue
		case <-timer.C:
		}
		select {
		case h.jobs <- struct{}{}:
		case <-ctx.Done():
			return
		}
		h.mu.Lock()
		p, ok := h.schedule.Tracker(time.Now())
		t := h.held[p]
		h.mu.Unlock()
		if !ok {
			<-h.jobs
			continue
		}
		running.Go(func() {
			h.announce(ctx, p, t)
			<-h.jobs
			h.poke()
		})
	}
}

// next returns when to look again, unless poked before.
func (h *heldTorrents) next(now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.schedule.NextTracker()
	if h.d.dht != nil && !h.looking && h.d.opt.Port() > 0 {
		switch lookup, some := h.schedule.NextLookup(); {
		case some && !h.d.dht.Ready():
			if soon := now.Add(notReadyRetry); !ok || soon.Before(at) {
				at, ok = soon, true
			}
		case some && (!ok || lookup.Before(at)):
			at, ok = lookup, true
		}
	}
	if !ok {
		return now.Add(time.Hour)
	}
	return at
}

// announce asks the trackers of a torrent that are due, and says where it is to be announced
// from now on.
func (h *heldTorrents) announce(ctx context.Context, p *Presence, t Held) {
	ctx, yield := context.WithCancel(ctx)
	defer yield()
	if !p.tryOwn(yield) { // a search began
		h.drop(p)
		return
	}
	defer p.disown()
	f, there, ready := t.Facts()
	switch {
	case !ready:
		h.set(p, schedule.Want{Trackers: time.Now().Add(notReadyRetry)})
		return
	case !there:
		h.drop(p)
		h.d.goodbye(ctx, p, f)
		return
	}
	for _, tier := range p.tiers {
		h.askTier(ctx, p, tier, f)
	}
	if ctx.Err() != nil {
		h.drop(p)
		return
	}
	if h.d.lsd != nil && !f.Private && h.has(p) {
		for _, ih := range p.hashes {
			h.d.lsd.Hold(ih)
		}
	}
	h.set(p, schedule.Want{Trackers: p.due(), DHT: !f.Private && h.d.dht != nil && h.d.opt.Port() > 0, Listed: p.listed()})
}

func (h *heldTorrents) set(p *Presence, w schedule.Want) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.schedule.Set(p, w, time.Now())
}

func (h *heldTorrents) has(p *Presence) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[p] != nil
}

// askTier asks the trackers of a tier until one answers, if that is due.
func (h *heldTorrents) askTier(ctx context.Context, p *Presence, tier *tracker.Tier, f Facts) {
	for ctx.Err() == nil {
		p.mu.Lock()
		at, ok := tier.Due(false)
		now := time.Now()
		if !ok || at.After(now) {
			p.mu.Unlock()
			return
		}
		e, event := tier.Begin(now, f.Left)
		p.mu.Unlock()
		req := h.d.request(tier.Hash, e, event, f)
		a, err := h.d.tell(ctx, e, req)
		if ctx.Err() != nil {
			return
		}
		now = time.Now()
		p.mu.Lock()
		if err != nil {
			tier.Failed(e, now, err, rand.Float64())
		} else {
			tier.Answered(e, now, req.Event, req.Left, a)
		}
		p.mu.Unlock()
		if err != nil {
			h.d.log.Debug("tracker did not answer", "torrent", tier.Hash, "tracker", e.Name, "err", err)
		}
	}
}

// tell announces us over all networks, one after the other, and returns an answer if there is
// one.
func (d *Discoverer) tell(ctx context.Context, e *tracker.Entry, req tracker.Request) (a tracker.Answer, err error) {
	done, ok := d.slot(ctx)
	if !ok {
		return a, ctx.Err()
	}
	defer done()
	answered := false
	for _, network := range d.trackers.Networks(ctx, e.URL) {
		req.Network = network
		one, failed := d.trackers.Announce(ctx, e.URL, req)
		switch {
		case failed == nil && !answered:
			a, answered = one, true
		case failed != nil:
			err = failed
		}
	}
	if answered {
		err = nil
	}
	return a, err
}

// lookup announces a torrent in the DHT, if one is due and none is under way.
func (h *heldTorrents) lookup(ctx context.Context, running *sync.WaitGroup) {
	d := h.d
	port := d.opt.Port()
	if d.dht == nil || !d.dht.Ready() || port == 0 { // without a port there is nothing to announce
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.looking {
		return
	}
	p, ok := h.schedule.Lookup(time.Now())
	if !ok {
		return
	}
	if !h.joined {
		if err := d.dht.Join(); err != nil {
			d.log.Debug("DHT does not start", "err", err)
			return // until the next one is due
		}
		h.joined = true
	}
	h.looking = true
	running.Go(func() {
		for _, ih := range p.hashes {
			if _, err := d.dht.Lookup(ctx, ih, port, true, func([]netip.AddrPort) {}); err != nil {
				d.log.Debug("DHT lookup", "torrent", ih, "err", err)
			}
		}
		h.mu.Lock()
		h.looking = false
		h.mu.Unlock()
		h.poke()
	})
}

func (h *heldTorrents) leaveDHT() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.joined {
		h.joined = false
		h.d.dht.Leave()
	}
}
