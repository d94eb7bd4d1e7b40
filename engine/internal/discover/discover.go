package discover

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// Options are the settings of a Discoverer.
type Options struct {
	Log       *slog.Logger // nil: silent
	PeerID    [20]byte
	UserAgent string // told to HTTP trackers
	// Rule says which addresses trackers may be at.
	Rule netrule.Rule
	// Port returns the TCP port that peers reach us at, 0 when they can't: then
	// the DHT node is read-only (BEP 43) and doesn't announce us, and LSD only
	// listens.
	Port func() int

	DHT bool
	// DHTBootstrap are the nodes (host:port) that are asked when no others are
	// known. When it is empty no node is contacted but those that peers or the
	// records name. PublicRouters is the usual choice.
	DHTBootstrap []string
	// DHTAddr is where the DHT listens (UDP); empty for all addresses at the port
	// number of Port, or at any when that is taken.
	DHTAddr string
	// LoadNodes returns what RecordNodes was last given, or nil. It is called once,
	// before the DHT starts; the DHT does not start before NodesReady is closed, if
	// that is not nil.
	LoadNodes  func() []byte
	NodesReady <-chan struct{}
	// RecordNodes keeps the DHT nodes that answered lately, in a form of this
	// package's own, a few KiB. It is called whenever the DHT stops, and every half
	// hour while it runs. Calls don't overlap.
	RecordNodes func([]byte)

	LSD bool // local service discovery (BEP 14)

	// Dial connects to HTTP trackers, by addresses alone; nil for the system's network.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// ListenPacket opens the sockets of the DHT; nil for net.ListenPacket.
	ListenPacket func(network, addr string) (net.PacketConn, error)
	// ListenGroup opens the sockets of LSD: one that receives what is sent to
	// group, and one to send to it. nil for multicast on the system's default
	// interface.
	ListenGroup func(group netip.AddrPort) (receive, send net.PacketConn, err error)
}

// PublicRouters returns the usual ways into the public DHT.
func PublicRouters() []string {
	return []string{
		"router.bittorrent.com:6881",
		"router.utorrent.com:6881",
		"dht.transmissionbt.com:6881",
		"dht.libtorrent.org:25401",
	}
}

// Discoverer finds peers for many torrents. Its methods are safe for concurrent
// use.
type Discoverer struct {
	opt      Options
	log      *slog.Logger
	key      uint32 // tells trackers that it is us after our address changed
	announce func(ctx context.Context, url string, req announceRequest) (announceAnswer, error)
	resolve  func(ctx context.Context, named []namedPeer, fromLoopback bool) []netip.AddrPort
	networks func(ctx context.Context, url string) []string
	scrape   func(ctx context.Context, url string, hashes []weir.InfoHash) ([]scrapeCount, error)
	trackers *trackers
	asking   chan struct{} // holds a token per announce under way
	dht      *dhtNode      // nil when off
	lsd      *lsd          // nil when off

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu   sync.Mutex
	runs sync.WaitGroup // Add under mu, and not after ctx has ended
}

// Open starts what all torrents share. The DHT starts with the first torrent
// that may use it and stops with the last. LSD that can't open its sockets is
// logged and left out: many machines have no multicast.
func Open(opt Options) (*Discoverer, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Port == nil {
		opt.Port = func() int { return 0 }
	}
	if opt.ListenPacket == nil {
		opt.ListenPacket = net.ListenPacket
	}
	var key [4]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	d := &Discoverer{
		opt:      opt,
		log:      opt.Log,
		key:      binary.BigEndian.Uint32(key[:]),
		trackers: newTrackers(opt.UserAgent, opt.Rule),
		asking:   make(chan struct{}, announcesAtOnce),
	}
	d.trackers.dial = opt.Dial
	d.announce, d.networks, d.scrape, d.resolve = d.trackers.announce, d.trackers.networks, d.trackers.scrape, d.trackers.resolve
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if opt.DHT {
		d.dht = newDHTNode(opt)
	}
	if opt.LSD {
		d.lsd = openLSD(opt)
	}
	return d, nil
}

// Close ends all that runs and waits for it: at most about a second, in which
// trackers are told that we leave.
func (d *Discoverer) Close() error {
	d.mu.Lock()
	d.cancel()
	d.mu.Unlock()
	d.runs.Wait()
	if d.lsd != nil {
		d.lsd.close()
	}
	return nil
}

// enter counts a run. It reports false after Close.
func (d *Discoverer) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return false
	}
	d.runs.Add(1)
	return true
}

// AddNode tells of a DHT node that a peer named, which is the peer itself (the port
// message of BEP 5).
func (d *Discoverer) AddNode(a netip.AddrPort) {
	if d.dht != nil {
		d.dht.hint(a, true)
	}
}

// DHTPort returns the UDP port of our DHT node, which peers are told (BEP 5), or 0
// while none runs.
func (d *Discoverer) DHTPort() int {
	if d.dht == nil {
		return 0
	}
	return d.dht.port()
}

// DHTStatus is the state of the DHT.
type DHTStatus struct {
	Running bool
	Addr    netip.AddrPort // of the socket; its port is what the port message tells (BEP 5)
	Nodes   int            // that answered within half an hour
}

// DHT returns the state of the DHT.
func (d *Discoverer) DHT() DHTStatus {
	if d.dht == nil {
		return DHTStatus{}
	}
	return d.dht.status()
}
