// Package lsd is local service discovery (BEP 14): it announces our torrents in the local
// network and hears announcements of others. Which torrents take part, and what is done
// with an address, does not belong here.
//
// schedule decides which torrents are announced when, and linkChanges which networks are
// joined. Both have no I/O and no clock.
package lsd

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// Options are the settings of a Service.
type Options struct {
	Log *slog.Logger
	// Port returns the TCP port that peers reach us at, 0 when they can't: then the
	// service only listens.
	Port func() int
	// Listen opens the sockets of a multicast group: one that receives what is sent to it,
	// and one to send to it. nil for multicast on the networks of this machine.
	Listen func(group netip.AddrPort) (receive, send net.PacketConn, err error)
}

// Service has one goroutine for each address family. It is safe for concurrent use.
type Service struct {
	log    *slog.Logger
	port   func() int
	onLink func(netip.Addr) bool // whether an address is of a network that we are in
	cookie string
	groups []*group
	wg     sync.WaitGroup

	mu      sync.Mutex
	members map[weir.InfoHash]map[*member]struct{}
	closed  bool
}

// member is somebody who looks for the peers of a torrent.
type member struct{ heard func(netip.AddrPort) }

// group is one multicast group.
type group struct {
	addr          netip.AddrPort
	receive, send net.PacketConn
	schedule      schedule // guarded by Service.mu

	// For its goroutine. follow joins networks that have come and leaves those that went,
	// and reports whether one came; nil if the sockets need no such care.
	follow   func() (more bool)
	followed time.Time
}

// Open opens the groups that it can. One that it can't open is logged and left out: many
// machines have no multicast.
func Open(opt Options) *Service {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	s := &Service{
		log: opt.Log, port: opt.Port, onLink: onLink, cookie: "weir-" + hex.EncodeToString(b[:]),
		members: map[weir.InfoHash]map[*member]struct{}{},
	}
	for _, addr := range []netip.AddrPort{group4, group6} {
		g, err := openGroup(addr, opt.Listen)
		if err != nil {
			s.log.Debug("no local service discovery", "group", addr, "err", err)
			continue
		}
		g.schedule.capacity = capacity(s.cookie)
		s.groups = append(s.groups, g)
		s.wg.Go(func() { s.run(g) })
	}
	return s
}

func openGroup(addr netip.AddrPort, listen func(netip.AddrPort) (receive, send net.PacketConn, err error)) (*group, error) {
	if listen != nil {
		receive, send, err := listen(addr)
		return &group{addr: addr, receive: receive, send: send}, err
	}
	receive, send, err := listenGroup(addr)
	if err != nil {
		return nil, err
	}
	return &group{addr: addr, receive: receive, send: send, follow: send.follow}, nil
}

// Join announces h until leave is called. heard gets the addresses of peers that announce
// it, on a goroutine of the service, and must not wait.
func (s *Service) Join(h weir.InfoHash, heard func(netip.AddrPort)) (leave func()) {
	m := &member{heard}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.members[h] == nil {
		s.members[h] = map[*member]struct{}{}
	}
	s.members[h][m] = struct{}{}
	for _, g := range s.groups {
		g.schedule.add(h)
		_ = g.receive.SetReadDeadline(time.Now()) // wakes its goroutine
	}
	return func() { s.leave(h, m) }
}

// Hold announces h, as far as messages have room, until Quit is called. It stays quiet about
// peers, but one that announces h is told of us soon.
func (s *Service) Hold(h weir.InfoHash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		g.schedule.held.add(h)
		_ = g.receive.SetReadDeadline(time.Now()) // wakes its goroutine
	}
}

// Quit ends Hold. It does nothing if h is not held.
func (s *Service) Quit(h weir.InfoHash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		g.schedule.held.remove(h)
	}
}

func (s *Service) leave(h weir.InfoHash, m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.members[h], m)
	if len(s.members[h]) > 0 {
		return
	}
	delete(s.members, h)
	for _, g := range s.groups {
		g.schedule.remove(h)
	}
}

// Close closes the sockets and waits for the goroutines.
func (s *Service) Close() {
	s.mu.Lock()
	closing := !s.closed
	s.closed = true
	s.mu.Unlock()
	if closing {
		for _, g := range s.groups {
			g.receive.Close()
			g.send.Close()
		}
	}
	s.wg.Wait()
}

// run receives from a group and announces to it what is due.
func (s *Service) run(g *group) {
	buf := make([]byte, 2*maxBytes)
	for s.follow(g) && s.announce(g) {
		n, addr, err := g.receive.ReadFrom(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no such error passes by itself
			s.log.Debug("local service discovery ends", "group", g.addr, "err", err)
			return
		}
		if from, ok := peeraddr.OfUDP(addr); ok {
			s.hear(from, buf[:n])
		}
	}
}

// follow follows the networks of this machine, if that is due and there is something to
// announce. It reports false when the service is closed.
func (s *Service) follow(g *group) bool {
	s.mu.Lock()
	_, wanted := g.schedule.next()
	closed := s.closed
	s.mu.Unlock()
	if now := time.Now(); g.follow != nil && wanted && !closed && now.Sub(g.followed) >= followInterval {
		g.followed = now
		if g.follow() {
			s.mu.Lock()
			g.schedule.again()
			s.mu.Unlock()
		}
	}
	return !closed
}

// announce sends what is due and sets the deadline of reading to the next time. It
// reports false when the service is closed.
func (s *Service) announce(g *group) bool {
	port := s.port()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	var hashes []weir.InfoHash
	if port > 0 {
		hashes = g.schedule.take(time.Now())
	}
	deadline, ok := g.schedule.next()
	if !ok {
		deadline = time.Time{} // until somebody joins
	} else if port == 0 {
		deadline = time.Now().Add(spacing)
	}
	if next := g.followed.Add(followInterval); ok && g.follow != nil && next.Before(deadline) {
		deadline = next
	}
	// Under mu, so that the deadline of a Join is not overwritten.
	_ = g.receive.SetReadDeadline(deadline)
	s.mu.Unlock()
	if len(hashes) == 0 {
		return true
	}
	m := message{port: port, hashes: hashes, cookie: s.cookie}
	if _, err := g.send.WriteTo(m.append(nil, g.addr), net.UDPAddrFromAddrPort(g.addr)); err != nil {
		s.log.Debug("local service discovery", "group", g.addr, "err", err)
	}
	return true
}

// hear takes a message from the network.
func (s *Service) hear(from netip.AddrPort, b []byte) {
	m, err := parseMessage(b)
	if err != nil || m.cookie == s.cookie {
		return
	}
	addr := netip.AddrPortFrom(from.Addr(), uint16(m.port))
	if !peeraddr.Usable(addr, true) { // the address is where the packet came from
		return
	}
	s.mu.Lock()
	for _, g := range s.groups {
		for _, h := range m.hashes {
			g.schedule.held.asked(h, time.Now())
		}
	}
	ours := slices.DeleteFunc(m.hashes, func(h weir.InfoHash) bool { return len(s.members[h]) == 0 })
	s.mu.Unlock()
	if len(ours) == 0 || !s.onLink(from.Addr()) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range ours {
		for m := range s.members[h] {
			m.heard(addr) // does not wait
		}
	}
}
