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

// The dials that are under way over all torrents are bounded, so that a router
// with a small table is not flooded: half of mostHalfOpen goes to whoever comes
// first, the rest is shared out evenly. Each torrent has fewDials whatever the
// others do. So that a crowd of dead torrents keeps no live one from its peers,
// one that has reached nobody in vainDials gets a single dial when half is used
// up, which does not count against the others; and then nobody waits for long.
const (
	mostHalfOpen = 64
	fewDials     = 2
	vainDials    = 8

	crowdedTimeout = 3 * time.Second // instead of dialTimeout
)

// budget counts the connections of all torrents. It is safe for concurrent use.
type budget struct {
	most int

	mu      sync.Mutex
	open    int // places taken, dials included
	dialing int
	vain    int            // of these, those of torrents that reach nobody
	dials   map[*swarm]int // of each, those with none left out
	hopeful map[*swarm]int // the same of torrents that may reach somebody
}

// place is the right to have one connection.
type place struct {
	b       *budget
	dialing *swarm // whose dial it is; guarded by b.mu, as is gone
	gone    bool
	vain    bool
	timeout time.Duration // of the dial
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

// dial returns a place for a connection that s makes, nil if there is none or too
// many are being made. full tells the first from the second. failed is how many
// dials of s came to nothing since one succeeded.
func (b *budget) dial(s *swarm, failed int) (p *place, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	crowded, vain := b.dialing >= mostHalfOpen/2, failed >= vainDials
	if b.open >= b.most || !b.mayDial(b.dials[s], vain) {
		return nil, b.open >= b.most
	}
	if b.dials == nil {
		b.dials, b.hopeful = map[*swarm]int{}, map[*swarm]int{}
	}
	b.open++
	b.dialing++
	b.dials[s]++
	p = &place{b: b, dialing: s, vain: vain, timeout: dialTimeout}
	if crowded {
		p.timeout = crowdedTimeout
	}
	if vain {
		b.vain++
	} else {
		b.hopeful[s]++
	}
	return p, false
}

// mayDial reports whether a torrent that has so many dials under way may have one
// more; mu is held.
func (b *budget) mayDial(dials int, vain bool) bool {
	others := b.dialing - b.vain
	switch {
	case dials == 0, dials < fewDials && !vain:
		return b.dialing < max(mostHalfOpen, b.most*3/4) // connections need places too
	case vain:
		return b.dialing < mostHalfOpen/2
	case others < mostHalfOpen/2:
		return true
	}
	return others < mostHalfOpen && dials < mostHalfOpen/max(1, len(b.hopeful))
}

// connected says that the dial is over.
func (p *place) connected() {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if s := p.dialing; s != nil {
		p.dialing = nil
		p.b.dialing--
		if p.vain {
			p.b.vain--
		} else if p.b.hopeful[s]--; p.b.hopeful[s] == 0 {
			delete(p.b.hopeful, s)
		}
		if p.b.dials[s]--; p.b.dials[s] == 0 {
			delete(p.b.dials, s)
		}
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
	if len(s.peers)+s.book.Dialing() >= share {
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
	ours     bool          // it has something that we lack
	theirs   bool          // it wants something of us
	idle     time.Duration // since a block went either way, or since it joined
	priority uint32        // canonical (BEP 40)
}

func (s *swarm) standing(p *peer, now time.Time) standing {
	return standing{
		ours:   p.pk == nil || s.pick.Interesting(p.pk), // before the metadata, everybody may have it
		theirs: p.wantsUs,
		idle:   now.Sub(p.trade.moved),
		// Where it does not say where it listens, the port that it came from: ports
		// count only among peers of one address.
		priority: s.eng.priority(p.remote()),
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

// spell tells a long idleness from a short one and from none to speak of.
func (a standing) spell() int {
	switch {
	case a.idle >= idleLeech:
		return 2
	case a.idle >= idleStranger:
		return 1
	}
	return 0
}

// less reports whether a is worth less than b.
func (a standing) less(b standing) bool {
	switch {
	case a.ours != b.ours:
		return !a.ours
	case a.theirs != b.theirs:
		return !a.theirs
	case a.spell() != b.spell():
		return a.spell() > b.spell()
	}
	return a.priority < b.priority
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
