package engine

import (
	"errors"
	"net"
	"time"
)

// candidates are the addresses at which peers may be found, and what came of
// them. It decides whom to dial; it belongs to the owner of a swarm.
type candidates struct {
	manner  manner
	known   map[string]*candidate // by host:port
	bans    map[string]time.Time  // until when, by IP
	dialing int
	fresh   bool // something was added since the last look
}

type candidate struct {
	busy     bool // dialing or connected
	failures int
	next     time.Time // not to be dialed before
	manner   manner    // how to speak to it first
}

const (
	mostCandidates = 2000
	mostDialing    = 16
	banTime        = time.Hour
)

// newCandidates returns none; manner is how they are spoken to first.
func newCandidates(m manner) *candidates {
	return &candidates{manner: m, known: map[string]*candidate{}, bans: map[string]time.Time{}}
}

func (c *candidates) add(addrs ...string) {
	for _, a := range addrs {
		if len(c.known) >= mostCandidates {
			return
		}
		if c.known[a] == nil {
			c.known[a] = &candidate{manner: c.manner}
			c.fresh = true
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
		if k.busy || now.Before(k.next) || c.banned(a, now) {
			continue
		}
		if best == nil || k.failures < best.failures {
			addr, best = a, k
		}
	}
	return addr, best
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
	case useful:
		k.failures = 0
	default:
		k.failures++
	}
	k.next = now.Add(backoff(k.failures))
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

// backoff doubles from a second to five minutes.
func backoff(failures int) time.Duration {
	return min(time.Second<<min(failures, 9), 5*time.Minute)
}

func (c *candidates) ban(addr string, now time.Time) {
	c.bans[host(addr)] = now.Add(banTime)
}

func (c *candidates) banned(addr string, now time.Time) bool {
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
