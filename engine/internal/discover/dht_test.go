package discover

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/internal/discover/dht"
)

// packetCount opens sockets and counts what they send; they send to this machine only.
type packetCount struct{ atomic.Int32 }

type countedConn struct {
	net.PacketConn
	count *packetCount
}

func (p *packetCount) listen(network, addr string) (net.PacketConn, error) {
	conn, err := net.ListenPacket(network, addr)
	return &countedConn{conn, p}, err
}

func (c *countedConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.count.Add(1)
	if a, err := netip.ParseAddrPort(to.String()); err != nil || !a.Addr().Unmap().IsLoopback() {
		return 0, errors.New("test: not loopback")
	}
	return c.PacketConn.WriteTo(b, to)
}

// openRouter opens a node of a DHT, and returns its address.
func openRouter(t *testing.T, addr string) []string {
	t.Helper()
	n := dht.New(dht.Options{Port: port(1), Addr: addr, ListenPacket: net.ListenPacket})
	if err := n.Join(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Leave)
	return []string{n.Status().Addr.String()}
}

// finder is a Discoverer with a running search.
type finder struct {
	d     *Discoverer
	s     *Search
	found chan string
	stop  func()
}

func find(t *testing.T, opt Options, tor Torrent) *finder {
	t.Helper()
	opt.DHT = true
	d, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	f := &finder{d: d, found: make(chan string, 1000)}
	tor.Found = func(addrs []string, via Via) {
		for _, a := range addrs {
			f.found <- via.Source.String() + " " + a
		}
	}
	f.s = d.Search(tor)
	f.stop = sync.OnceFunc(run(f.s))
	t.Cleanup(func() { f.stop(); d.Close() })
	return f
}

// finds reports whether want is found before ctx ends.
func (f *finder) finds(ctx context.Context, want string) bool {
	for {
		select {
		case got := <-f.found:
			if got == want {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// findIt begins searches until one finds want: on a machine that is busy elsewhere
// a node may take longer to answer than a lookup waits, and the next comes in 15
// minutes.
func findIt(t *testing.T, opt Options, tor Torrent, want string) *finder {
	t.Helper()
	for ctx := testContext(t); ctx.Err() == nil; {
		f := find(t, opt, tor)
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		ok := f.finds(short, want)
		if cancel(); ok {
			return f
		}
		f.stop()
	}
	t.Fatalf("%q was not found", want)
	return nil
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

func port(n int) func() int { return func() int { return n } }

// TestDHT: a hybrid is found under both of its hashes.
func TestDHT(t *testing.T) {
	routers := openRouter(t, "127.0.1.1:0")
	opt := func(addr string, port func() int) Options {
		return Options{Port: port, DHTAddr: addr, DHTBootstrap: routers}
	}
	find(t, opt("127.0.0.21:0", port(4001)), Torrent{InfoHash: [20]byte{0x77, 1}, InfoHashV2: [32]byte{0x78}})
	for _, h := range [][20]byte{{0x77, 1}, {0x78}} {
		b := findIt(t, opt("127.0.0.22:0", port(0)), Torrent{InfoHash: h}, "dht 127.0.0.21:4001")
		b.stop()
		if b.d.DHT().Running {
			t.Error("the DHT runs on without a torrent")
		}
	}
}

func TestDHTWithoutNodesIsSilent(t *testing.T) {
	tap := &packetCount{}
	f := find(t, Options{Port: port(4001), DHTAddr: "127.0.0.1:0", ListenPacket: tap.listen}, Torrent{InfoHash: testHash})
	eventually(t, "the DHT runs", func() bool { return f.d.DHT().Running })
	f.stop()
	if n := tap.Load(); n != 0 {
		t.Errorf("%d packets to nobody", n)
	}
}

// TestDHTAwaitsTheNodes: nothing is asked of routers while the records may name nodes.
func TestDHTAwaitsTheNodes(t *testing.T) {
	routers := openRouter(t, "127.0.1.1:0")
	ready, opened := make(chan struct{}), make(chan bool, 10)
	var read atomic.Int32
	f := find(t, Options{
		Port: port(4001), DHTAddr: "127.0.0.1:0", DHTBootstrap: routers, NodesReady: ready,
		LoadNodes: func() []byte { read.Add(1); return nil },
		ListenPacket: func(network, addr string) (net.PacketConn, error) {
			select {
			case <-ready:
				opened <- true
			default:
				opened <- false
			}
			return net.ListenPacket(network, addr)
		},
	}, Torrent{InfoHash: testHash})
	f.s.Poke()
	if f.d.DHT().Running || read.Load() != 0 {
		t.Error("the DHT starts before the nodes can be read")
	}
	close(ready)
	if !<-opened {
		t.Error("the DHT started before the nodes could be read")
	}
	eventually(t, "the DHT runs", func() bool { return f.d.DHT().Running })
	f.stop()
	if n := read.Load(); n != 1 {
		t.Errorf("the nodes were read %d times", n)
	}
}

func TestDHTPrivate(t *testing.T) {
	routers := openRouter(t, "127.0.1.1:0")
	opt := func(tap *packetCount) Options {
		return Options{Port: port(4001), DHTAddr: "127.0.0.1:0", DHTBootstrap: routers, ListenPacket: tap.listen}
	}
	t.Run("Known", func(t *testing.T) {
		tap := &packetCount{}
		f := find(t, opt(tap), Torrent{InfoHash: testHash, Private: func() (bool, bool) { return true, true }})
		f.s.Poke()
		f.stop()
		if f.d.DHT().Running || tap.Load() != 0 {
			t.Error("a private torrent uses the DHT")
		}
	})
	t.Run("LearntLater", func(t *testing.T) {
		tap := &packetCount{}
		var private atomic.Bool
		f := find(t, opt(tap), Torrent{InfoHash: testHash, Private: func() (bool, bool) { return private.Load(), private.Load() }})
		eventually(t, "the DHT is used", func() bool { return tap.Load() > 0 })
		private.Store(true)
		f.s.Poke()
		eventually(t, "the DHT has stopped", func() bool { return !f.d.DHT().Running })
		n := tap.Load()
		f.s.Poke()
		f.stop()
		if now := tap.Load(); now != n {
			t.Errorf("%d packets after it was known to be private", now-n)
		}
	})
}
