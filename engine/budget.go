package engine

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
)

// Connections are bounded per torrent (Options.MaxPeers) and over all torrents
// (Options.MaxConnections), incoming ones and dials included. When there is no
// place left,
//   - a new incoming peer gets the place of one that is of no use: first of the
//     same torrent, then of the others (see useless);
//   - a torrent that a read waits for, and that has less than its share, gets the
//     place of any peer of the torrent that has most.

var (
	errFull    = fmt.Errorf("no connection to spare: %w", weir.ErrNoSpace)
	errGaveWay = errors.New("gave way to another peer")
)

// yieldFor is how long a torrent that gave a connection to another one dials
// nobody, so that the other one gets it.
const yieldFor = time.Second

// mostHalfOpen bounds the dials that are under way over all torrents, so that
// a router with a small table is not flooded.
const mostHalfOpen = 64

// budget counts the connections of all torrents. It is safe for concurrent use.
type budget struct {
	most int

	mu      sync.Mutex
	open    int // places taken, dials included
	dialing int
}

// place is the right to have one connection.
type place struct {
	b       *budget
	dialing bool // guarded by b.mu, as is gone
	gone    bool
}

// take returns a place for a connection that is there, nil if there is none.
func (b *budget) take() *place {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.most {
		return nil
	}
	b.open++
	return &place{b: b}
}

// dial returns a place for a connection to be made, nil if there is none or too
// many are being made. full tells the first from the second.
func (b *budget) dial() (p *place, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.most || b.dialing >= mostHalfOpen {
		return nil, b.open >= b.most
	}
	b.open++
	b.dialing++
	return &place{b: b, dialing: true}, false
}

// connected says that the dial is over.
func (p *place) connected() {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.dialing {
		p.dialing = false
		p.b.dialing--
	}
}

// release gives the place back. It may be called more than once.
func (p *place) release() {
	p.connected()
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if !p.gone {
		p.gone = true
		p.b.open--
	}
}

// hand has the owner run fn and waits for it. It reports false if the owner went
// away before, and then fn does not run.
func (s *swarm) hand(fn func()) bool {
	var claimed atomic.Bool
	ran := make(chan struct{})
	posted := s.do(func() {
		if claimed.CompareAndSwap(false, true) {
			fn()
			close(ran)
		}
	})
	if !posted {
		return false
	}
	select {
	case <-ran:
		return true
	case <-s.ctx.Done():
		if claimed.CompareAndSwap(false, true) {
			return false
		}
		<-ran
		return true
	}
}

// welcomePlace returns a place for an incoming peer of sw, made by a useless one
// if need be.
func (e *Engine) welcomePlace(sw *swarm) (*place, error) {
	if pl := e.conns.take(); pl != nil {
		return pl, nil
	}
	others := e.swarms()
	for _, o := range append([]*swarm{sw}, others...) {
		gave := false
		o.hand(func() { gave = o.giveWay(time.Now()) })
		if !gave {
			continue
		}
		if pl := e.conns.take(); pl != nil {
			return pl, nil
		}
	}
	return nil, errFull
}

// swarms returns those that are warm.
func (e *Engine) swarms() (out []*swarm) {
	for _, t := range e.Torrents() {
		t.mu.Lock()
		if t.sw != nil {
			out = append(out, t.sw)
		}
		t.mu.Unlock()
	}
	return out
}

// giveWay drops the most useless peer, if there is one.
func (s *swarm) giveWay(now time.Time) bool {
	p := s.leastUseful(now)
	if p == nil || !s.standing(p, now).useless() {
		return false
	}
	s.drop(p, errGaveWay)
	return true
}

// squeeze asks the torrent that has most connections for one, when a read waits
// here and this torrent has less than its share. It does not wait.
func (s *swarm) squeeze(now time.Time) {
	if len(s.waiters) == 0 || now.Sub(s.squeezed) < time.Second {
		return
	}
	s.squeezed = now
	warm := s.eng.swarms()
	share := max(1, s.eng.opts.MaxConnections/max(1, len(warm)))
	if len(s.peers)+s.candidates.dialing >= share {
		return
	}
	var most *swarm
	for _, o := range warm {
		if o != s && int(o.connected.Load()) > share && (most == nil || o.connected.Load() > most.connected.Load()) {
			most = o
		}
	}
	if most != nil {
		most.do(func() {
			if p := most.leastUseful(time.Now()); p != nil && len(most.peers) > share {
				most.yielded = time.Now()
				most.drop(p, errGaveWay)
			}
		})
	}
}

// standing is what a connection is worth.
type standing struct {
	ours   bool          // it has something that we lack
	theirs bool          // it wants something of us
	idle   time.Duration // since a block went either way, or since it joined
}

func (s *swarm) standing(p *peer, now time.Time) standing {
	return standing{
		ours:   p.pk == nil || s.pick.Interesting(p.pk), // before the metadata, everybody may have it
		theirs: p.wantsUs,
		idle:   now.Sub(p.trade.moved),
	}
}

// How long a peer may be idle before it counts as useless: one without any
// business with us soon, one that waits for a slot only when its turn must have
// come long ago. One that has what we lack never does.
const (
	idleStranger = 30 * time.Second
	idleLeech    = 5 * time.Minute
)

func (a standing) useless() bool {
	return !a.ours && (a.idle >= idleLeech || !a.theirs && a.idle >= idleStranger)
}

// less reports whether a is worth less than b.
func (a standing) less(b standing) bool {
	switch {
	case a.ours != b.ours:
		return !a.ours
	case a.theirs != b.theirs:
		return !a.theirs
	}
	return a.idle > b.idle
}

// leastUseful returns the peer that is worth least, nil if there is none.
func (s *swarm) leastUseful(now time.Time) *peer {
	var worst *peer
	var least standing
	for p := range s.peers {
		if st := s.standing(p, now); worst == nil || st.less(least) {
			worst, least = p, st
		}
	}
	return worst
}

// joinIncoming makes an incoming connection part of the swarm.
func (s *swarm) joinIncoming(conn net.Conn, pl *place, hello wire.Hello) error {
	if len(s.peers) >= s.eng.opts.MaxPeers && !s.giveWay(time.Now()) {
		return errFull
	}
	return s.join(conn, pl, conn.RemoteAddr().String(), hello, 0, false, nil)
}
