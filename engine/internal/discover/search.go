package discover

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
)

// Times of a search.
const (
	goodbyeTimeout = time.Second
	wantedPeers    = 100

	dhtInterval    = 15 * time.Minute
	dhtMinInterval = 2 * time.Minute // when peers are wanted
)

// Source is a way to find peers.
type Source uint8

// The sources.
const (
	FromTracker Source = iota + 1
	FromDHT
	FromLSD
)

func (s Source) String() string {
	return [...]string{"unknown", "tracker", "dht", "lsd"}[min(int(s), 3)]
}

// Via tells how peers were found.
type Via struct {
	Source   Source
	Tracker  string        // its name without secrets
	InfoHash weir.InfoHash // what they were found under, and want to hear in the handshake
}

// Torrent is what is to be found, and what to do with it. The functions are
// called from the goroutine of Run only (Left, Downloaded and Uploaded once more
// after its context ended), and must not wait; nil ones count as
// said.
type Torrent struct {
	InfoHash   weir.InfoHash
	InfoHashV2 [32]byte   // of a hybrid or v2 torrent (BEP 52); zero when there is none
	Trackers   [][]string // tiers of URLs (BEP 12)
	// Nodes of the DHT (host:port) that the torrent names (BEP 5). They are asked
	// for it, if Options.Rule lets them.
	Nodes []string

	// Private reports whether the torrent is private (BEP 27) and whether that is
	// known. It is looked at before each use of anything but trackers, and at each
	// Poke. A magnet uses the DHT and LSD until its metadata says that it must not.
	// nil: public.
	Private func() (private, known bool)
	// Left is what we lack, in bytes, > 0 while unknown. nil: 1.
	Left func() int64
	// Downloaded and Uploaded are bytes since the torrent was added. nil: 0.
	Downloaded, Uploaded func() int64
	// Found gets host:port addresses, which are not checked against each other or
	// earlier ones. nil: they are dropped.
	Found func(addrs []string, via Via)
	// WantMore reports whether more peers are of use; without, we are just listed.
	// nil: true.
	WantMore func() bool
	// Alone reports whether there is no peer at all: then a tracker that is slow to
	// answer is not waited for before the next of its tier is asked. nil: false.
	Alone func() bool
}

func (t *Torrent) fill() {
	zero := func() int64 { return 0 }
	if t.Private == nil {
		t.Private = func() (bool, bool) { return false, true }
	}
	if t.Left == nil {
		t.Left = func() int64 { return 1 }
	}
	if t.Downloaded == nil {
		t.Downloaded = zero
	}
	if t.Uploaded == nil {
		t.Uploaded = zero
	}
	if t.Found == nil {
		t.Found = func([]string, Via) {}
	}
	if t.WantMore == nil {
		t.WantMore = func() bool { return true }
	}
	if t.Alone == nil {
		t.Alone = func() bool { return false }
	}
}

// open reports whether others than the trackers may hear of the torrent.
func (t *Torrent) open() bool {
	private, known := t.Private()
	return !private || !known
}

// hashes returns what the torrent is announced as: a hybrid torrent is in two
// swarms (BEP 52).
func (t *Torrent) hashes() []weir.InfoHash {
	out := []weir.InfoHash{t.InfoHash}
	if v2 := weir.InfoHash(t.InfoHashV2[:20]); !v2.IsZero() && v2 != t.InfoHash {
		out = append(out, v2)
	}
	return out
}

// TrackerStatus is the state of one tracker for one info hash.
type TrackerStatus struct {
	Tracker  string // its URL without secrets
	InfoHash weir.InfoHash
	Tier     int       // from 0
	Err      string    // why the last announce failed; empty when it didn't
	Answered time.Time // the last answer; zero when there was none
	Next     time.Time // the next announce of its tier; zero when there will be none, or one is under way
	Seeds    int       // -1 when not told
	Leeches  int       // -1 when not told
	Peers    int       // addresses in the last answer
}

// Search finds peers for one warm torrent.
type Search struct {
	d       *Discoverer
	t       Torrent
	hashes  []weir.InfoHash
	log     *slog.Logger
	poked   chan struct{}  // holds one
	results chan func()    // of what runs beside the owner; run by it
	heard   chan heardPeer // from LSD
	wg      sync.WaitGroup

	// What follows belongs to the goroutine of Run.
	dht   dhtTurn
	local bool // we take part in LSD

	mu    sync.Mutex // guards the tiers against Status; held by the owner to change them
	tiers []*tier
}

// heardPeer is a peer that told the local network of a torrent.
type heardPeer struct {
	hash weir.InfoHash
	addr netip.AddrPort
}

// dhtTurn is where a search stands with the DHT.
type dhtTurn struct {
	joined   bool // it is counted as a user
	cancel   context.CancelFunc
	last     time.Time // the start of the last lookup
	hinted   int       // nodes that were named until then
	next     time.Time
	failures int
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
	for _, h := range s.hashes {
		for i, urls := range t.Trackers {
			urls = slices.Clone(urls)
			rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
			s.tiers = append(s.tiers, newTier(i, h, urls))
		}
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

// Status returns the state of all trackers.
func (s *Search) Status() []TrackerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []TrackerStatus
	for _, t := range s.tiers {
		for _, e := range t.entries {
			st := TrackerStatus{
				Tracker: e.name, InfoHash: t.hash, Tier: t.index, Err: e.lastErr, Answered: e.answered,
				Next: t.next, Seeds: e.seeds, Leeches: e.leeches, Peers: e.got,
			}
			if t.off || e.never || t.asking > 0 {
				st.Next = time.Time{}
			}
			out = append(out, st)
		}
	}
	return out
}

// Run searches until ctx ends or the Discoverer is closed. It returns when all
// that it started has ended and the trackers that know of us were told that we
// leave, which takes at most about a second. It is to be called once.
func (s *Search) Run(ctx context.Context) {
	if !s.d.enter() {
		return
	}
	defer s.d.runs.Done()
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.d.ctx, cancel)()
	s.own(run)
	s.goodbye(context.WithoutCancel(ctx))
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
			if s.local && s.t.open() {
				s.t.Found([]string{h.addr.String()}, Via{Source: FromLSD, InfoHash: h.hash})
			}
		case <-s.poked:
			s.refresh(time.Now())
		}
	}
}

// leave waits for what runs beside the owner and lets go of what is shared.
func (s *Search) leave() {
	s.wg.Wait()
	s.leaveOthers()
}

// spawn runs work beside the owner and hands its result to the owner.
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

// refresh looks at what a poke may have changed.
func (s *Search) refresh(now time.Time) {
	want, left := s.t.WantMore(), s.t.Left()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tiers {
		if want {
			t.hurry(now)
		}
		if left == 0 {
			t.completed(now)
		}
	}
	s.lookAgain(now)
	if soon := s.dht.last.Add(dhtMinInterval); want && s.dht.failures == 0 && soon.Before(s.dht.next) {
		s.dht.next = soon
	}
}

// step starts all that is due and returns when to look again.
func (s *Search) step(ctx context.Context, now time.Time) time.Time {
	next := now.Add(time.Hour)
	if s.t.open() {
		next = s.stepOthers(ctx, now, next)
	} else {
		s.closeOthers()
	}
	alone := s.t.Alone()
	for _, t := range s.tiers {
		at, ok := t.due(alone)
		if ok && !at.After(now) {
			s.ask(ctx, t, now)
			at, ok = t.due(alone)
		}
		if ok && at.Before(next) {
			next = at
		}
	}
	return next
}
