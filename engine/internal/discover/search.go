package discover

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
)

// Times of a search.
const (
	goodbyeTimeout = time.Second // to tell the trackers that we leave
	wantedPeers    = 100

	dhtInterval    = 15 * time.Minute
	dhtMinInterval = 2 * time.Minute // when peers are wanted
)

// Search finds peers for one warm torrent.
type Search struct {
	d        *Discoverer
	t        Torrent
	hashes   []weir.InfoHash
	presence *Presence
	log      *slog.Logger
	poked    chan struct{}  // holds one
	results  chan func()    // of work on other goroutines; the owner runs them
	heard    chan heardPeer // from LSD
	wg       sync.WaitGroup

	// What follows belongs to the goroutine of Run.
	dht      dhtState
	leaveLSD []func() // nil while we take no part in it
}

// heardPeer is a peer that told the local network of a torrent.
type heardPeer struct {
	hash weir.InfoHash
	addr netip.AddrPort
}

// dhtState is where a search stands with the DHT.
type dhtState struct {
	joined   bool               // the node counts it as a user
	cancel   context.CancelFunc // of the lookup under way; nil if there is none
	last     time.Time          // the start of the last lookup
	named    int                // nodes that were named until then
	next     time.Time          // of the next lookup
	failures int                // lookups in a row that nobody answered
}

// Search prepares a search; nothing happens until Run.
func (d *Discoverer) Search(t Torrent) *Search {
	t.fill()
	s := &Search{
		d: d, t: t, hashes: t.hashes(),
		log:     d.log.With("torrent", t.InfoHash),
		poked:   make(chan struct{}, 1),
		results: make(chan func()),
		heard:   make(chan heardPeer, 16),
	}
	if s.presence = t.Presence; s.presence == nil {
		s.presence = newPresence(s.hashes, t.Trackers)
	}
	return s
}

// Find is Search and Run in one, for those who need neither Poke nor Status.
func (d *Discoverer) Find(ctx context.Context, t Torrent) { d.Search(t).Run(ctx) }

// Poke says that WantMore, Left, Private or Port may have changed. If more peers
// are wanted, trackers and the DHT are asked as soon as they may be. It never
// waits, and may be called at any time.
func (s *Search) Poke() {
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

// Heard reports whether every tracker has answered, or failed.
func (s *Search) Heard() bool {
	return !slices.ContainsFunc(s.Status(), func(st tracker.Status) bool { return st.Err == "" && st.Answered.IsZero() })
}

// Status returns the state of all trackers.
func (s *Search) Status() []TrackerStatus { return s.presence.Status() }

// Run searches until ctx ends or the Discoverer is closed. It returns when all
// that it started has ended and, unless the torrent Stays, the trackers that know of us were
// told that we leave, which takes at most about a second. It is to be called once.
func (s *Search) Run(ctx context.Context) {
	if !s.d.enter() {
		return
	}
	defer s.d.runs.Done()
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.d.ctx, cancel)()
	if !s.presence.own(run) {
		return
	}
	defer s.presence.disown()
	s.d.held.drop(s.presence) // it is announced by the search now
	s.begin(time.Now())
	s.own(run)
	if s.d.ctx.Err() != nil || !s.t.Stays() {
		s.d.goodbye(context.WithoutCancel(ctx), s.presence, s.facts())
	}
}

// begin has the trackers asked for peers, if there is something to ask peers for.
func (s *Search) begin(now time.Time) {
	if s.t.Left() == 0 {
		return
	}
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	for _, t := range s.presence.tiers {
		t.AtOnce(now)
	}
}

// own is the owner's loop.
func (s *Search) own(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer s.leave()
	for {
		next := s.step(ctx, time.Now())
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case fn := <-s.results:
			fn()
		case h := <-s.heard:
			if s.leaveLSD != nil && s.t.public() {
				s.t.Found([]string{h.addr.String()}, Via{Source: FromLSD, InfoHash: h.hash})
			}
		case <-s.poked:
			s.refresh(time.Now())
		}
	}
}

// leave waits for what spawn began, and leaves the DHT and LSD.
func (s *Search) leave() {
	s.wg.Wait()
	s.leavePublic()
}

// spawn runs work on another goroutine and hands its result to the owner.
func (s *Search) spawn(ctx context.Context, work func() (result func())) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		s.post(ctx, work())
	}()
}

// post has the owner run fn, unless ctx ends first.
func (s *Search) post(ctx context.Context, fn func()) {
	select {
	case s.results <- fn:
	case <-ctx.Done():
	}
}

// refresh takes in what has changed before a Poke.
func (s *Search) refresh(now time.Time) {
	want, left := s.t.WantMore(), s.t.Left()
	s.presence.takeTrackers()
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	for _, t := range s.presence.tiers {
		if want {
			t.Hurry(now)
		}
		if left == 0 {
			t.Completed(now)
		}
	}
	s.retryLookup(now)
	if soon := s.dht.last.Add(dhtMinInterval); want && s.dht.failures == 0 && soon.Before(s.dht.next) {
		s.dht.next = soon
	}
}

// step starts all that is due and returns when to look again.
func (s *Search) step(ctx context.Context, now time.Time) time.Time {
	next := now.Add(time.Hour)
	if s.t.public() {
		next = s.stepPublic(ctx, now, next)
	} else {
		s.closePublic()
	}
	alone := s.t.Alone()
	for _, t := range s.presence.tiers {
		at, ok := t.Due(alone)
		if ok && !at.After(now) {
			s.ask(ctx, t, now)
			at, ok = t.Due(alone)
		}
		if ok && at.Before(next) {
			next = at
		}
	}
	return next
}
