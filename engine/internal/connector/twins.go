package connector

import (
	"bytes"
	"net/netip"
)

// Two peers that dial each other at the same time, or by several addresses, are connected
// more than once. One connection stays, and both sides must keep the same one. The other
// side has accepted a connection when it sends more than its handshake. While neither has
// accepted any, the one stays that the peer with the larger ID dialed.
//
// A peer ID is no proof: whoever comes to us may have it from the peer that we dial. So
// nobody that comes keeps us from a peer that we reach.

// mayJoin reports whether k, whose handshake with a peer at from is over, may be
// connected beside o, which has the same peer ID. ours is our own.
func (k *Conn) mayJoin(o *Conn, from netip.AddrPort, ours [20]byte) bool {
	switch {
	case k.Dialed && o.Dialed, !k.Dialed && !o.Dialed:
		return false
	case k.Dialed:
		return o.peer.Received() == 0 && o.Link.Remote().Addr().Unmap() != from.Addr().Unmap()
	}
	return !o.Answered && !o.precedes(ours)
}

// precedes reports whether what we dial stays rather than what the peer dials.
func (k *Conn) precedes(ours [20]byte) bool {
	return bytes.Compare(ours[:], k.Link.Hello.PeerID[:]) > 0
}

// twin returns another connection with the peer ID of k, nil if there is none.
func (c *Connector) twin(k *Conn) *Conn {
	for o := range c.swarm.Conns() {
		if o != k && o.Link.Hello.PeerID == k.Link.Hello.PeerID {
			return o
		}
	}
	return nil
}

// Heard says that the other side has sent a message.
func (c *Connector) Heard(k *Conn) {
	if k.Answered {
		return
	}
	k.Answered = true
	if !k.Dialed || !k.precedes(c.end.peerID) {
		return
	}
	if o := c.twin(k); o != nil && !o.Dialed && o.peer.Received() == 0 {
		o.peer.Drop(errTwice)
	}
}
