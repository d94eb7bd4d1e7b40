package engine

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/peerbook"
)

// Connections are bounded per torrent (Options.MaxPeers) and over all torrents
// (Options.MaxConnections), incoming ones and dials included; connlimit decides who
// gets one. When there is none left,
//   - a new incoming peer gets the slot of one that is of no use, or of a crowd:
//     first of the same torrent, then of the others;
//   - a torrent of which something is awaited dials for the slots of those of its
//     peers that give nothing; and if it has less than its share, for the slot of any
//     peer of the torrent that has most.

var (
	errFull    = weir.Errorf(weir.ErrNoSpace, "no connection to spare")
	errCrowd   = weir.Errorf(weir.ErrNoSpace, "too many connections with this address")
	errGaveWay = errors.New("gave way to another peer")
)

// yieldFor is how long a torrent that gave a connection to another one dials
// nobody, so that the other one gets it.
const yieldFor = time.Second

// runOnOwner has the owner run fn and waits for it. It reports false if the owner went
// away before, and then fn does not run.
func (s *swarm) runOnOwner(fn func()) bool { return s.inbox.DoAndWait(s.ctx, fn) }

// incomingSlot returns a slot for an incoming peer of sw, made by another peer if
// need be.
func (e *Engine) incomingSlot(sw *swarm, addr netip.Addr) (*connlimit.Slot, error) {
	slot, full := e.conns.Incoming(addr)
	switch {
	case slot != nil:
		return slot, nil
	case !full:
		return nil, errCrowd
	}
	n := connlimit.Newcomer{FromNetwork: e.conns.Neighbours(addr)}
	for _, o := range append([]*swarm{sw}, e.swarms()...) {
		gave := false
		o.runOnOwner(func() { gave = o.giveWay(n, time.Now()) })
		if !gave {
			continue
		}
		if slot, _ := e.conns.Incoming(addr); slot != nil {
			return slot, nil
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

// room sees to it that a connection that is there may join, in the place of another
// if need be.
func (s *swarm) room(slot *connlimit.Slot, addr netip.Addr, dialed bool) bool {
	if len(s.peers) < s.eng.opts.MaxPeers {
		return true
	}
	n := connlimit.Newcomer{FromNetwork: s.eng.conns.Neighbours(addr) - slot.Neighbour(), Awaited: dialed && s.starved(time.Now())}
	return s.giveWay(n, time.Now())
}

// giveWay drops the peer that is worth least, if one gives way to the newcomer.
func (s *swarm) giveWay(n connlimit.Newcomer, now time.Time) bool {
	p := s.leastWorth(now, func(w connlimit.Peer) bool { return w.GivesWay(n) })
	if p == nil {
		return false
	}
	s.drop(p, errGaveWay)
	return true
}

// enoughGivers is how many peers must give blocks for the others to keep their
// slots while something is awaited, and givingFor how long ago their last may be.
// A read that waits for as long as starvedAfter waits for better peers.
const (
	enoughGivers = 4
	givingFor    = 10 * time.Second
	starvedAfter = 2 * time.Second
)

// starved reports whether something is awaited and few give it.
func (s *swarm) starved(now time.Time) bool {
	if !s.awaited() && (s.pick == nil || !s.pick.Busy()) {
		return false
	}
	if _, waited, _ := s.reads.longest(now); waited > starvedAfter {
		return true
	}
	givers := 0
	for _, p := range s.peers {
		if !p.give.Gave.IsZero() && now.Sub(p.give.Gave) < givingFor {
			givers++
		}
	}
	return givers < enoughGivers
}

// replaceable returns how many peers may be replaced by candidates now.
func (s *swarm) replaceable(now time.Time) int {
	if len(s.peers)+s.book.Dialing() < s.eng.opts.MaxPeers || !s.starved(now) {
		return 0
	}
	n := 0
	for _, p := range s.peers {
		if s.worth(p, now).GivesWay(connlimit.Newcomer{Awaited: true}) {
			n++
		}
	}
	return min(n, peerbook.MaxDials)
}

// squeeze asks the torrent that has most connections for one, when something is
// awaited here and this torrent has less than its share; if none has more than its
// share, then each for one that is of no use or gives nothing. It does not wait.
func (s *swarm) squeeze(now time.Time) {
	if !s.awaited() || now.Sub(s.squeezed) < time.Second {
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
			if p := most.leastWorth(time.Now(), nil); p != nil && len(most.peers) > share {
				most.yielded = time.Now()
				most.drop(p, errGaveWay)
			}
		})
		return
	}
	var taken atomic.Bool
	for _, o := range warm {
		if o == s || o.connected.Load() == 0 {
			continue
		}
		o.do(func() {
			now := time.Now()
			if !taken.Load() && !o.awaited() && o.giveWay(connlimit.Newcomer{Awaited: true}, now) {
				taken.Store(true)
				o.yielded = now
			}
		})
	}
}

// worth is what a connection is worth.
func (s *swarm) worth(p *peer, now time.Time) connlimit.Peer {
	w := connlimit.Peer{
		Interesting: p.pk == nil || s.pick.Interesting(p.pk), // before the metadata, everybody may have it
		Interested:  p.give.Wants(),
		Silent:      !p.answered,
		Dialed:      p.dialed,
		Age:         now.Sub(p.joined),
		Idle:        now.Sub(p.give.Moved),
		LastBlock:   -1,
		Served:      !p.give.Took.IsZero() && now.Sub(p.give.Took) < servedFor,
		FromNetwork: s.eng.conns.Neighbours(p.link.Remote().Addr()),
		// Where it does not say where it listens, the port that it came from: ports
		// count only among peers of one address.
		Priority: s.eng.priority(p.link.Remote()),
	}
	if !p.give.Gave.IsZero() {
		w.LastBlock = now.Sub(p.give.Gave)
	}
	return w
}

// servedFor is how long a block that went to a peer counts for it.
const servedFor = 30 * time.Second

// leastWorth returns the peer that is worth least of those that match, nil if there
// is none.
func (s *swarm) leastWorth(now time.Time, match func(connlimit.Peer) bool) *peer {
	var worst *peer
	var least connlimit.Peer
	for _, p := range s.peers {
		if w := s.worth(p, now); (match == nil || match(w)) && (worst == nil || w.Less(least)) {
			worst, least = p, w
		}
	}
	return worst
}

// priority returns the canonical priority of a peer at a.
func (e *Engine) priority(a netip.AddrPort) uint32 {
	return connlimit.Priority(netip.AddrPortFrom(e.ownAddr.Like(a.Addr()), uint16(e.Port())), a)
}
