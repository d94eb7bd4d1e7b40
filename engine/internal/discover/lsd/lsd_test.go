package lsd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// lan is a multicast group on loopback: what is sent to the group goes to all
// its members, the sender included.
type lan struct {
	group   netip.AddrPort
	members []net.PacketConn
	outside net.PacketConn // for what strangers say
	sent    atomic.Int32
}

// lanSender sends to the members of the lan in place of the group.
type lanSender struct {
	net.PacketConn
	lan *lan
}

func (s lanSender) WriteTo(b []byte, to net.Addr) (int, error) {
	if a, _ := peeraddr.OfUDP(to); a != s.lan.group {
		return 0, fmt.Errorf("test: sent to %v", to)
	}
	s.lan.sent.Add(1)
	for _, m := range s.lan.members {
		if _, err := s.PacketConn.WriteTo(b, m.LocalAddr()); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// openLAN makes a lan of n members, which take a service each. Over IPv6 all of
// them have the same address.
func openLAN(t *testing.T, group netip.AddrPort, n int) *lan {
	t.Helper()
	l := &lan{group: group}
	for i := range n + 1 {
		conn, err := net.ListenPacket("udp", net.JoinHostPort(l.ip(i), "0"))
		if err != nil {
			t.Fatal(err)
		}
		if i == n {
			l.outside = conn
			t.Cleanup(func() { conn.Close() })
		} else {
			l.members = append(l.members, conn)
		}
	}
	return l
}

func (l *lan) ip(i int) string {
	if l.group.Addr().Is6() {
		return "::1"
	}
	return fmt.Sprintf("127.0.0.%d", 41+i)
}

// options returns those of member i.
func (l *lan) options(i, port int) Options {
	return Options{
		Log: slog.New(slog.DiscardHandler), Port: func() int { return port },
		Listen: func(group netip.AddrPort) (net.PacketConn, net.PacketConn, error) {
			if group != l.group {
				return nil, nil, fmt.Errorf("no such network")
			}
			ip, _ := peeraddr.OfUDP(l.members[i].LocalAddr())
			send, err := net.ListenPacket("udp", netip.AddrPortFrom(ip.Addr(), 0).String())
			return l.members[i], lanSender{send, l}, err
		},
	}
}

// peer is a service in which somebody looks for one torrent.
type peer struct {
	s     *Service
	found chan string
}

func join(t *testing.T, opt Options, h weir.InfoHash) *peer {
	t.Helper()
	p := &peer{s: Open(opt), found: make(chan string, 100)}
	p.s.Join(h, func(a netip.AddrPort) { p.found <- a.String() })
	t.Cleanup(p.s.Close)
	return p
}

var (
	testHash = weir.InfoHash{1, 2, 3}
	start    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok, polling, and fails the test after a long time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx := testContext(t); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waiting in vain until %s", what)
		}
	}
}

func (p *peer) wait(t *testing.T, want string) {
	t.Helper()
	for ctx := testContext(t); ; {
		select {
		case got := <-p.found:
			if got == want {
				return
			}
		case <-ctx.Done():
			t.Fatalf("%q was not found", want)
		}
	}
}

func TestService(t *testing.T) {
	for _, group := range []netip.AddrPort{group4, group6} {
		t.Run(group.Addr().String(), func(t *testing.T) { testService(t, openLAN(t, group, 3)) })
	}
}

func testService(t *testing.T, l *lan) {
	at := func(i, port int) string {
		return netip.AddrPortFrom(netip.MustParseAddr(l.ip(i)), uint16(port)).String()
	}
	// The first listens before the second speaks. The third has another torrent.
	a := join(t, l.options(0, 4001), testHash)
	eventually(t, "the first has spoken", func() bool { return l.sent.Load() == 1 })
	c := join(t, l.options(2, 4003), weir.InfoHash{9})
	b := join(t, l.options(1, 4002), testHash)
	a.wait(t, at(1, 4002))
	eventually(t, "all have spoken", func() bool { return l.sent.Load() == 3 })
	// A stranger's word is the last: what came before it was heard.
	m := message{port: 7, hashes: []weir.InfoHash{testHash, {9}}, cookie: "stranger"}
	for _, to := range l.members {
		l.outside.WriteTo([]byte("BT-SEARCH * HTTP/1.1\r\nnonsense"), to.LocalAddr())
		l.outside.WriteTo(m.append(nil, l.group), to.LocalAddr())
	}
	for _, f := range []*peer{a, b, c} {
		select {
		case got := <-f.found: // not itself, and of no other torrent
			if got != at(3, 7) && !(f == b && got == at(0, 4001)) {
				t.Errorf("found %q", got)
			}
		case <-time.After(10 * time.Second):
			t.Error("a stranger was not heard")
		}
	}
	if n := l.sent.Load(); n != 3 {
		t.Errorf("%d messages within the minute", n)
	}
}

// TestServiceWithoutMembers: who takes no part says nothing, and who can't be reached
// only listens.
func TestServiceWithoutMembers(t *testing.T) {
	l := openLAN(t, group4, 2)
	idle := Open(l.options(0, 4001))
	t.Cleanup(idle.Close)
	leave := idle.Join(weir.InfoHash{9}, func(netip.AddrPort) { t.Error("an address of a torrent that was left") })
	eventually(t, "it has spoken", func() bool { return l.sent.Load() == 1 })
	leave()
	listener := join(t, l.options(1, 0), testHash)
	m := message{port: 7, hashes: []weir.InfoHash{testHash, {9}}, cookie: "stranger"}
	for _, to := range l.members {
		l.outside.WriteTo(m.append(nil, l.group), to.LocalAddr())
	}
	listener.wait(t, "127.0.0.43:7")
	idle.Close()
	if n := l.sent.Load(); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestServiceWithoutNetwork(t *testing.T) {
	s := Open(Options{
		Log: slog.New(slog.DiscardHandler), Port: func() int { return 1 },
		Listen: func(netip.AddrPort) (net.PacketConn, net.PacketConn, error) { return nil, nil, net.ErrClosed },
	})
	leave := s.Join(testHash, func(netip.AddrPort) {})
	leave()
	s.Close()
}
