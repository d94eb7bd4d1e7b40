package discover

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weirfs/weir"
)

// Limits of peer exchange (BEP 11).
const (
	pexInterval = time.Minute
	// WebTorrent hangs up on whoever comes a moment before the minute is over.
	pexPause   = pexInterval + 5*time.Second
	pexPerKind = 50 // added or dropped in one message
	// Clocks and queues differ: a message a little early is no offence.
	pexEarly    = 15 * time.Second
	pexForgiven = 5   // messages that came too early before the peer is at fault
	pexBelieved = 500 // addresses that one connection may name in its life
)

// PexOut decides what to tell one peer. The zero value is a connection that was
// told nothing. It is not safe for concurrent use, and for public torrents only
// (BEP 27).
type PexOut struct {
	told map[netip.AddrPort]struct{}
	last time.Time
}

// Next returns the message that is due now, given all peers that we are
// connected with and that can be dialed, and whether there is one. A message
// goes out a little less than once a minute and holds at most 50 peers of each kind; the
// rest follows in the next. to, the peer itself, is left out.
func (o *PexOut) Next(now time.Time, to netip.AddrPort, connected []PexPeer) (PexMessage, bool) {
	var m PexMessage
	if !o.last.IsZero() && now.Sub(o.last) < pexPause {
		return m, false
	}
	here := make(map[netip.AddrPort]struct{}, len(connected))
	for _, p := range connected {
		p.Addr = netip.AddrPortFrom(p.Addr.Addr().Unmap(), p.Addr.Port())
		if _, double := here[p.Addr]; double || p.Addr == to || !usable(p.Addr, to.Addr().IsLoopback()) {
			continue
		}
		here[p.Addr] = struct{}{}
		if _, known := o.told[p.Addr]; !known && len(m.Added) < pexPerKind {
			m.Added = append(m.Added, p)
		}
	}
	for a := range o.told {
		if _, ok := here[a]; !ok && len(m.Dropped) < pexPerKind {
			m.Dropped = append(m.Dropped, a)
		}
	}
	if len(m.Added)+len(m.Dropped) == 0 {
		return m, false
	}
	if o.told == nil {
		o.told = map[netip.AddrPort]struct{}{}
	}
	for _, p := range m.Added {
		o.told[p.Addr] = struct{}{}
	}
	for _, a := range m.Dropped {
		delete(o.told, a)
	}
	o.last = now
	return m, true
}

// PexIn decides what to believe of one peer's messages. The zero value is a
// connection that has said nothing. It is not safe for concurrent use, and for
// public torrents only (BEP 27).
type PexIn struct {
	last     time.Time
	early    int
	believed int
}

// Accept returns the peers of m that may be dialed: at most 50 a message, 500 a
// connection, and no address that makes no sense. A message that comes before
// its minute is ignored; a peer that goes on so gets an error, which wraps
// weir.ErrInvalid.
func (i *PexIn) Accept(now time.Time, from netip.AddrPort, m PexMessage) ([]PexPeer, error) {
	if !i.last.IsZero() && now.Sub(i.last) < pexInterval-pexEarly {
		if i.early++; i.early > pexForgiven {
			return nil, fmt.Errorf("%d PEX messages too early: %w", i.early, weir.ErrInvalid)
		}
		return nil, nil
	}
	i.last = now
	seen := map[netip.AddrPort]struct{}{}
	var out []PexPeer
	for _, p := range m.Added {
		if len(out) == pexPerKind || i.believed == pexBelieved {
			break
		}
		if _, double := seen[p.Addr]; double || p.Addr == from || !usable(p.Addr, from.Addr().IsLoopback()) {
			continue
		}
		seen[p.Addr] = struct{}{}
		out = append(out, p)
		i.believed++
	}
	return out, nil
}
