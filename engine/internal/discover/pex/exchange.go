package pex

import (
	"net/netip"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// Limits of peer exchange (BEP 11).
const (
	interval = time.Minute
	// sendInterval is longer than a minute: WebTorrent hangs up on a message that comes a
	// moment too early.
	sendInterval = interval + 5*time.Second
	perMessage   = 50 // peers added or dropped
	// earlySlack is how much too early a message may come: clocks and queues differ.
	earlySlack  = 15 * time.Second
	maxTooEarly = 5   // messages that come even earlier, before the peer is at fault
	maxAccepted = 500 // addresses that one connection may name
)

// Sender decides what to tell one peer. The zero value is a new connection. It is not
// safe for concurrent use.
type Sender struct {
	told map[netip.AddrPort]struct{}
	last time.Time
}

// Next returns the message that is due at now, and whether there is one. connected are
// all peers that we are connected with and that can be dialed; to, the receiver, is left
// out. Peers that don't fit are told in the next message.
func (s *Sender) Next(now time.Time, to netip.AddrPort, connected []Peer) (Message, bool) {
	var m Message
	if !s.last.IsZero() && now.Sub(s.last) < sendInterval {
		return m, false
	}
	here := make(map[netip.AddrPort]struct{}, len(connected))
	for _, p := range connected {
		p.Addr = peeraddr.Unmap(p.Addr)
		if _, double := here[p.Addr]; double || p.Addr == to || !peeraddr.Usable(p.Addr, to.Addr().IsLoopback()) {
			continue
		}
		here[p.Addr] = struct{}{}
		if _, known := s.told[p.Addr]; !known && len(m.Added) < perMessage {
			m.Added = append(m.Added, p)
		}
	}
	for a := range s.told {
		if _, ok := here[a]; !ok && len(m.Dropped) < perMessage {
			m.Dropped = append(m.Dropped, a)
		}
	}
	if len(m.Added)+len(m.Dropped) == 0 {
		return m, false
	}
	if s.told == nil {
		s.told = map[netip.AddrPort]struct{}{}
	}
	for _, p := range m.Added {
		s.told[p.Addr] = struct{}{}
	}
	for _, a := range m.Dropped {
		delete(s.told, a)
	}
	s.last = now
	return m, true
}

// Receiver decides what to accept from one peer. The zero value is a new connection. It
// is not safe for concurrent use.
type Receiver struct {
	last     time.Time
	tooEarly int // messages
	accepted int // addresses
}

// Accept returns the peers of m that may be dialed. A message that comes too early is
// ignored; a peer that keeps sending such gets an error, which wraps weir.ErrInvalid.
func (r *Receiver) Accept(now time.Time, from netip.AddrPort, m Message) ([]Peer, error) {
	if !r.last.IsZero() && now.Sub(r.last) < interval-earlySlack {
		if r.tooEarly++; r.tooEarly > maxTooEarly {
			return nil, weir.Errorf(weir.ErrInvalid, "%d PEX messages less than a minute after the one before", r.tooEarly)
		}
		return nil, nil
	}
	r.last = now
	seen := map[netip.AddrPort]struct{}{}
	var out []Peer
	for _, p := range m.Added {
		if len(out) == perMessage || r.accepted == maxAccepted {
			break
		}
		if _, double := seen[p.Addr]; double || p.Addr == from || !peeraddr.Usable(p.Addr, from.Addr().IsLoopback()) {
			continue
		}
		seen[p.Addr] = struct{}{}
		out = append(out, p)
		r.accepted++
	}
	return out, nil
}
