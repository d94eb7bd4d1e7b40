package engine

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// candidates are the addresses at which peers may be found, and what came of
// them. It decides whom to dial; it belongs to the owner of a swarm.
type candidates struct {
	manner   manner
	priority func(netip.AddrPort) uint32 // who comes first of those that are alike
	known    map[string]*candidate       // by host:port
	bans     map[string]time.Time        // until when, by IP
	private  bool                        // nobody's word counts but the user's and the trackers' (BEP 27)
	dialing  int
	vain     int  // dials that failed since one succeeded
	fresh    bool // something was added since the last look
	hurry    bool // reads wait, and nobody is connected
	changed  bool // acquaintances were made or lost since they were written
	reached  bool // somebody was connected since the swarm began
}

type candidate struct {
	addr     netip.AddrPort // invalid for a host name
	origin   origin
	busy     bool // dialing or connected
	failures int
	ended    time.Time // the last dial or connection
	next     time.Time // not to be dialed before
	manner   manner    // how to speak to it first

	met       bool      // was connected since the swarm began
	seen      time.Time // the end of the last connection; zero if there was none
	delivered int64     // bytes of blocks
	misses    int       // as of acquaintance, before this swarm
}

// origin tells whose word an address is. Greater is more reliable.
type origin uint8

const (
	fromOthers  origin = iota // the DHT, LSD or a peer
	fromTracker               // a tracker
	fromUser                  // the user, or what he named: they may do as they like
)

const (
	mostCandidates = 2000
	mostDialing    = 16
	banTime        = time.Hour
)

// newCandidates returns none; manner is how they are spoken to first, priority
// orders those that are alike.
func newCandidates(m manner, priority func(netip.AddrPort) uint32) *candidates {
	return &candidates{manner: m, priority: priority, known: map[string]*candidate{}, bans: map[string]time.Time{}}
}

// add makes addresses known that o named.
func (c *candidates) add(o origin, addrs ...string) {
	for _, a := range addrs {
		if k := c.known[a]; k != nil {
			k.origin = max(k.origin, o)
			continue
		}
		if len(c.known) >= mostCandidates || c.private && o == fromOthers {
			continue
		}
		k := &candidate{manner: c.manner, origin: o}
		k.addr, _ = netip.ParseAddrPort(a)
		c.known[a] = k
		c.fresh = true
	}
}

// keepPrivate forgets all that a private torrent may not know.
func (c *candidates) keepPrivate() {
	c.private = true
	for a, k := range c.known {
		if k.origin == fromOthers && !k.busy {
			delete(c.known, a)
		}
	}
}

// next returns an address to dial now.
func (c *candidates) next(now time.Time) (string, *candidate) {
	var addr string
	var best *candidate
	if c.dialing >= mostDialing {
		return "", nil
	}
	for a, k := range c.known {
		if k.busy || now.Before(k.next) && !(c.hurry && now.Sub(k.ended) >= hurriedBackoff) || c.banned(a, now) {
			continue
		}
		if best == nil || c.better(k, best) {
			addr, best = a, k
		}
	}
	return addr, best
}

// better reports whether a is dialed before b: who failed less, then who was of
// use before, then by the canonical priority (BEP 40).
func (c *candidates) better(a, b *candidate) bool {
	switch {
	case a.failures != b.failures:
		return a.failures < b.failures
	case a.delivered > 0 != (b.delivered > 0):
		return a.delivered > 0
	case a.seen.IsZero() != b.seen.IsZero():
		return !a.seen.IsZero()
	}
	return c.priority(a.addr) > c.priority(b.addr)
}

// recall makes the peers of former runs known.
func (c *candidates) recall(list []acquaintance) {
	for _, a := range list {
		o := fromOthers
		if a.tracker {
			o = fromTracker
		}
		c.add(o, a.addr.String())
		if k := c.known[a.addr.String()]; k != nil {
			k.seen, k.delivered, k.misses = a.seen, a.delivered, a.misses
		}
	}
}

// met says that there is or was a connection with a peer, which can be dialed at
// addr and has delivered so many bytes more. dialed is how it was called when we
// dialed it.
func (c *candidates) met(dialed string, addr netip.AddrPort, delivered int64, now time.Time) {
	k := c.known[dialed]
	if k == nil {
		c.add(fromOthers, addr.String())
		if k = c.known[addr.String()]; k == nil {
			return
		}
	}
	k.met, k.seen, k.misses = true, now, 0
	k.delivered += delivered
	c.changed, c.reached = true, true
}

// acquaintances returns those that were ever connected and are not banned.
func (c *candidates) acquaintances(now time.Time) []acquaintance {
	var list []acquaintance
	for a, k := range c.known {
		if k.seen.IsZero() || !k.addr.IsValid() || c.banned(a, now) {
			continue
		}
		misses := k.misses
		if c.reached && !k.met && k.failures > 0 { // else it may be us who are cut off
			misses++
		}
		list = append(list, acquaintance{
			addr: netip.AddrPortFrom(k.addr.Addr().Unmap(), k.addr.Port()), tracker: k.origin == fromTracker,
			delivered: k.delivered, seen: k.seen, misses: misses,
		})
	}
	return list
}

// gone says that a connection ended. useful tells whether anything came of it.
func (c *candidates) gone(addr string, dialed, useful bool, why error, now time.Time) {
	k := c.known[addr]
	if k == nil || !dialed {
		return
	}
	k.busy = false
	switch {
	case errors.Is(why, errSelf):
		delete(c.known, addr)
		return
	case errors.Is(why, errTwice):
		k.failures++
		k.met, k.seen, k.misses = true, now, 0
	case useful:
		k.failures = 0
	default:
		k.failures++
	}
	k.ended, k.next = now, now.Add(backoff(k.failures))
}

// refused says that an address could not be joined. Who hung up is tried in
// another manner at once.
func (c *candidates) refused(addr string, e Encryption, why error, now time.Time) {
	k := c.known[addr]
	if k != nil && errors.Is(why, errHungUp) {
		again := false
		if k.manner, again = k.manner.next(e); again {
			k.busy, c.fresh = false, true
			return
		}
	}
	if !errors.Is(why, errTwice) {
		c.vain++
	}
	c.gone(addr, true, false, why, now)
}

// tooEarly says that a peer left after the handshakes without a word, having
// heard more than a handshake: aria2 does. It is dialed again at once, the slow
// way.
func (c *candidates) tooEarly(addr string) {
	if k := c.known[addr]; k != nil {
		k.manner, k.busy, c.fresh = plainLate, false, true
	}
}

// hurriedBackoff is the longest that a candidate is left alone while reads wait and
// nobody is connected: it may be the only one that there is, and come back.
const hurriedBackoff = 5 * time.Second

// backoff doubles from a second to five minutes.
func backoff(failures int) time.Duration {
	return min(time.Second<<min(failures, 9), 5*time.Minute)
}

func (c *candidates) ban(addr string, now time.Time) {
	c.bans[host(addr)] = now.Add(banTime)
	c.changed = true
}

// banned reports whether there is to be no connection with addr.
func (c *candidates) banned(addr string, now time.Time) bool {
	if k := c.known[addr]; k != nil && c.private && k.origin == fromOthers {
		return true
	}
	until, ok := c.bans[host(addr)]
	if ok && now.After(until) {
		delete(c.bans, host(addr))
		return false
	}
	return ok
}

func host(addr string) string {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return h
}
