// Package connlimit decides who gets a connection: how many there are over all
// torrents, how many dials each torrent has under way, how many connections one address
// or network may have, and which peer or handshake gives way to a newcomer. Facts go in,
// decisions come out: it opens and closes nothing, and has no clock.
package connlimit

import (
	"net/netip"
	"sync"
)

// The dials under way over all torrents are bounded, so that a router with a small
// table of connections is not flooded. The first half of maxHalfOpen goes to whoever
// asks first, the second is divided evenly between the torrents; each torrent may have
// minDials whatever the others do. A torrent whose last hopelessAfter dials all failed is
// hopeless: once half of maxHalfOpen is used, it gets a single dial, which does not count
// for the others. So many dead torrents don't keep a live one from its peers.
const (
	maxHalfOpen   = 64
	minDials      = 2
	hopelessAfter = 8
)

// Limiter counts the connections of all torrents, dials included. It is safe for
// concurrent use.
type Limiter struct {
	most int

	mu       sync.Mutex
	open     int // slots taken, dials included
	dialing  int
	hopeless int         // dials of hopeless torrents
	dials    map[any]int // by torrent
	hopeful  map[any]int // the same, without those of hopeless torrents
	networks map[netip.Prefix]int
}

// Slot is the right to have one connection.
type Slot struct {
	l        *Limiter
	torrent  any // whose dial it is; guarded by l.mu, as are the others
	addr     netip.Addr
	gone     bool
	hopeless bool
	hurried  bool
}

// New returns a Limiter for so many connections.
func New(most int) *Limiter {
	return &Limiter{most: most, dials: map[any]int{}, hopeful: map[any]int{}, networks: map[netip.Prefix]int{}}
}

// Incoming returns a slot for an incoming connection, or nil if there is none.
// full reports that the limit of all connections was hit, and not that of the address.
func (l *Limiter) Incoming(addr netip.Addr) (s *Slot, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.allows(addr) {
		return nil, false
	}
	if l.open >= l.most {
		return nil, true
	}
	s = &Slot{l: l, addr: addr}
	l.enter(s)
	return s, false
}

// Dial returns a slot for a connection that a torrent makes, or nil if there is none.
// full reports that the limit of connections was hit, and not that of dials. failed is
// how many dials of the torrent have failed since one succeeded. addr is invalid
// for a host name.
func (l *Limiter) Dial(torrent any, addr netip.Addr, failed int) (s *Slot, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hurried, hopeless := l.dialing >= maxHalfOpen/2, failed >= hopelessAfter
	if l.open >= l.most || !l.mayDial(l.dials[torrent], hopeless) {
		return nil, l.open >= l.most
	}
	l.dialing++
	l.dials[torrent]++
	s = &Slot{l: l, addr: addr, torrent: torrent, hopeless: hopeless, hurried: hurried}
	l.enter(s)
	if hopeless {
		l.hopeless++
	} else {
		l.hopeful[torrent]++
	}
	return s, false
}

func (l *Limiter) enter(s *Slot) {
	l.open++
	for _, p := range networks(s.addr) {
		l.networks[p]++
	}
}

// mayDial reports whether a torrent that has so many dials under way may have one
// more; mu is held.
func (l *Limiter) mayDial(dials int, hopeless bool) bool {
	others := l.dialing - l.hopeless
	switch {
	case dials == 0, dials < minDials && !hopeless:
		return l.dialing < max(maxHalfOpen, l.most*3/4) // connections need slots too
	case hopeless:
		return l.dialing < maxHalfOpen/2
	case others < maxHalfOpen/2:
		return true
	}
	return others < maxHalfOpen && dials < maxHalfOpen/max(1, len(l.hopeful))
}

// Usage returns the slots that are taken, and the dials among them.
func (l *Limiter) Usage() (open, dialing int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open, l.dialing
}

// Neighbours returns how many connections there are with the network of an
// address, all torrents together.
func (l *Limiter) Neighbours(addr netip.Addr) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if list := networks(addr); len(list) > 0 {
		return l.networks[list[0]]
	}
	return 0
}

// Neighbour returns how much this slot adds to Neighbours of its own address: 0 or 1.
func (s *Slot) Neighbour() int {
	if s.addr.IsValid() {
		return 1
	}
	return 0
}

// Hurried reports whether so many dials are under way that this one should have a
// short timeout.
func (s *Slot) Hurried() bool { return s.hurried }

// Connected says that the dial is over.
func (s *Slot) Connected() {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	t := s.torrent
	if t == nil {
		return
	}
	s.torrent = nil
	s.l.dialing--
	if s.hopeless {
		s.l.hopeless--
	} else if s.l.hopeful[t]--; s.l.hopeful[t] == 0 {
		delete(s.l.hopeful, t)
	}
	if s.l.dials[t]--; s.l.dials[t] == 0 {
		delete(s.l.dials, t)
	}
}

// Release gives the slot back. It may be called more than once.
func (s *Slot) Release() {
	s.Connected()
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.gone {
		return
	}
	s.gone = true
	s.l.open--
	for _, p := range networks(s.addr) {
		if s.l.networks[p]--; s.l.networks[p] == 0 {
			delete(s.l.networks, p)
		}
	}
}
