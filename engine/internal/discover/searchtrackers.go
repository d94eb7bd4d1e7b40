package discover

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/weirfs/weir"
)

// ask announces to the tier's tracker whose turn it is.
func (s *Search) ask(ctx context.Context, t *tier, now time.Time) {
	left := s.t.Left()
	s.mu.Lock()
	e, event := t.begin(now, left)
	s.mu.Unlock()
	req := s.request(t.hash, e, event, left)
	if s.t.WantMore() {
		req.numWant = wantedPeers
	}
	s.spawn(ctx, func() func() {
		done, ok := s.turn(ctx)
		if !ok {
			return func() {}
		}
		defer done()
		a, err := s.announce(ctx, t, e, req)
		return func() { s.asked(ctx, t, e, req, a, err) }
	})
}

// announce tells a tracker of us over all networks side by side, and returns the
// first answer. What the others say comes to the owner later.
func (s *Search) announce(ctx context.Context, t *tier, e *entry, req announceRequest) (first announceAnswer, err error) {
	type result struct {
		a   announceAnswer
		err error
	}
	networks := s.d.networks(ctx, e.url)
	results := make(chan result, len(networks))
	for _, network := range networks {
		req := req
		req.network = network
		go func() {
			a, err := s.d.announce(ctx, e.url, req)
			results <- result{a, err}
		}()
	}
	for waiting := len(networks); waiting > 0; {
		r := <-results // each ends soon after ctx
		waiting--
		if r.err != nil {
			err = r.err
			continue
		}
		if waiting > 0 {
			s.spawn(ctx, func() func() {
				second := <-results
				return func() { s.found(ctx, t, e, second.a) }
			})
		}
		return r.a, nil
	}
	return first, err
}

// found hands out the peers that a tracker told, those that it knows by name when
// they have been looked up.
func (s *Search) found(ctx context.Context, t *tier, e *entry, a announceAnswer) {
	hand := func(peers []netip.AddrPort) {
		if len(peers) > 0 {
			s.t.Found(hostPorts(peers), Via{Source: FromTracker, Tracker: e.name, InfoHash: t.hash})
		}
	}
	hand(a.peers)
	if len(a.named) > 0 && s.t.WantMore() {
		s.spawn(ctx, func() func() {
			peers := s.d.resolve(ctx, a.named, a.local)
			return func() { hand(peers) }
		})
	}
}

// turn waits until a tracker may be asked: not too many are at once, of all
// torrents. The caller calls done.
func (s *Search) turn(ctx context.Context) (done func(), ok bool) {
	select {
	case s.d.asking <- struct{}{}:
		return func() { <-s.d.asking }, true
	case <-ctx.Done():
		return nil, false
	}
}

func (s *Search) request(hash weir.InfoHash, e *entry, event string, left int64) announceRequest {
	return announceRequest{
		hash: hash, peerID: s.d.opt.PeerID, port: s.d.opt.Port(), key: s.d.key, trackerID: e.id,
		uploaded: s.t.Uploaded(), downloaded: s.t.Downloaded(), left: left, event: event,
	}
}

// asked takes a tracker's answer.
func (s *Search) asked(ctx context.Context, t *tier, e *entry, req announceRequest, a announceAnswer, err error) {
	if ctx.Err() != nil {
		return
	}
	now, before := time.Now(), e.lastErr
	s.mu.Lock()
	if err != nil {
		t.failed(e, now, err, rand.Float64())
	} else {
		t.answered(e, now, req.event, req.left, a)
	}
	s.mu.Unlock()
	var refused *refusal
	switch {
	case err == nil:
		if a.warning != "" {
			s.log.Debug("tracker warns", "tracker", e.name, "warning", a.warning)
		}
	case errors.As(err, &refused) && before != err.Error(): // once, not at every try
		s.log.Warn("tracker refuses", "tracker", e.name, "err", err)
	default:
		s.log.Debug("tracker did not answer", "tracker", e.name, "err", err)
	}
	if err == nil {
		s.found(ctx, t, e, a)
		s.size(ctx, t, e, a)
	}
	if err == nil && s.t.Left() == 0 { // it may have completed while we asked
		s.mu.Lock()
		t.completed(now)
		s.mu.Unlock()
	}
}

// size asks a tracker that says nothing of the swarm's size in an announce once
// more (BEP 48).
func (s *Search) size(ctx context.Context, t *tier, e *entry, a announceAnswer) {
	if a.seeds >= 0 || a.leeches >= 0 || e.bare {
		return
	}
	s.spawn(ctx, func() func() {
		done, ok := s.turn(ctx)
		if !ok {
			return func() {}
		}
		defer done()
		counts, err := s.d.scrape(ctx, e.url, []weir.InfoHash{t.hash})
		return func() {
			if err != nil {
				e.bare = errors.Is(err, weir.ErrNotFound)
				s.log.Debug("tracker not scraped", "tracker", e.name, "err", err)
				return
			}
			s.mu.Lock()
			e.seeds, e.leeches = counts[0].Seeds, counts[0].Leeches
			s.mu.Unlock()
		}
	})
}

// goodbye tells the trackers that know of us that we leave.
func (s *Search) goodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	left := s.t.Left()
	var wg sync.WaitGroup
	for _, t := range s.tiers {
		for _, e := range t.entries {
			if !e.started {
				continue
			}
			req := s.request(t.hash, e, eventStopped, left)
			wg.Go(func() {
				done, ok := s.turn(ctx)
				if !ok {
					return
				}
				defer done()
				for _, network := range s.d.networks(ctx, e.url) {
					req := req
					req.network = network
					wg.Go(func() {
						if _, err := s.d.announce(ctx, e.url, req); err != nil {
							s.log.Debug("tracker did not hear that we leave", "tracker", e.name, "err", err)
						}
					})
				}
			})
		}
	}
	wg.Wait()
}
