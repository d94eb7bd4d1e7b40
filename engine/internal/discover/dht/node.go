// Package dht is our node in the DHT (BEP 5, 32, 42, 43): lookups, which also announce
// us, answers to others, and the nodes that are remembered over a restart. The library
// implements the protocol and the routing table. Which torrent is looked up, and when,
// does not belong here.
//
// lookup decides the steps of a lookup, and nodeBook what is remembered. Both have no I/O
// and no clock.
package dht

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/log"
	"golang.org/x/time/rate"

	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// Times and limits of our node.
const (
	renewAfter     = 30 * time.Minute // a server's life, see Node
	maxLookups     = 8                // at once, of all torrents
	maxRepeats     = 4                // of them, for torrents that were looked up before
	packetsPerSec  = 100              // sent, answers included
	refusalsPerSec = 10               // of queries that we don't know
	maxNamed       = 64               // nodes that peers and torrents named
	enoughNodes    = 8                // known nodes that make bootstrapping unnecessary
	resolveTimeout = 5 * time.Second
)

// Options are the settings of a Node.
type Options struct {
	// Port returns the TCP port that peers reach us at, 0 when they can't: then the node
	// is read-only (BEP 43).
	Port func() int
	// Bootstrap are the nodes (host:port) that are asked when no others are known.
	Bootstrap []string
	// Addr is where the node listens (UDP); empty for all addresses at the port number
	// of Port, or at any when that is taken.
	Addr string
	// Load returns what Record was last given, or nil. It is called once, before the
	// node starts; nil if nothing is kept.
	Load func() []byte
	// LoadReady is closed when Load may be called; nil for at once.
	LoadReady <-chan struct{}
	// Record keeps the nodes that answered lately, in a form of this package's own, a few
	// KiB. It is called whenever the node stops, and every half hour while it runs. Calls
	// don't overlap. nil if nothing is kept.
	Record func([]byte)
	// ListenPacket opens the socket.
	ListenPacket func(network, addr string) (net.PacketConn, error)
}

// Node is our node in the DHT. It runs while a torrent uses it. It is safe for concurrent
// use.
//
// The library's server never drops a node from its table without asking it first, on
// goroutines that outlive the server. So a server lives for half an hour, and the next
// one starts, on the same socket, with the nodes that answered in that time and with an
// id for the address that they see us at (BEP 42). The lookups are ours.
type Node struct {
	opt     Options
	lookups chan struct{} // holds a token per lookup under way
	// repeats holds one more for each that is not its torrent's first, so that many dead
	// magnets don't keep a new torrent waiting.
	repeats chan struct{}
	peers   *peerStore

	recording sync.Mutex // held while Options.Record is called

	mu       sync.Mutex // guards what follows; held while sockets open and close, which doesn't wait for anybody
	users    int
	guard    *guard      // nil when stopped
	server   *dht.Server // nil when stopped
	conn     *serverConn
	born     time.Time // of server
	readOnly bool      // of server
	active   int       // lookups that use server
	loaded   bool      // the nodes of a former run are read
	selfAt   time.Time // of the last lookup of our own neighbours

	bookMu     sync.Mutex // guards what follows; taken last
	book       *nodeBook
	named      []netip.AddrPort // nodes that peers and torrents named
	namedCount int              // so far
}

// New returns a node that is stopped.
func New(opt Options) *Node {
	return &Node{
		opt:     opt,
		lookups: make(chan struct{}, maxLookups),
		repeats: make(chan struct{}, maxRepeats),
		peers:   newPeerStore(),
		book:    newNodeBook(),
	}
}

// Ready reports whether the node can start: the nodes of a former run can be read.
func (n *Node) Ready() bool {
	if n.opt.LoadReady == nil {
		return true
	}
	select {
	case <-n.opt.LoadReady:
		return true
	default:
		return false
	}
}

// load reads the nodes of a former run, once; mu is held.
func (n *Node) load() {
	if n.loaded || n.opt.Load == nil {
		return
	}
	n.loaded = true
	book := decodeNodeBook(n.opt.Load(), time.Now())
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	n.book = book
}

// Join counts a user and starts the node for the first one.
func (n *Node) Join() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users == 0 {
		n.load()
		if err := n.open(); err != nil {
			return err
		}
	}
	n.users++
	return nil
}

// Leave ends what Join began. The last user stops the node.
func (n *Node) Leave() {
	n.mu.Lock()
	n.users--
	stop := n.users == 0
	if stop {
		n.closeServer()
		n.guard.PacketConn.Close()
		n.guard = nil
	}
	n.mu.Unlock()
	if stop {
		n.record()
	}
}

// open opens the socket and starts a server; mu is held.
func (n *Node) open() error {
	conn, err := n.listen()
	if err != nil {
		return fmt.Errorf("open DHT: %w", err)
	}
	n.guard = &guard{
		PacketConn: conn, answered: n.recordAnswer,
		readOnly: func() bool { return n.opt.Port() == 0 },
		refusals: rate.NewLimiter(refusalsPerSec, refusalsPerSec),
	}
	if err := n.openServer(); err != nil {
		conn.Close()
		n.guard = nil
		return fmt.Errorf("open DHT: %w", err)
	}
	return nil
}

func (n *Node) listen() (net.PacketConn, error) {
	if n.opt.Addr != "" {
		return n.opt.ListenPacket("udp", n.opt.Addr)
	}
	if port := n.opt.Port(); port > 0 {
		if conn, err := n.opt.ListenPacket("udp", ":"+strconv.Itoa(port)); err == nil {
			return conn, nil
		}
	}
	return n.opt.ListenPacket("udp", ":0")
}

// openServer starts a server on the socket; mu is held.
func (n *Node) openServer() error {
	n.bookMu.Lock()
	n.book.updateID()
	id, alive := n.book.id, n.book.alive(time.Now())
	n.bookMu.Unlock()
	conn := newServerConn(n.guard)
	readOnly := n.opt.Port() == 0
	server, err := dht.NewServer(&dht.ServerConfig{
		NodeId:  id,
		Conn:    conn,
		Passive: readOnly, // BEP 43
		// Our id is made as BEP 42 says. Others' need not be: too many honest nodes don't
		// know their address.
		NoSecurity:  true,
		PeerStore:   n.peers,
		Logger:      log.NewLogger("dht").FilterLevel(log.Disabled),
		DefaultWant: []krpc.Want{krpc.WantNodes, krpc.WantNodes6},
		SendLimiter: rate.NewLimiter(packetsPerSec, packetsPerSec/4),
	})
	if err != nil {
		return err
	}
	for _, a := range alive {
		_ = server.AddNode(krpc.NodeInfo{ID: a.id, Addr: nodeAddr(a.addr)}) // a full bucket is no loss
	}
	n.server, n.conn, n.readOnly, n.born = server, conn, readOnly, time.Now()
	return nil
}

// closeServer ends the server and waits for its reading; mu is held.
func (n *Node) closeServer() {
	if n.server == nil {
		return
	}
	n.server.Close()
	_ = n.conn.Close() // nothing was buffered
	n.server = nil
}

// use returns the server for a lookup, a new one if the old one is to be replaced and
// nobody else uses it. The caller calls done.
func (n *Node) use() (server *dht.Server, done func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guard == nil {
		return nil, nil, errors.New("DHT is stopped")
	}
	if n.server == nil || n.active == 0 && n.stale(time.Now()) {
		n.closeServer()
		if err := n.openServer(); err != nil {
			return nil, nil, fmt.Errorf("renew DHT: %w", err)
		}
	}
	n.active++
	return n.server, func() {
		n.mu.Lock()
		n.active--
		n.mu.Unlock()
	}, nil
}

// stale reports whether the server is to be replaced; mu is held.
func (n *Node) stale(now time.Time) bool {
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	ip := n.book.publicIP()
	return now.Sub(n.born) > renewAfter || n.readOnly != (n.opt.Port() == 0) || ip.IsValid() && ip != n.book.idIP
}

// recordAnswer remembers a node that answered. ourIP is how it sees our address, if it
// said so.
func (n *Node) recordAnswer(from netip.AddrPort, id [20]byte, ourIP netip.Addr) {
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	n.book.answer(time.Now(), from, id, ourIP)
}

// AddNode adds a node that somebody named. One on loopback counts only with fromLoopback.
func (n *Node) AddNode(a netip.AddrPort, fromLoopback bool) {
	a = peeraddr.Unmap(a)
	if !peeraddr.Usable(a, fromLoopback) {
		return
	}
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	for _, known := range n.named {
		if known == a {
			return
		}
	}
	if len(n.named) == maxNamed {
		n.named = n.named[1:]
	}
	n.named = append(n.named, a)
	n.namedCount++
}

// Named returns how many nodes AddNode has added so far.
func (n *Node) Named() int {
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	return n.namedCount
}

// record hands the nodes to Options.Record.
func (n *Node) record() {
	if n.opt.Record == nil {
		return
	}
	n.recording.Lock() // the newest record is the last
	defer n.recording.Unlock()
	n.bookMu.Lock()
	b := n.book.encode(time.Now())
	n.bookMu.Unlock()
	n.opt.Record(b)
}

// Port returns the UDP port of the node, 0 while it is stopped.
func (n *Node) Port() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guard == nil {
		return 0
	}
	a, _ := peeraddr.OfUDP(n.guard.LocalAddr())
	return int(a.Port())
}

// Status is the state of a node.
type Status struct {
	Running bool
	Addr    netip.AddrPort // of the socket; its port is what the port message tells (BEP 5)
	Nodes   int            // that answered within half an hour
}

// Status returns the state of the node.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	var s Status
	if n.guard != nil {
		s.Running = true
		s.Addr, _ = peeraddr.OfUDP(n.guard.LocalAddr())
	}
	n.bookMu.Lock()
	s.Nodes = len(n.book.alive(time.Now()))
	n.bookMu.Unlock()
	return s
}
