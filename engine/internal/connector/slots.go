package connector

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/peerbook"
)

// Connections are bounded per torrent (MaxPeers) and over all torrents (MaxConnections),
// incoming ones and dials included; connlimit decides who gets one. When there is none
// left,
//   - a new incoming peer gets the slot of one that is of no use, or of one of many from
//     the same network: first of the same torrent, then of the others;
//   - a torrent of which something is awaited dials for the slots of those of its
//     peers that give nothing; and if it has less than its share, for the slot of any
//     peer of the torrent that has most.

var (
	errFull        = weir.Errorf(weir.ErrNoSpace, "no connection to spare")
	errAddressFull = weir.Errorf(weir.ErrNoSpace, "too many connections with this address")
	errMadeWay     = errors.New("made way for another peer")
)

// makeWayPause is how long a torrent that gave a slot to another one dials nobody, so
// that the other one gets it.
const makeWayPause = time.Second

// admit sees to it that a connection that is there may join, in the place of another
// if need be.
func (c *Connector) admit(slot *connlimit.Slot, addr netip.Addr, dialed bool) bool {
	if c.Connected() < c.end.o.MaxPeers {
		return true
	}
	now := time.Now()
	n := connlimit.Newcomer{
		FromNetwork: c.end.limit.Neighbours(addr) - slot.Neighbour(),
		Awaited:     dialed && c.starved(c.swarm.Demand(now), now),
	}
	return c.makeWay(n, now)
}

// makeWay drops the peer that is worth least, if one makes way for the newcomer.
func (c *Connector) makeWay(n connlimit.Newcomer, now time.Time) bool {
	k := c.leastValuable(now, func(v connlimit.Peer) bool { return v.GivesWay(n) })
	if k == nil {
		return false
	}
	k.peer.Drop(errMadeWay)
	return true
}

// starved reports whether something is awaited and few peers give it.
func (c *Connector) starved(d connlimit.Demand, now time.Time) bool {
	if !d.Awaited && !d.Wanted {
		return false
	}
	givers := 0
	for k := range c.swarm.Conns() {
		if connlimit.Giving(k.peer.Facts().Gave, now) {
			givers++
		}
	}
	return d.Starved(givers)
}

// replaceable returns how many peers may be replaced by candidates now.
func (c *Connector) replaceable(d connlimit.Demand, now time.Time) int {
	if c.Connected()+c.book.Dialing() < c.end.o.MaxPeers || !c.starved(d, now) {
		return 0
	}
	n := 0
	for k := range c.swarm.Conns() {
		if c.peerValue(k, now).GivesWay(connlimit.Newcomer{Awaited: true}) {
			n++
		}
	}
	return min(n, peerbook.MaxDials)
}

// requestSlot asks the torrent that has most connections for one, when something is
// awaited here and this torrent has less than its share; if none has more than its
// share, then each for one that is of no use or gives nothing. It does not wait.
func (c *Connector) requestSlot(d connlimit.Demand, now time.Time) {
	if !d.Awaited || now.Sub(c.requested) < time.Second {
		return
	}
	c.requested = now
	running := c.end.connectors()
	share := connlimit.Share(c.end.o.MaxConnections, len(running))
	if c.Connected()+c.book.Dialing() >= share {
		return
	}
	var most *Connector
	for _, o := range running {
		if o != c && o.Connected() > share && (most == nil || o.Connected() > most.Connected()) {
			most = o
		}
	}
	if most != nil {
		most.do(func() { most.giveSlot(share) })
		return
	}
	var given atomic.Bool
	for _, o := range running {
		if o != c && o.Connected() > 0 {
			o.do(func() { o.giveIdleSlot(&given) })
		}
	}
}

// do has the owner run fn, and does not wait.
func (c *Connector) do(fn func()) { c.o.Link.Inbox.Do(fn) }

// giveSlot drops a peer for another torrent, if this one still has more than its share.
func (c *Connector) giveSlot(share int) {
	now := time.Now()
	if k := c.leastValuable(now, nil); k != nil && c.Connected() > share {
		c.madeWay = now
		k.peer.Drop(errMadeWay)
	}
}

// giveIdleSlot drops a peer that is of little use for another torrent, unless something
// is awaited of this one too, or a third has given a slot already.
func (c *Connector) giveIdleSlot(given *atomic.Bool) {
	now := time.Now()
	if !given.Load() && !c.swarm.Demand(now).Awaited && c.makeWay(connlimit.Newcomer{Awaited: true}, now) {
		given.Store(true)
		c.madeWay = now
	}
}

// peerValue is what a connection is worth.
func (c *Connector) peerValue(k *Conn, now time.Time) connlimit.Peer {
	f := k.peer.Facts()
	v := connlimit.Peer{
		Interesting: k.peer.Interesting(),
		Interested:  f.Wants,
		Silent:      !k.Answered,
		Dialed:      k.Dialed,
		Age:         now.Sub(k.Joined),
		Idle:        now.Sub(f.Moved),
		LastBlock:   -1,
		Served:      !f.Took.IsZero() && now.Sub(f.Took) < servedFor,
		FromNetwork: c.end.limit.Neighbours(k.Link.Remote().Addr()),
		// Where it does not say where it listens, the port that it came from: ports
		// count only among peers of one address.
		Priority: c.end.priority(k.Link.Remote()),
	}
	if !f.Gave.IsZero() {
		v.LastBlock = now.Sub(f.Gave)
	}
	return v
}

// servedFor is how long a block that went to a peer counts for it.
const servedFor = 30 * time.Second

// leastValuable returns the peer that is worth least of those that match, nil if there
// is none.
func (c *Connector) leastValuable(now time.Time, match func(connlimit.Peer) bool) *Conn {
	var worst *Conn
	var least connlimit.Peer
	for k := range c.swarm.Conns() {
		if v := c.peerValue(k, now); (match == nil || match(v)) && (worst == nil || v.Less(least)) {
			worst, least = k, v
		}
	}
	return worst
}
