package discover

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
)

// ask announces to the tier's tracker whose turn it is.
func (s *Search) ask(ctx context.Context, t *tracker.Tier, now time.Time) {
	facts := s.facts()
	s.presence.mu.Lock()
	e, event := t.Begin(now, facts.Left)
	s.presence.mu.Unlock()
	req := s.d.request(t.Hash, e, event, facts)
	if s.t.WantMore() {
		req.NumWant = wantedPeers
	}
	s.spawn(ctx, func() func() {
		done, ok := s.d.slot(ctx)
		if !ok {
			return func() {}
		}
		defer done()
		a, err := s.announce(ctx, t, e, req)
		return func() { s.asked(ctx, t, e, req, a, err) }
	})
}

// facts are what the trackers are told now.
func (s *Search) facts() Facts {
	return Facts{Left: s.t.Left(), Downloaded: s.t.Downloaded(), Uploaded: s.t.Uploaded(), Paused: s.t.Paused()}
}

// announce tells a tracker of us over all networks side by side, and returns the first
// answer. The other answers come to the owner later.
func (s *Search) announce(ctx context.Context, t *tracker.Tier, e *tracker.Entry, req tracker.Request) (first tracker.Answer, err error) {
	type result struct {
		a   tracker.Answer
		err error
	}
	networks := s.d.trackers.Networks(ctx, e.URL)
	results := make(chan result, len(networks))
	for _, network := range networks {
		req := req
		req.Network = network
		go func() {
			a, err := s.d.trackers.Announce(ctx, e.URL, req)
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

// found hands out the peers that a tracker named: those that it knows by a name of DNS
// once they are resolved.
func (s *Search) found(ctx context.Context, t *tracker.Tier, e *tracker.Entry, a tracker.Answer) {
	report := func(peers []netip.AddrPort) {
		if len(peers) > 0 {
			s.t.Found(hostPorts(peers), Via{Source: FromTracker, Tracker: e.Name, InfoHash: t.Hash})
		}
	}
	report(a.Peers)
	if len(a.Named) > 0 && s.t.WantMore() {
		s.spawn(ctx, func() func() {
			peers := s.d.trackers.Resolve(ctx, a.Named, a.FromLoopback)
			return func() { report(peers) }
		})
	}
}

// asked takes a tracker's answer or the error.
func (s *Search) asked(ctx context.Context, t *tracker.Tier, e *tracker.Entry, req tracker.Request, a tracker.Answer, err error) {
	if ctx.Err() != nil {
		return
	}
	now, before := time.Now(), e.LastErr()
	s.presence.mu.Lock()
	if err != nil {
		t.Failed(e, now, err, rand.Float64())
	} else {
		t.Answered(e, now, req.Event, req.Left, a)
	}
	s.presence.mu.Unlock()
	var refused *tracker.Refusal
	switch {
	case err == nil:
		if a.Warning != "" {
			s.log.Debug("tracker warns", "tracker", e.Name, "warning", a.Warning)
		}
	case errors.As(err, &refused) && before != err.Error(): // once, not at every try
		s.log.Warn("tracker refuses", "tracker", e.Name, "err", err)
	default:
		s.log.Debug("tracker did not answer", "tracker", e.Name, "err", err)
	}
	if err == nil {
		s.found(ctx, t, e, a)
		s.askSize(ctx, t, e, a)
	}
	if err == nil && s.t.Left() == 0 { // it may have completed while we asked
		s.presence.mu.Lock()
		t.Completed(now)
		s.presence.mu.Unlock()
	}
}

// askSize scrapes a tracker (BEP 48) whose answer to an announce doesn't tell the size of
// the swarm.
func (s *Search) askSize(ctx context.Context, t *tracker.Tier, e *tracker.Entry, a tracker.Answer) {
	if a.Seeds >= 0 || a.Leeches >= 0 || e.NoScrape {
		return
	}
	s.spawn(ctx, func() func() {
		done, ok := s.d.slot(ctx)
		if !ok {
			return func() {}
		}
		defer done()
		counts, err := s.d.trackers.Scrape(ctx, e.URL, []weir.InfoHash{t.Hash})
		return func() {
			if err != nil {
				e.NoScrape = errors.Is(err, weir.ErrNotFound)
				s.log.Debug("tracker not scraped", "tracker", e.Name, "err", err)
				return
			}
			s.presence.mu.Lock()
			e.Counted(counts[0])
			s.presence.mu.Unlock()
		}
	})
}

// hostPorts turns addresses into what a dialer takes.
func hostPorts(addrs []netip.AddrPort) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}
