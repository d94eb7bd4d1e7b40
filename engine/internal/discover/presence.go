package discover

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
)

// Presence is what the trackers of a torrent know of us. It outlives a search, so that
// between searches the torrent goes on being announced (see Discoverer.Hold) when its
// trackers want it. One at a time announces, a search before anybody else. It is safe for
// concurrent use.
type Presence struct {
	hashes []weir.InfoHash

	owner chan struct{} // holds a token while somebody announces

	mu    sync.Mutex
	yield context.CancelFunc // ends what the owner does; nil if that is a search
	tiers []*tracker.Tier    // changed by the owner, under mu
	added [][]string         // tiers of URLs that are not in tiers yet
}

// NewPresence returns the presence of a torrent at trackers that know nothing of us.
func NewPresence(hash weir.InfoHash, trackers [][]string) *Presence {
	return newPresence([]weir.InfoHash{hash}, trackers)
}

func newPresence(hashes []weir.InfoHash, trackers [][]string) *Presence {
	p := &Presence{hashes: hashes, owner: make(chan struct{}, 1)}
	p.AddTrackers(trackers)
	p.takeTrackers()
	return p
}

// AddTrackers adds tiers of trackers. They are asked from the next announce on.
func (p *Presence) AddTrackers(trackers [][]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.added = append(p.added, trackers...)
}

// hasNewTrackers reports whether trackers were added that were not asked yet.
func (p *Presence) hasNewTrackers() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.added) > 0
}

// takeTrackers makes tiers of what was added. The caller owns p, or nobody else knows it.
func (p *Presence) takeTrackers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := len(p.tiers) / len(p.hashes)
	for _, h := range p.hashes {
		for i, urls := range p.added {
			urls = slices.Clone(urls)
			rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
			p.tiers = append(p.tiers, tracker.NewTier(first+i, h, urls))
		}
	}
	p.added = nil
}

// TrackerStatus is what is known of a tracker.
type TrackerStatus = tracker.Status

// Status returns the state of all trackers.
func (p *Presence) Status() []TrackerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []tracker.Status
	for _, t := range p.tiers {
		out = append(out, t.Status()...)
	}
	return out
}

// own waits until nobody else announces; whoever does that for a held torrent gives way. It
// reports false if ctx ended before.
func (p *Presence) own(ctx context.Context) bool {
	p.mu.Lock()
	if p.yield != nil {
		p.yield()
	}
	p.mu.Unlock()
	select {
	case p.owner <- struct{}{}:
		p.takeTrackers()
		return true
	case <-ctx.Done():
		return false
	}
}

// tryOwn is own for a torrent that is held: it does not wait. yield is called when it has to
// give way.
func (p *Presence) tryOwn(yield context.CancelFunc) bool {
	p.mu.Lock()
	select {
	case p.owner <- struct{}{}:
		p.yield = yield
	default:
		p.mu.Unlock()
		return false
	}
	p.mu.Unlock()
	p.takeTrackers()
	return true
}

// searched reports whether a search announces.
func (p *Presence) searched() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.owner) > 0 && p.yield == nil
}

// disown lets others announce.
func (p *Presence) disown() {
	p.mu.Lock()
	p.yield = nil
	for _, t := range p.tiers {
		t.Interrupted()
	}
	p.mu.Unlock()
	<-p.owner
}

// listed reports whether a tracker that answered last knows of us.
func (p *Presence) listed() bool {
	return slices.ContainsFunc(p.Status(), func(s tracker.Status) bool { return s.Err == "" && !s.Answered.IsZero() })
}

// greeted reports whether a tracker knows of us, and may have to be told that we leave.
func (p *Presence) greeted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.tiers, func(t *tracker.Tier) bool {
		return slices.ContainsFunc(t.Entries(), func(e *tracker.Entry) bool { return e.Started })
	})
}

// due returns when the first tier is to be asked, the zero time if none ever is.
func (p *Presence) due() (first time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tiers {
		if at, ok := t.Due(false); ok && (first.IsZero() || at.Before(first)) {
			first = at
			if first.IsZero() {
				first = first.Add(1) // at once, which is not never
			}
		}
	}
	return first
}

// Facts are what a tracker is told of a torrent, and what decides who may hear of it.
type Facts struct {
	Left, Downloaded, Uploaded int64 // bytes
	// Paused says that not all is there, and nothing is fetched (BEP 21).
	Paused bool
	// Private torrents are told to their trackers only (BEP 27).
	Private bool
}

// eventOf adds Paused to what a tier wants to tell.
func (f *Facts) eventOf(event tracker.Event) tracker.Event {
	if event == tracker.None && f.Paused && f.Left > 0 {
		return tracker.Paused
	}
	return event
}

func (d *Discoverer) request(hash weir.InfoHash, e *tracker.Entry, event tracker.Event, f Facts) tracker.Request {
	return tracker.Request{
		Hash: hash, PeerID: d.opt.PeerID, Port: d.opt.Port(), Key: d.key, TrackerID: e.TrackerID,
		Uploaded: f.Uploaded, Downloaded: f.Downloaded, Left: f.Left, Event: f.eventOf(event),
	}
}

// goodbye tells the trackers that know of us that we leave; at most goodbyeTimeout. The
// caller owns p.
func (d *Discoverer) goodbye(ctx context.Context, p *Presence, f Facts) {
	if !p.greeted() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, t := range p.tiers {
		for _, e := range t.Entries() {
			if !e.Started {
				continue
			}
			req := d.request(t.Hash, e, tracker.Stopped, f)
			wg.Go(func() {
				done, ok := d.slot(ctx)
				if !ok {
					return
				}
				defer done()
				for _, network := range d.trackers.Networks(ctx, e.URL) {
					req := req
					req.Network = network
					wg.Go(func() {
						if _, err := d.trackers.Announce(ctx, e.URL, req); err != nil {
							d.log.Debug("tracker not told that we leave", "torrent", t.Hash, "tracker", e.Name, "err", err)
						}
					})
				}
			})
		}
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tiers {
		t.Left()
	}
}

// slot waits until a tracker may be asked: all torrents together ask a bounded number at
// once. The caller calls done.
func (d *Discoverer) slot(ctx context.Context) (done func(), ok bool) {
	select {
	case d.asking <- struct{}{}:
		return func() { <-d.asking }, true
	case <-ctx.Done():
		return nil, false
	}
}
