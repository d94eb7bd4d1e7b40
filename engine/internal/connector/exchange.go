package connector

import (
	"time"

	"github.com/weirfs/weir/engine/internal/discover/pex"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/wire"
)

// Exchanged takes a peer's PEX message (BEP 11).
func (c *Connector) Exchanged(k *Conn, m pex.Message) error {
	if !c.Public() {
		return nil // we never offered it: the peer has it from before the metadata
	}
	now := time.Now()
	peers, err := k.pexIn.Accept(now, k.Link.Remote(), m)
	o := peerbook.Origin{Source: peerbook.Exchange, Referrer: k.referrer()}
	for _, other := range peers {
		c.book.Add(now, o, other.Addr.String())
	}
	return err
}

// exchange sends the PEX messages that are due.
func (c *Connector) exchange(now time.Time) {
	if now.Sub(c.exchanged) < time.Second || !c.Public() {
		return
	}
	c.exchanged = now
	var connected []pex.Peer
	for k := range c.swarm.Conns() {
		if addr, ok := k.listens(); ok {
			o := pex.Peer{Addr: addr}
			if k.Dialed {
				o.Flags |= pex.Outgoing
			}
			connected = append(connected, o)
		}
	}
	for k := range c.swarm.Conns() {
		if k.pexID == 0 {
			continue
		}
		self := k.Link.Remote()
		if addr, ok := k.listens(); ok {
			self = addr
		}
		if m, due := k.pexOut.Next(now, self, connected); due {
			payload := m.Append(nil)
			k.Link.Send(func(b []byte) []byte { return wire.AppendExtended(b, k.pexID, payload) })
		}
	}
}

// referrer is who is held to account for the addresses that a peer names: where
// we dialed it, or the host that it came from, by whatever port.
func (k *Conn) referrer() string {
	if k.Dialed {
		return k.Addr
	}
	return k.Link.Remote().Addr().Unmap().String()
}
