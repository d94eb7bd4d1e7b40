package discover

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
)

// lsd tells the local network of our torrents and hears of others' (BEP 14). It
// has one goroutine for each address family.
type lsd struct {
	log    *slog.Logger
	port   func() int
	onLink func(netip.Addr) bool // whether an address is of a network that we are in
	cookie string
	groups []*lsdGroup
	wg     sync.WaitGroup

	mu     sync.Mutex
	joined map[weir.InfoHash]map[*Search]func(netip.AddrPort)
	closed bool
}

// lsdGroup is one multicast group.
type lsdGroup struct {
	addr          netip.AddrPort
	receive, send net.PacketConn
	round         lsdRound // guarded by lsd.mu

	// For its owner. follow looks for networks that came and went, and reports whether
	// one came; nil if that doesn't happen.
	follow func() (more bool)
	looked time.Time
}

// openLSD opens what groups it can.
func openLSD(opt Options) *lsd {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	l := &lsd{
		log: opt.Log, port: opt.Port, onLink: onLink, cookie: "weir-" + hex.EncodeToString(b[:]),
		joined: map[weir.InfoHash]map[*Search]func(netip.AddrPort){},
	}
	listen := opt.ListenGroup
	if listen == nil {
		listen = listenGroup
	}
	for _, addr := range []netip.AddrPort{lsdGroup4, lsdGroup6} {
		receive, send, err := listen(addr)
		if err != nil {
			l.log.Debug("no local service discovery", "group", addr, "err", err)
			continue
		}
		g := &lsdGroup{addr: addr, receive: receive, send: send, round: lsdRound{room: lsdRoom(l.cookie)}}
		if s, ok := send.(interface{ follow() bool }); ok {
			g.follow = s.follow
		}
		l.groups = append(l.groups, g)
		l.wg.Go(func() { l.own(g) })
	}
	return l
}

// join tells the network of h while searcher takes part; heard gets what others
// tell, on a goroutine of lsd, and must not wait.
func (l *lsd) join(h weir.InfoHash, searcher *Search, heard func(netip.AddrPort)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.joined[h] == nil {
		l.joined[h] = map[*Search]func(netip.AddrPort){}
	}
	l.joined[h][searcher] = heard
	for _, g := range l.groups {
		g.round.add(h)
		_ = g.receive.SetReadDeadline(time.Now()) // wakes the owner
	}
}

func (l *lsd) leave(h weir.InfoHash, searcher *Search) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.joined[h], searcher)
	if len(l.joined[h]) > 0 {
		return
	}
	delete(l.joined, h)
	for _, g := range l.groups {
		g.round.remove(h)
	}
}

func (l *lsd) close() {
	l.mu.Lock()
	closing := !l.closed
	l.closed = true
	l.mu.Unlock()
	if closing {
		for _, g := range l.groups {
			g.receive.Close()
			g.send.Close()
		}
	}
	l.wg.Wait()
}

// own receives from a group and tells it what is due.
func (l *lsd) own(g *lsdGroup) {
	buf := make([]byte, 2*maxLSDBytes)
	for l.look(g) && l.tell(g) {
		n, addr, err := g.receive.ReadFrom(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // of which there are none that pass by themselves
			l.log.Debug("local service discovery ends", "group", g.addr, "err", err)
			return
		}
		if from, ok := addrPort(addr); ok {
			l.hear(from, buf[:n])
		}
	}
}

// look follows the networks of this machine, if it is time and there is something to
// tell. It reports false when lsd is closed.
func (l *lsd) look(g *lsdGroup) bool {
	l.mu.Lock()
	_, wanted := g.round.next()
	closed := l.closed
	l.mu.Unlock()
	if now := time.Now(); g.follow != nil && wanted && !closed && now.Sub(g.looked) >= lsdLook {
		g.looked = now
		if g.follow() {
			l.mu.Lock()
			g.round.again()
			l.mu.Unlock()
		}
	}
	return !closed
}

// tell sends what is due and sets the deadline of reading to the next time. It
// reports false when lsd is closed.
func (l *lsd) tell(g *lsdGroup) bool {
	port := l.port()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	var hashes []weir.InfoHash
	if port > 0 {
		hashes = g.round.take(time.Now())
	}
	deadline, ok := g.round.next()
	if !ok {
		deadline = time.Time{} // until somebody joins
	} else if port == 0 {
		deadline = time.Now().Add(lsdSpacing)
	}
	if next := g.looked.Add(lsdLook); ok && g.follow != nil && next.Before(deadline) {
		deadline = next
	}
	// Under mu, so that a join can't come between and be forgotten.
	_ = g.receive.SetReadDeadline(deadline)
	l.mu.Unlock()
	if len(hashes) == 0 {
		return true
	}
	m := lsdMessage{port: port, hashes: hashes, cookie: l.cookie}
	if _, err := g.send.WriteTo(m.append(nil, g.addr), net.UDPAddrFromAddrPort(g.addr)); err != nil {
		l.log.Debug("local service discovery", "group", g.addr, "err", err)
	}
	return true
}

// hear takes a message from the network.
func (l *lsd) hear(from netip.AddrPort, b []byte) {
	m, err := parseLSD(b)
	if err != nil || m.cookie == l.cookie {
		return
	}
	addr := netip.AddrPortFrom(from.Addr(), uint16(m.port))
	if !usable(addr, true) { // the address is where the packet came from
		return
	}
	l.mu.Lock()
	known := slices.DeleteFunc(m.hashes, func(h weir.InfoHash) bool { return len(l.joined[h]) == 0 })
	l.mu.Unlock()
	if len(known) == 0 || !l.onLink(from.Addr()) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range known {
		for _, heard := range l.joined[h] {
			heard(addr) // does not wait
		}
	}
}
