package dht

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
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
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
	a, _ := peeraddr.OfUDP(to)
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
		a, _ := peeraddr.OfUDP(conn.LocalAddr())
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

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var (
	testHash = weir.InfoHash{1, 2, 3}
	start    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// join returns a node that runs until the test ends.
func join(t *testing.T, opt Options) (n *Node, leave func()) {
	t.Helper()
	n = New(opt)
	if err := n.Join(); err != nil {
		t.Fatal(err)
	}
	leave = sync.OnceFunc(n.Leave)
	t.Cleanup(leave)
	return n, leave
}

// finds looks testHash up until a lookup finds want: on a machine that is busy elsewhere a
// node may take longer to answer than a lookup waits.
func finds(t *testing.T, n *Node, port int, want string) {
	t.Helper()
	for ctx, repeat := testContext(t), false; ctx.Err() == nil; repeat = true {
		ok := false
		_, err := n.Lookup(ctx, testHash, port, repeat, func(peers []netip.AddrPort) {
			ok = ok || slices.Contains(peers, ap(want))
		})
		if ok && err == nil {
			return
		}
	}
	t.Fatalf("%s was not found", want)
}

// TestNode: one that can be reached is announced, found by another that can't be reached,
// and by a third that knows only the records of that.
func TestNode(t *testing.T) {
	dn := openDHTNet(t, 12)
	tap := &wireTap{}
	var record atomic.Pointer[[]byte]
	opt := func(addr string, port func() int) Options {
		return Options{Port: port, Addr: addr, Bootstrap: dn.addrs[:1], ListenPacket: tap.listen,
			Record: func(b []byte) { record.Store(&b) }}
	}
	a, _ := join(t, opt("127.0.0.21:0", port(4001)))
	eventually(t, "the announce has arrived", func() bool {
		if _, err := a.Lookup(testContext(t), testHash, 4001, false, func([]netip.AddrPort) {}); err != nil {
			t.Fatal(err)
		}
		for len(dn.queries) > 0 {
			if m := <-dn.queries; m.Q == "announce_peer" && *m.A.Port == 4001 {
				return true
			}
		}
		return false
	})
	b, leave := join(t, opt("127.0.0.22:0", port(0)))
	finds(t, b, 0, "127.0.0.21:4001")
	if leave(); b.Status().Running {
		t.Error("the node runs on without a user")
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
	// The third listens where a node does without being told, at all addresses of both
	// families.
	o := opt("", port(4003))
	o.Bootstrap, o.Load = nil, func() []byte { return *record.Load() }
	c, _ := join(t, o)
	finds(t, c, 4003, "127.0.0.21:4001")
	if tap.packets(t) == 0 {
		t.Error("nothing was sent, so that nothing was tested")
	}
}

func TestNodeRenews(t *testing.T) {
	dn := openDHTNet(t, 10)
	n := New(Options{Port: port(4001), Addr: "127.0.0.1:0", Bootstrap: dn.addrs[:1], ListenPacket: net.ListenPacket})
	if err := n.Join(); err != nil {
		t.Fatal(err)
	}
	defer n.Leave()
	found := func([]netip.AddrPort) {}
	if answers, err := n.Lookup(testContext(t), testHash, 4001, false, found); err != nil || answers == 0 {
		t.Fatal(answers, err)
	}
	n.mu.Lock()
	n.born, n.opt.Bootstrap = n.born.Add(-time.Hour), nil
	old, addr := n.server, n.guard.LocalAddr().String()
	n.mu.Unlock()
	var peers []netip.AddrPort
	answers, err := n.Lookup(testContext(t), testHash, 0, false, func(a []netip.AddrPort) { peers = append(peers, a...) })
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
func joinMute(t *testing.T) (*Node, net.PacketConn) {
	t.Helper()
	mute, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	a, _ := peeraddr.OfUDP(mute.LocalAddr())
	n := New(Options{Port: port(0), Addr: "127.0.0.1:0", ListenPacket: net.ListenPacket})
	n.AddNode(a, true)
	if err := n.Join(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Leave)
	return n, mute
}

func TestLookupEndsWithContext(t *testing.T) {
	n, mute := joinMute(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends it once it has been asked
		mute.ReadFrom(make([]byte, 2048))
		cancel()
	}()
	before := time.Now()
	if answers, err := n.Lookup(ctx, testHash, 0, false, func([]netip.AddrPort) {}); answers != 0 || err == nil {
		t.Error(answers, err)
	}
	if took := time.Since(before); took > 1500*time.Millisecond { // the library waits 2 s for an answer
		t.Errorf("ended after %v", took)
	}
}

// TestNewTorrentPassesRepeats: torrents that are looked up again and again, of
// whom nobody knows anything, leave room for a new one.
func TestNewTorrentPassesRepeats(t *testing.T) {
	n, _ := joinMute(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range 50 {
		wg.Go(func() { _, _ = n.Lookup(ctx, weir.InfoHash{byte(i)}, 0, true, func([]netip.AddrPort) {}) })
	}
	eventually(t, "repeats are under way", func() bool { return len(n.lookups) == maxRepeats })
	wg.Go(func() { _, _ = n.Lookup(ctx, testHash, 0, false, func([]netip.AddrPort) {}) })
	eventually(t, "the new torrent is looked up", func() bool { return len(n.lookups) == maxRepeats+1 })
}

// TestNodeSurvives sends our node what ends a program with the bare library.
func TestNodeSurvives(t *testing.T) {
	n, _ := join(t, Options{Port: port(4001), Addr: "127.0.0.1:0", ListenPacket: net.ListenPacket})
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(n.Status().Addr))
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
		if h, err := parseHead(buf[:n]); err == nil && string(h.transaction) == "alive" {
			break
		}
	}
}
