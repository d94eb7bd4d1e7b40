// Package discover finds peers for warm torrents, and lets others find us for these and for
// those that are held. It decides which
// source is asked when: trackers, the DHT and local service discovery, each a package of
// its own beneath this one. Peer exchange (package pex) is a conversation between two
// peers, and no part of a search.
//
// The goroutine that calls Run owns the search for one torrent; the search starts no
// other that stays. Torrents that are held, and that nobody uses, are announced by one
// goroutine for all of them. Connections to peers, and which address to dial, do not belong here:
// addresses are passed on and not remembered.
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
	"github.com/weirfs/weir/engine/internal/discover/dht"
	"github.com/weirfs/weir/engine/internal/discover/lsd"
	"github.com/weirfs/weir/engine/internal/discover/tracker"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// announcesAtOnce bounds the conversations with trackers, of all torrents together.
const announcesAtOnce = 256

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
	// DHTBootstrap are the nodes (host:port) that are asked when no others are known. If
	// it is empty, only nodes are contacted that peers, torrents or the records name.
	// PublicRouters is the usual choice.
	DHTBootstrap []string
	// DHTAddr is where the DHT listens (UDP); empty for all addresses at the port
	// number of Port, or at any when that is taken.
	DHTAddr string
	// LoadNodes returns what RecordNodes was last given, or nil. It is called once,
	// before the DHT starts, and not before NodesReady is closed, if that is not nil.
	LoadNodes  func() []byte
	NodesReady <-chan struct{}
	// RecordNodes keeps the DHT nodes that answered lately, a few KiB. It is called
	// whenever the DHT stops, and every half hour while it runs. Calls don't overlap.
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
	key      uint32 // by which trackers know us when our address changes
	trackers trackers
	asking   chan struct{} // holds a token per conversation with a tracker
	dht      *dht.Node     // nil when off
	lsd      *lsd.Service  // nil when off
	held     heldTorrents

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu   sync.Mutex
	runs sync.WaitGroup // Add under mu, and not after ctx has ended
}

// trackers is what a search asks of trackers.
type trackers interface {
	Announce(ctx context.Context, url string, req tracker.Request) (tracker.Answer, error)
	Scrape(ctx context.Context, url string, hashes []weir.InfoHash) ([]tracker.Counts, error)
	Networks(ctx context.Context, url string) []string
	Resolve(ctx context.Context, named []tracker.NamedPeer, fromLoopback bool) []netip.AddrPort
}

var _ trackers = (*tracker.Client)(nil)

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
		trackers: tracker.New(opt.UserAgent, opt.Rule, opt.Dial),
		asking:   make(chan struct{}, announcesAtOnce),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if opt.DHT {
		d.dht = dht.New(dht.Options{
			Port: opt.Port, Bootstrap: opt.DHTBootstrap, Addr: opt.DHTAddr, ListenPacket: opt.ListenPacket,
			Load: opt.LoadNodes, LoadReady: opt.NodesReady, Record: opt.RecordNodes,
		})
	}
	if opt.LSD {
		d.lsd = lsd.Open(lsd.Options{Log: opt.Log, Port: opt.Port, Listen: opt.ListenGroup})
	}
	d.held = heldTorrents{d: d, wake: make(chan struct{}, 1), jobs: make(chan struct{}, heldAtOnce), held: map[*Presence]Held{}}
	d.runs.Add(1)
	go d.held.run()
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
		d.lsd.Close()
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

// AddNode adds the DHT node of a peer, which has told us its port (BEP 5).
func (d *Discoverer) AddNode(a netip.AddrPort) {
	if d.dht != nil {
		d.dht.AddNode(a, true)
	}
}

// DHTPort returns the UDP port of our DHT node, which peers are told (BEP 5), or 0
// while none runs.
func (d *Discoverer) DHTPort() int {
	if d.dht == nil {
		return 0
	}
	return d.dht.Port()
}

// DHT returns the state of the DHT.
func (d *Discoverer) DHT() dht.Status {
	if d.dht == nil {
		return dht.Status{}
	}
	return d.dht.Status()
}
