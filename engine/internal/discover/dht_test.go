package discover

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/log"
	"golang.org/x/time/rate"

	"github.com/weirfs/weir"
)

// wireTap opens sockets and remembers to whom they send.
type wireTap struct {
	mu   sync.Mutex
	sent map[netip.AddrPort]int
}

type tappedConn struct {
	net.PacketConn
	tap *wireTap
}

func (w *wireTap) listen(network, addr string) (net.PacketConn, error) {
	conn, err := net.ListenPacket(network, addr)
	return &tappedConn{conn, w}, err
}

func (c *tappedConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.tap.mu.Lock()
	if c.tap.sent == nil {
		c.tap.sent = map[netip.AddrPort]int{}
	}
	a, _ := addrPort(to)
	c.tap.sent[a]++
	c.tap.mu.Unlock()
	if !a.Addr().IsLoopback() {
		return 0, fmt.Errorf("test: %v is not loopback", a)
	}
	return c.PacketConn.WriteTo(b, to)
}

// packets returns how many were sent, and fails the test if one was not for this
// machine.
func (w *wireTap) packets(t *testing.T) (n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for a, count := range w.sent {
		if !a.Addr().IsLoopback() {
			t.Errorf("%d packets to %v", count, a)
		}
		n += count
	}
	return n
}

// dhtNet is a DHT of the library's servers on loopback.
type dhtNet struct {
	addrs   []string
	queries chan krpc.Msg // some of what they are asked
}

func openDHTNet(t *testing.T, n int) *dhtNet {
	t.Helper()
	d := &dhtNet{queries: make(chan krpc.Msg, 1000)}
	var infos []krpc.NodeInfo
	var servers []*dht.Server
	for i := range n {
		conn, err := net.ListenPacket("udp", fmt.Sprintf("127.0.1.%d:0", i+1))
		if err != nil {
			t.Fatal(err)
		}
		s, err := dht.NewServer(&dht.ServerConfig{
			Conn: conn, NoSecurity: true, PeerStore: newPeerStore(),
			Logger: log.NewLogger("test").FilterLevel(log.Disabled), SendLimiter: rate.NewLimiter(rate.Inf, 1),
			OnQuery: func(m *krpc.Msg, _ net.Addr) bool {
				select {
				case d.queries <- *m:
				default:
				}
				return true
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		a, _ := addrPort(conn.LocalAddr())
		infos = append(infos, krpc.NodeInfo{ID: s.ID(), Addr: nodeAddr(a)})
		servers = append(servers, s)
		d.addrs = append(d.addrs, a.String())
	}
	// Each pings some others: only nodes that answered are named to others.
	for i, s := range servers {
		for j := range 8 {
			if other := infos[(i+j*j+1)%n]; other.ID != s.ID() {
				err := s.Ping(other.Addr.UDP()).Err
				for again := 0; err != nil && again < 10; again++ { // a machine that is busy elsewhere
					err = s.Ping(other.Addr.UDP()).Err
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return d
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

func (f *finder) wait(t *testing.T, want string) {
	t.Helper()
	if !f.finds(testContext(t), want) {
		t.Fatalf("%q was not found", want)
	}
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

func TestDHT(t *testing.T) {
	dn := openDHTNet(t, 12)
	tap := &wireTap{}
	var record atomic.Pointer[[]byte]
	tor := Torrent{InfoHash: testHash, InfoHashV2: [32]byte{0x77}}
	opt := func(addr string, port func() int) Options {
		return Options{Port: port, DHTAddr: addr, DHTBootstrap: dn.addrs[:1], ListenPacket: tap.listen,
			RecordNodes: func(b []byte) { record.Store(&b) }}
	}
	find(t, opt("127.0.0.21:0", port(4001)), tor)
	eventually(t, "the announce has arrived", func() bool {
		select {
		case m := <-dn.queries:
			return m.Q == "announce_peer" && *m.A.Port == 4001
		default:
			return false
		}
	})
	// Another that can't be reached looks for it. A hybrid is found under both of
	// its hashes.
	b := findIt(t, opt("127.0.0.22:0", port(0)), Torrent{InfoHash: testHash}, "dht 127.0.0.21:4001")
	b.stop()
	if b.d.DHT().Running {
		t.Error("the DHT runs on without a torrent")
	}
	readOnly := false
	for len(dn.queries) > 0 {
		m := <-dn.queries
		readOnly = readOnly || m.ReadOnly
		if m.ReadOnly && m.Q == "announce_peer" {
			t.Error("one who can't be reached announces itself")
		}
	}
	if !readOnly {
		t.Error("no query was marked read-only (BEP 43)")
	}
	if record.Load() == nil || len(decodeNodeBook(*record.Load(), start).answered) == 0 {
		t.Fatal("nodes were not recorded")
	}
	// A third knows no router, only the records. It listens where one does without
	// being told, at all addresses of both families.
	o := opt("", port(4003))
	o.DHTBootstrap, o.LoadNodes = nil, func() []byte { return *record.Load() }
	findIt(t, o, Torrent{InfoHash: testHash}, "dht 127.0.0.21:4001")
	if tap.packets(t) == 0 {
		t.Error("nothing was sent, so that nothing was tested")
	}
}

func TestDHTWithoutNodesIsSilent(t *testing.T) {
	tap := &wireTap{}
	f := find(t, Options{Port: port(4001), DHTAddr: "127.0.0.1:0", ListenPacket: tap.listen}, Torrent{InfoHash: testHash})
	eventually(t, "the DHT runs", func() bool { return f.d.DHT().Running })
	f.stop()
	if n := tap.packets(t); n != 0 {
		t.Errorf("%d packets to nobody", n)
	}
}

// TestDHTAwaitsTheNodes: nothing is asked of routers while the records may name nodes.
func TestDHTAwaitsTheNodes(t *testing.T) {
	dn := openDHTNet(t, 3)
	ready, opened := make(chan struct{}), make(chan bool, 10)
	var read atomic.Int32
	f := find(t, Options{
		Port: port(4001), DHTAddr: "127.0.0.1:0", DHTBootstrap: dn.addrs, NodesReady: ready,
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
	dn := openDHTNet(t, 3)
	opt := func(tap *wireTap) Options {
		return Options{Port: port(4001), DHTAddr: "127.0.0.1:0", DHTBootstrap: dn.addrs, ListenPacket: tap.listen}
	}
	t.Run("Known", func(t *testing.T) {
		tap := &wireTap{}
		f := find(t, opt(tap), Torrent{InfoHash: testHash, Private: func() (bool, bool) { return true, true }})
		f.s.Poke()
		f.stop()
		if f.d.DHT().Running || tap.packets(t) != 0 {
			t.Error("a private torrent uses the DHT")
		}
	})
	t.Run("LearntLater", func(t *testing.T) {
		tap := &wireTap{}
		var private atomic.Bool
		f := find(t, opt(tap), Torrent{InfoHash: testHash, Private: func() (bool, bool) { return private.Load(), private.Load() }})
		eventually(t, "the DHT is used", func() bool { return tap.packets(t) > 0 })
		private.Store(true)
		f.s.Poke()
		eventually(t, "the DHT has stopped", func() bool { return !f.d.DHT().Running })
		n := tap.packets(t)
		f.s.Poke()
		f.stop()
		if now := tap.packets(t); now != n {
			t.Errorf("%d packets after it was known to be private", now-n)
		}
	})
}

// TestDHTSurvives sends our node what ends a program with the bare library.
func TestDHTSurvives(t *testing.T) {
	f := find(t, Options{Port: port(4001), DHTAddr: "127.0.0.1:0"}, Torrent{InfoHash: testHash})
	eventually(t, "the DHT runs", func() bool { return f.d.DHT().Running })
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(f.d.DHT().Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range krpcCases {
		if len(c.in) > 0 {
			if _, err := conn.Write([]byte(c.in)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("d1:ad" + id20 + "e1:q4:ping1:t5:alive1:y1:qe")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal("no answer to a ping:", err)
		}
		if d, err := parseDict(buf[:n]); err == nil && string(d.get("t").str) == "alive" {
			break
		}
	}
}

func TestDHTRenews(t *testing.T) {
	dn := openDHTNet(t, 10)
	n := newDHTNode(Options{Port: port(4001), DHTAddr: "127.0.0.1:0", DHTBootstrap: dn.addrs[:1], ListenPacket: net.ListenPacket})
	if err := n.join(); err != nil {
		t.Fatal(err)
	}
	defer n.leave()
	found := func([]netip.AddrPort) {}
	if answers, err := n.lookup(testContext(t), testHash, 4001, false, found); err != nil || answers == 0 {
		t.Fatal(answers, err)
	}
	n.mu.Lock()
	n.born, n.opt.DHTBootstrap = n.born.Add(-time.Hour), nil
	old, addr := n.server, n.guard.LocalAddr().String()
	n.mu.Unlock()
	var peers []netip.AddrPort
	answers, err := n.lookup(testContext(t), testHash, 0, false, func(a []netip.AddrPort) { peers = append(peers, a...) })
	if err != nil || answers == 0 || !slices.Contains(peers, ap("127.0.0.1:4001")) {
		t.Errorf("after renewal: %d answers, peers %v, %v", answers, peers, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == old || n.guard.LocalAddr().String() != addr {
		t.Error("the server is the old one, or the socket a new one")
	}
}

// joinMute returns a node that has joined a DHT of one other, which never answers.
func joinMute(t *testing.T) (*dhtNode, net.PacketConn) {
	t.Helper()
	mute, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	a, _ := addrPort(mute.LocalAddr())
	n := newDHTNode(Options{Port: port(0), DHTAddr: "127.0.0.1:0", ListenPacket: net.ListenPacket})
	n.hint(a, true)
	if err := n.join(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.leave)
	return n, mute
}

func TestDHTLookupEndsWithContext(t *testing.T) {
	n, mute := joinMute(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends it once it has been asked
		mute.ReadFrom(make([]byte, 2048))
		cancel()
	}()
	before := time.Now()
	if answers, err := n.lookup(ctx, testHash, 0, false, func([]netip.AddrPort) {}); answers != 0 || err == nil {
		t.Error(answers, err)
	}
	if took := time.Since(before); took > 1500*time.Millisecond { // the library waits 2 s for an answer
		t.Errorf("ended after %v", took)
	}
}

// TestDHTNewTorrentPassesRepeats: torrents that are looked up again and again, of
// whom nobody knows anything, leave room for a new one.
func TestDHTNewTorrentPassesRepeats(t *testing.T) {
	n, _ := joinMute(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range 50 {
		wg.Go(func() { _, _ = n.lookup(ctx, weir.InfoHash{byte(i)}, 0, true, func([]netip.AddrPort) {}) })
	}
	eventually(t, "repeats are under way", func() bool { return len(n.looking) == dhtRepeats })
	wg.Go(func() { _, _ = n.lookup(ctx, testHash, 0, false, func([]netip.AddrPort) {}) })
	eventually(t, "the new torrent is looked up", func() bool { return len(n.looking) == dhtRepeats+1 })
}
