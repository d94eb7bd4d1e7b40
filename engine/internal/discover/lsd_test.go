package discover

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
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
	if a, _ := addrPort(to); a != s.lan.group {
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

// openLAN makes a lan of n members, which take a Discoverer each. Over IPv6 all of
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
		LSD: true, Port: func() int { return port },
		ListenGroup: func(group netip.AddrPort) (net.PacketConn, net.PacketConn, error) {
			if group != l.group {
				return nil, nil, fmt.Errorf("no such network")
			}
			ip, _ := addrPort(l.members[i].LocalAddr())
			send, err := net.ListenPacket("udp", netip.AddrPortFrom(ip.Addr(), 0).String())
			return l.members[i], lanSender{send, l}, err
		},
	}
}

func findLSD(t *testing.T, opt Options, tor Torrent) *finder {
	t.Helper()
	d, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	f := &finder{d: d, found: make(chan string, 100)}
	tor.Found = func(addrs []string, via Via) {
		for _, a := range addrs {
			f.found <- via.Source.String() + " " + a
		}
	}
	f.s = d.Search(tor)
	f.stop = run(f.s)
	t.Cleanup(func() { f.stop(); d.Close() })
	return f
}

func TestLSD(t *testing.T) {
	for _, group := range []netip.AddrPort{lsdGroup4, lsdGroup6} {
		t.Run(group.Addr().String(), func(t *testing.T) { testLSD(t, openLAN(t, group, 3)) })
	}
}

func testLSD(t *testing.T, l *lan) {
	at := func(i, port int) string {
		return "lsd " + netip.AddrPortFrom(netip.MustParseAddr(l.ip(i)), uint16(port)).String()
	}
	// The first listens before the second speaks. The third has another torrent.
	a := findLSD(t, l.options(0, 4001), Torrent{InfoHash: testHash})
	eventually(t, "the first has spoken", func() bool { return l.sent.Load() == 1 })
	c := findLSD(t, l.options(2, 4003), Torrent{InfoHash: [20]byte{9}})
	b := findLSD(t, l.options(1, 4002), Torrent{InfoHash: testHash})
	a.wait(t, at(1, 4002))
	eventually(t, "all have spoken", func() bool { return l.sent.Load() == 3 })
	// A stranger's word is the last: what came before it was heard.
	m := lsdMessage{port: 7, hashes: b.s.hashes, cookie: "stranger"}
	m.hashes = append(m.hashes, c.s.hashes...)
	for _, to := range l.members {
		l.outside.WriteTo([]byte("BT-SEARCH * HTTP/1.1\r\nnonsense"), to.LocalAddr())
		l.outside.WriteTo(m.append(nil, l.group), to.LocalAddr())
	}
	for _, f := range []*finder{a, b, c} {
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

func TestLSDPrivate(t *testing.T) {
	l := openLAN(t, lsdGroup4, 2)
	f := findLSD(t, l.options(0, 4001), Torrent{InfoHash: testHash, Private: func() (bool, bool) { return true, true }})
	listener := findLSD(t, l.options(1, 0), Torrent{InfoHash: testHash}) // can't be reached: only listens
	m := lsdMessage{port: 7, hashes: f.s.hashes, cookie: "stranger"}
	for _, to := range l.members {
		eventuallyJoined := func() bool {
			listener.d.lsd.mu.Lock()
			defer listener.d.lsd.mu.Unlock()
			return len(listener.d.lsd.joined) == 1
		}
		eventually(t, "the listener has joined", eventuallyJoined)
		l.outside.WriteTo(m.append(nil, l.group), to.LocalAddr())
	}
	listener.wait(t, "lsd 127.0.0.43:7")
	f.stop()
	if len(f.found) > 0 || l.sent.Load() != 0 {
		t.Errorf("a private torrent heard %d and said %d", len(f.found), l.sent.Load())
	}
}

// TestLSDWithoutNetwork: a machine without multicast works all the same.
func TestLSDWithoutNetwork(t *testing.T) {
	d, err := Open(Options{LSD: true, ListenGroup: func(netip.AddrPort) (net.PacketConn, net.PacketConn, error) {
		return nil, nil, net.ErrClosed
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := d.Search(Torrent{InfoHash: testHash})
	stop := run(s)
	s.Poke()
	stop()
	d.Close()
}
