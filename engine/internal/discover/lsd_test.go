package discover

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
)

// sentMessages takes what is sent to a group, and sends nothing.
type sentMessages struct {
	net.PacketConn
	sent chan string
}

func (s sentMessages) WriteTo(b []byte, _ net.Addr) (int, error) {
	s.sent <- string(b)
	return len(b), nil
}

// localNetwork is the network of a Discoverer with LSD alone.
type localNetwork struct {
	d    *Discoverer
	sent chan string
	to   net.Addr // what is sent there is heard as from the group
}

func openLocalNetwork(t *testing.T, asked chan<- weir.InfoHash) *localNetwork {
	t.Helper()
	n := &localNetwork{sent: make(chan string, 100)}
	d, err := Open(Options{LSD: true, Port: port(4242), ListenGroup: func(group netip.AddrPort) (receive, send net.PacketConn, err error) {
		if group.Addr().Is6() {
			return nil, nil, net.ErrClosed
		}
		if receive, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		n.to = receive.LocalAddr()
		if send, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		return receive, sentMessages{send, n.sent}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.trackers = &fakeTrackers{begin: time.Now(), networks: []string{""}, announce: func(_ context.Context, _ string, req tracker.Request) (tracker.Answer, error) {
		select {
		case asked <- req.Hash:
		default:
		}
		return tracker.Answer{Interval: time.Hour}, nil
	}}
	n.d = d
	t.Cleanup(func() { d.Close() })
	return n
}

// search searches for the peers of h, which has a tracker, until the test ends.
func (n *localNetwork) search(t *testing.T, h weir.InfoHash, found chan<- weir.InfoHash, private func() (bool, bool)) {
	t.Helper()
	stop := run(n.d.Search(Torrent{InfoHash: h, Trackers: [][]string{{"http://a/announce"}}, Private: private, Found: func(addrs []string, _ Via) {
		if len(addrs) > 0 {
			found <- h
		}
	}}))
	t.Cleanup(stop)
}

// tell lets somebody in the network announce torrents.
func (n *localNetwork) tell(t *testing.T, hashes ...weir.InfoHash) {
	t.Helper()
	conn, err := net.Dial("udp4", n.to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 5555\r\n"
	for _, h := range hashes {
		b += fmt.Sprintf("Infohash: %s\r\n", h)
	}
	if _, err := conn.Write([]byte(b + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("not within a minute: %s", what)
		panic("not reached")
	}
}

// TestLSDPrivate: the local network is told nothing of a private torrent, and what it
// tells of one is not believed (BEP 27).
func TestLSDPrivate(t *testing.T) {
	asked, found := make(chan weir.InfoHash, 100), make(chan weir.InfoHash, 100)
	n := openLocalNetwork(t, asked)
	public, private, magnet := weir.InfoHash{1}, weir.InfoHash{2}, weir.InfoHash{3}
	n.search(t, private, found, func() (bool, bool) { return true, true })
	receive(t, asked, "the tracker of the private torrent is asked")
	n.search(t, public, found, nil)
	if m := receive(t, n.sent, "the public torrent is announced"); strings.Contains(m, private.String()) || !strings.Contains(m, public.String()) {
		t.Errorf("announced: %q", m)
	}

	// A magnet turns out to be private.
	var known atomic.Bool
	n.search(t, magnet, found, func() (bool, bool) { return known.Load(), known.Load() })
	n.tell(t, magnet)
	if h := receive(t, found, "a peer of the magnet"); h != magnet {
		t.Errorf("found peers of %s", h)
	}
	known.Store(true)
	n.tell(t, private, magnet, public)
	if h := receive(t, found, "a peer of the public torrent"); h != public {
		t.Errorf("found peers of %s, which is private", h)
	}
	n.tell(t, public) // what was told of the others before has been heard by then
	if h := receive(t, found, "a peer of the public torrent"); h != public {
		t.Errorf("found peers of %s, which is private", h)
	}
}
