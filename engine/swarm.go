package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir/engine/internal/connector"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/upload"
	"github.com/weirfs/weir/engine/internal/verify"
)

// errCooled says that the swarm ended between being found and being asked; the
// caller warms the torrent again.
var errCooled = errors.New("swarm has just cooled")

// errUnlearned says that the metadata is lost; the caller waits for it again.
var errUnlearned = errors.New("the metadata is lost")

// swarm is the running half of a warm torrent. One goroutine, the owner, has all
// its state: everybody else posts to its inbox. Only content and the atomics are
// shared.
type swarm struct {
	t     *Torrent
	eng   *Engine
	log   *slog.Logger
	inbox *link.Inbox

	lifetime
	content content

	// What follows belongs to the owner.

	conns         *connector.Connector
	web           *webSeeds      // set with pick
	pick          *picker.Picker // nil while the metadata is unknown
	layout        picker.Layout  // set with pick
	peers         map[*link.Link]*peer
	pieces        pieces
	reads         reads
	metadata      metadataExchange
	hashes        hashExchange
	earlyRequests map[picker.Block]bool // asked of peers that are in the handshake
	uploads       *upload.Uploads
	stats         reporter
	plans         plans
	lastUse       time.Time // of the last event that was a use
}

// lifetime is how long a swarm runs, and what runs as long.
type lifetime struct {
	born   time.Time
	ctx    context.Context // ends with the swarm
	cancel context.CancelFunc
	wg     sync.WaitGroup // peers, dials, announcers, hashing, commits
	ended  chan struct{}  // closed when the owner has returned
}

// stop ends the swarm and waits for it.
func (l *lifetime) stop() {
	l.cancel()
	<-l.ended
}

// spawn runs fn in a goroutine that the swarm waits for when it ends.
func (l *lifetime) spawn(fn func()) {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		fn()
	}()
}

// newSwarm returns a swarm that does not run yet; t.mu is held.
func newSwarm(t *Torrent) *swarm {
	s := &swarm{
		t:             t,
		eng:           t.eng,
		log:           t.eng.log.With("torrent", t.ih),
		inbox:         link.NewInbox(),
		peers:         map[*link.Link]*peer{},
		earlyRequests: map[picker.Block]bool{},
		lastUse:       time.Now(),
		uploads:       upload.New(t.ih, t.eng.up),
	}
	s.born, s.ended = time.Now(), make(chan struct{})
	s.ctx, s.cancel = context.WithCancel(t.done)
	s.reads = newReads(s)
	s.metadata = metadataExchange{s: s}
	s.hashes = hashExchange{s: s, asks: map[verify.HashRequest]*hashAsk{}}
	s.stats.s, s.plans.s = s, s
	s.pieces.s, s.pieces.committed = s, make(chan struct{})
	s.pieces.held = t.eng.storage.NewPieces(t.ih, s.pieces.dropped)
	s.content = content{t: t, ctx: s.ctx, log: s.log, held: s.pieces.held}
	s.conns = connector.New(t.eng.endpoint, s, connector.Options{
		Context: s.ctx, Log: s.log, Spawn: s.spawn, InfoHash: t.ih, Names: t.meta.Names,
		Presence: t.announce.Presence, Stays: t.announce.Stays, Paused: s.stats.paused.Load, Nodes: slices.Clone(t.nodes), Peers: t.peers, Bans: t.bans,
		Info: t.Info, LoadedInfo: t.LoadedInfo,
		Left: t.announce.Left, Downloaded: t.counts.downloaded.Load, Uploaded: t.counts.uploaded.Load,
		Former:  t.former,
		Link:    link.Options{Inbox: s.inbox, Answerer: &s.content, Pieces: s.numPieces, Up: t.up, Down: t.down},
		Records: t.eng.opts.Store, RecordsReady: t.eng.storeReady, PostWrite: t.eng.records.Post,
	})
	return s
}

func (s *swarm) start() {
	s.eng.wg.Add(1)
	go func() {
		defer s.eng.wg.Done()
		s.own()
	}()
}

// do runs fn on the owner's goroutine. It reports false if the owner is gone.
func (s *swarm) do(fn func()) bool { return s.inbox.Do(fn) }

func (s *swarm) use(n int) bool { return s.inbox.Use(n) }

// The owner looks at the time so often, depending on what is under way.
const (
	urgentTick = 20 * time.Millisecond  // a read waits: peers may be late
	busyTick   = 100 * time.Millisecond // something is wanted
	idleTick   = time.Second
)

// own is the owner: it takes events, decides, and sends what was decided.
func (s *swarm) own() {
	defer s.end()
	s.conns.Start()
	if s.t.meta.InMemory() == nil {
		s.metadata.begin()
	}
	opening := s.eng.opts.StoreReady // nil once it was seen
	s.gotMeta()
	if s.eng.storeReady() {
		opening = nil
		s.loadRecords()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var spare []link.Event
	var lastTick time.Time
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-opening:
			opening = nil
			s.storeOpened()
		case <-s.inbox.Wake():
		case <-timer.C:
		}
		events := s.inbox.Take(spare)
		for i := range events {
			s.handle(&events[i])
			events[i] = link.Event{}
		}
		spare = events
		now := time.Now()
		tick := s.tick()
		if now.Sub(lastTick) >= tick {
			lastTick = now
			if s.housekeep(now) {
				return
			}
		}
		s.conns.DialFresh(now)
		s.decide(now)
		timer.Reset(s.tick())
	}
}

func (s *swarm) tick() time.Duration {
	switch {
	case s.reads.any():
		return urgentTick
	case s.pick == nil || s.pick.Busy() || s.conns.Dialing() > 0:
		return busyTick
	}
	return idleTick
}

func (s *swarm) handle(e *link.Event) {
	if e.Do != nil {
		e.Do()
		return
	}
	p := s.peers[e.Link]
	if p == nil {
		e.Free()
		return
	}
	err := e.Err
	if err == nil {
		err = s.message(p, e)
	}
	if err != nil {
		s.drop(p, err)
	}
}

// decide asks the picker what to do and puts it on the wire.
func (s *swarm) decide(now time.Time) {
	if s.pick == nil {
		s.metadata.ask(now)
	} else {
		s.pieces.charge()
		s.pick.SetDelay(s.t.down.Backlog(now))
		for _, a := range s.pick.Pick(now) {
			a.Peer.Ref.Act(a)
		}
		s.plans.tell(now)
		s.web.flush(now)
		s.hashes.ask(now)
	}
	for _, p := range s.peers {
		if p.pk != nil {
			p.link.SetInFlight(p.pk.InFlight())
		}
		if !p.link.Flush() {
			s.drop(p, link.ErrNotReading)
		}
	}
}

// housekeep does what time alone calls for. It reports whether the swarm cooled
// and the owner must return.
func (s *swarm) housekeep(now time.Time) bool {
	s.conns.Housekeep(now)
	s.uploads.Round(now)
	s.pieces.dropUnwanted(now)
	s.reads.blocks.giveUpLate(now)
	if s.web != nil {
		s.web.housekeep(now)
	}
	s.stats.update(now)
	busy := s.reads.any() || s.pieces.held.Committing() > 0 || s.pick != nil && s.pick.Busy()
	for _, p := range s.peers {
		if n := p.link.Sent(); n != p.sentSeen {
			p.sentSeen, busy = n, true
		}
		if p.told.Telling && p.link.Drained() {
			p.sendHaves(s.pick.HeldPieces())
		}
		// It held for those who joined while the Store opened, before the last piece, or
		// before one was evicted.
		if p.link.Extended() && p.toldUploadOnly != s.holdsAll() && p.link.Drained() {
			p.sendExtensions()
		}
	}
	s.stats.paused.Store(s.pick != nil && !s.holdsAll() && !s.reads.any() && !s.pick.Busy())
	if busy {
		s.lastUse = now
	}
	if now.Sub(s.lastUse) <= s.eng.opts.Idle {
		s.conns.Records.Stay()
		return false
	}
	return s.conns.Records.Part(now) && s.t.cool(s)
}

// end lets go of everything. Verified pieces are committed before it returns.
func (s *swarm) end() {
	s.cancel()
	s.conns.Stop()
	for _, p := range s.peers {
		s.drop(p, context.Cause(s.t.done))
	}
	for _, e := range s.inbox.Close() {
		e.Free()
	}
	s.pieces.await()
	s.stats.count()
	if s.web != nil {
		s.web.close()
		s.web.wait()
	}
	s.wg.Wait() // a piece may be hashed, read or committed until here
	if s.pick != nil {
		s.pick.Free()
	}
	s.pieces.end()
	s.metadata.end()
	s.writeLast()
	s.t.announce.Hold()
	s.eng.warm.Add(-1)
	close(s.ended)
}

// gotMeta builds what needs the metadata and the Store, once both are there, and
// tells it what the peers have said so far.
func (s *swarm) gotMeta() {
	m := s.t.meta.InMemory()
	if s.pick != nil || m == nil {
		return
	}
	s.conns.MetadataKnown(s.metadata.end())
	if !s.eng.storeReady() {
		return // storeOpened comes back
	}
	held := s.eng.opts.Store.Held(s.t.ih, m.Info.NumPieces())
	for i := range m.Info.BlankPieces {
		held[i] = true // nothing has to be fetched
	}
	s.layout = picker.Layout{Info: m.Info}
	s.pick = picker.New(s.layout, held, picker.Options{ID: s.eng.endpoint.PeerID(), MemoryBytes: s.eng.opts.MemoryBytes})
	s.uploads.Begin(m.Info, s.pick)
	s.t.mu.Lock()
	urls := slices.Clone(s.t.webSeeds)
	wants := slices.Collect(maps.Keys(s.t.wants))
	s.t.mu.Unlock()
	s.web = newWebSeeds(s, urls)
	s.web.choose(time.Now())
	for _, p := range s.peers {
		s.introduce(p)
		p.sendHaves(s.pick.HeldPieces())
	}
	for _, w := range wants {
		w.apply(s)
	}
}

// holdsAll reports whether there is nothing that we want of peers.
func (s *swarm) holdsAll() bool {
	return s.pick != nil && s.pick.HeldCount() == len(s.pick.HeldPieces())
}

// A Store may open beside the engine (Options.StoreReady). Until it answers, peers
// are found, dialed and greeted, and metadata is fetched; nothing else is asked of
// peers, because what is held is not known. No goroutine of the engine waits in the
// Store meanwhile.

// storeReady reports whether the Store answers without making the caller wait.
func (e *Engine) storeReady() bool {
	if e.opts.StoreReady == nil {
		return true
	}
	select {
	case <-e.opts.StoreReady:
		return true
	default:
		return false
	}
}

// storeOpened takes what the Store has: what is held, at once, and records later.
func (s *swarm) storeOpened() {
	s.gotMeta()
	s.loadRecords()
	if s.metadata.unsaved {
		s.metadata.save()
	}
}

// loadRecords reads what former runs left of the torrent, beside the owner: the
// metadata, hashes of pieces, and peers, which become candidates.
func (s *swarm) loadRecords() {
	s.spawn(func() {
		s.t.meta.LoadDue()
		peers := s.conns.Records.Load()
		s.do(func() {
			s.gotMeta()
			if s.pick != nil {
				s.hashes.verifyWaiting()
			}
			s.conns.Records.Add(peers)
		})
	})
}

// writeLast writes what the swarm leaves when it ends, and waits for that.
func (s *swarm) writeLast() {
	writePeers := s.conns.Records.Last()
	written := make(chan struct{})
	s.eng.records.Post(func() {
		defer close(written)
		writePeers()
		s.t.meta.Drop()
	})
	<-written
}
