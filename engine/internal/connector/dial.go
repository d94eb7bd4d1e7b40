package connector

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/wire"
)

// A dial may take dialTimeout, or shortTimeout when many others wait for one.
const (
	dialTimeout  = 8 * time.Second
	shortTimeout = 3 * time.Second
)

// DialFresh dials if there are addresses that it was not tried with.
func (c *Connector) DialFresh(now time.Time) {
	if c.book.Fresh() {
		c.dial(now)
	}
}

// dial connects to as many candidates as the bounds allow.
func (c *Connector) dial(now time.Time) {
	c.book.Seen()
	if now.Sub(c.madeWay) < makeWayPause {
		return
	}
	d := c.swarm.Demand(now)
	hurry := c.Connected() == 0 && d.Awaited
	most := c.end.o.MaxPeers + c.replaceable(d, now)
	for c.Connected()+c.book.Dialing() < most {
		candidate, ok := c.book.Next(now, hurry)
		if !ok {
			return
		}
		slot := c.dialSlot(candidate, d, now)
		if slot == nil {
			return
		}
		timeout := dialTimeout
		if candidate.ShortTimeout || slot.Hurried() {
			timeout = shortTimeout
		}
		c.book.Dial(candidate.Addr)
		k := &Conn{Addr: candidate.Addr, Dialed: true, peer: c.swarm.NewPeer(), slot: slot}
		c.o.Spawn(func() { c.connect(k, link.Mode(candidate.Mode), timeout) })
	}
}

// dialSlot returns a slot for a dial, nil if there is none now.
func (c *Connector) dialSlot(candidate peerbook.Candidate, d connlimit.Demand, now time.Time) *connlimit.Slot {
	addr, _ := netip.ParseAddrPort(candidate.Addr)
	slot, full := c.end.limit.Dial(c, addr.Addr(), c.book.FailedDials())
	if slot == nil && full && c.starved(d, now) && c.makeWay(connlimit.Newcomer{Awaited: true}, now) {
		slot, full = c.end.limit.Dial(c, addr.Addr(), c.book.FailedDials())
	}
	if slot == nil && full {
		c.requestSlot(d, now)
	}
	return slot
}

// connect dials and shakes hands, beside the owner.
func (c *Connector) connect(k *Conn, m link.Mode, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(c.o.Context, timeout)
	defer cancel()
	begin := time.Now()
	conn, err := c.end.o.Network.Dial(ctx, k.Addr)
	k.RTT = time.Since(begin)
	var early []byte
	mode, _ := m.Split()
	if err == nil && mode != link.PlainLate && !c.runOnOwner(func() { early = k.peer.Early() }) {
		err = errEnded
		_ = conn.Close()
	}
	k.early = early != nil
	var hello wire.Handshake
	if err == nil {
		plain := conn
		if conn, hello, err = c.handshake(m, early).Dialed(ctx, conn); err != nil {
			_ = plain.Close()
		}
	}
	k.slot.Connected()
	joined := c.runOnOwner(func() {
		k.peer.HandshakeOver()
		if err == nil {
			if err = c.join(k, conn, hello); err != nil {
				_ = conn.Close()
			}
		}
		c.lastDial = err
		if err != nil {
			k.slot.Release()
			c.o.Log.Debug("peer not connected", "peer", k.Addr, "err", err)
			c.notJoined(k.Addr, m, err)
		} else {
			c.book.Connected(k.Addr)
		}
	})
	if !joined {
		k.slot.Release()
		if err == nil {
			_ = conn.Close()
		}
	}
}

// notJoined tells the book why a candidate that was dialed is no peer. Who hung up
// is tried in another mode at once.
func (c *Connector) notJoined(addr string, m link.Mode, why error) {
	now := time.Now()
	switch {
	case errors.Is(why, errSelf):
		c.book.Ourselves(addr, now)
	case errors.Is(why, errTwice):
		c.book.Duplicate(addr, now)
	case errors.Is(why, errFull):
		c.book.Postpone(addr, now)
	case errors.Is(why, link.ErrHungUp):
		next, more := m.Next(c.end.o.Encryption, c.o.Names().Hybrid())
		if more {
			c.book.Retry(addr, uint8(next))
			return
		}
		c.book.Refused(addr, uint8(next), now)
	default:
		c.book.Failed(addr, uint8(m), c.Connected() > 0, now)
	}
}

// handshake is what is said to a peer first.
func (c *Connector) handshake(m link.Mode, early []byte) *link.Handshake {
	names, ih := c.o.Names(), c.o.InfoHash
	if _, other := m.Split(); other {
		ih = names.Other(ih)
	}
	return &link.Handshake{Mode: m, Encryption: c.end.o.Encryption, Hello: c.end.hello(ih, names), Accepts: names.Has, Early: early}
}
