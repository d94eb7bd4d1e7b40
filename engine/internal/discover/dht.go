package discover

import (
	"crypto/rand"
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
)

// Times and limits of our DHT node.
const (
	dhtRenew        = 30 * time.Minute // a server's life, see dhtNode
	dhtLookups      = 8                // at once, of all torrents
	dhtRepeats      = 4                // of them, for torrents that were looked up before
	dhtPacketsASec  = 100              // sent, answers included
	dhtRefusalsASec = 10               // of queries that we don't know
	dhtHints        = 64               // nodes that peers and torrents named
	dhtEnough       = 8                // known nodes that make bootstrapping unnecessary
	resolveTimeout  = 5 * time.Second
)

// dhtNode is our node in the DHT. It runs while a torrent uses it.
//
// The library's server does the protocol and the routing table. It never forgets
// a node of its table without asking it by itself, on goroutines that outlive
// it; so instead a server lives for half an hour, and the next one starts, on
// the same socket, with the nodes that answered in that time and with an id for
// the address that they see us at (BEP 42). The lookups are ours.
type dhtNode struct {
	opt     Options
	looking chan struct{} // holds a token per lookup under way
	// repeats holds one more for each that is not its torrent's first: a crowd of
	// dead magnets must not keep a new torrent waiting.
	repeats chan struct{}
	peers   *peerStore

	recording sync.Mutex // held while RecordNodes is called

	mu      sync.Mutex // guards what follows; held while sockets open and close, which doesn't wait for anybody
	users   int
	guard   *krpcGuard  // nil when stopped
	server  *dht.Server // nil when stopped
	conn    *serverConn
	born    time.Time // of server
	passive bool      // of server
	active  int       // lookups that use server
	loaded  bool      // the nodes of a former run are read
	self    time.Time // of the last lookup of our own neighbours

	bookMu sync.Mutex // guards what follows; taken last
	book   *nodeBook
	hints  []netip.AddrPort
	hinted int // hints so far
}

func newDHTNode(opt Options) *dhtNode {
	n := &dhtNode{
		opt:     opt,
		looking: make(chan struct{}, dhtLookups),
		repeats: make(chan struct{}, dhtRepeats),
		peers:   newPeerStore(),
		book:    newNodeBook(),
	}
	return n
}

// ready reports whether the nodes of a former run can be read, without which the
// node does not start.
func (n *dhtNode) ready() bool {
	if n.opt.NodesReady == nil {
		return true
	}
	select {
	case <-n.opt.NodesReady:
		return true
	default:
		return false
	}
}

// load reads the nodes of a former run, once; mu is held.
func (n *dhtNode) load() {
	if n.loaded || n.opt.LoadNodes == nil {
		return
	}
	n.loaded = true
	book := decodeNodeBook(n.opt.LoadNodes(), time.Now())
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	n.book = book
}

// join counts a user and starts the node for the first one.
func (n *dhtNode) join() error {
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

// leave ends what join began. The last user stops the node.
func (n *dhtNode) leave() {
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
func (n *dhtNode) open() error {
	conn, err := n.listen()
	if err != nil {
		return fmt.Errorf("open DHT: %w", err)
	}
	n.guard = &krpcGuard{
		PacketConn: conn, answered: n.noteAnswer,
		readOnly: func() bool { return n.opt.Port() == 0 },
		refusals: rate.NewLimiter(dhtRefusalsASec, dhtRefusalsASec),
	}
	if err := n.openServer(); err != nil {
		conn.Close()
		n.guard = nil
		return fmt.Errorf("open DHT: %w", err)
	}
	return nil
}

func (n *dhtNode) listen() (net.PacketConn, error) {
	if n.opt.DHTAddr != "" {
		return n.opt.ListenPacket("udp", n.opt.DHTAddr)
	}
	if port := n.opt.Port(); port > 0 {
		if conn, err := n.opt.ListenPacket("udp", ":"+strconv.Itoa(port)); err == nil {
			return conn, nil
		}
	}
	return n.opt.ListenPacket("udp", ":0")
}

// openServer starts a server on the socket; mu is held.
func (n *dhtNode) openServer() error {
	n.bookMu.Lock()
	n.book.settleID()
	id, alive := n.book.id, n.book.alive(time.Now())
	n.bookMu.Unlock()
	conn := newServerConn(n.guard)
	passive := n.opt.Port() == 0
	server, err := dht.NewServer(&dht.ServerConfig{
		NodeId:  id,
		Conn:    conn,
		Passive: passive, // BEP 43
		// Ours is made as BEP 42 says. Others' are not demanded to be: too many
		// honest nodes don't know their address.
		NoSecurity:  true,
		PeerStore:   n.peers,
		Logger:      log.NewLogger("dht").FilterLevel(log.Disabled),
		DefaultWant: []krpc.Want{krpc.WantNodes, krpc.WantNodes6},
		SendLimiter: rate.NewLimiter(dhtPacketsASec, dhtPacketsASec/4),
	})
	if err != nil {
		return err
	}
	for _, a := range alive {
		_ = server.AddNode(krpc.NodeInfo{ID: a.id, Addr: nodeAddr(a.addr)}) // a full bucket is no loss
	}
	n.server, n.conn, n.passive, n.born = server, conn, passive, time.Now()
	return nil
}

// closeServer ends the server and waits for its reading; mu is held.
func (n *dhtNode) closeServer() {
	if n.server == nil {
		return
	}
	n.server.Close()
	_ = n.conn.Close() // nothing was buffered
	n.server = nil
}

// use returns the server for a lookup, a new one if its time has come and nobody
// else is using it. The caller calls done.
func (n *dhtNode) use() (server *dht.Server, done func(), err error) {
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
func (n *dhtNode) stale(now time.Time) bool {
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	ip := n.book.publicIP()
	return now.Sub(n.born) > dhtRenew || n.passive != (n.opt.Port() == 0) || ip.IsValid() && ip != n.book.idFor
}

// settleID makes the id of our node: a random one, in which the address that
// others see us at shows (BEP 42).
func (b *nodeBook) settleID() {
	ip := b.publicIP()
	if b.id != ([20]byte{}) && (!ip.IsValid() || ip == b.idFor) {
		return
	}
	_, _ = rand.Read(b.id[:]) // never fails
	if ip.IsValid() {
		b.idFor = ip
		dht.SecureNodeId((*krpc.ID)(&b.id), ip.AsSlice())
	}
}

func (n *dhtNode) noteAnswer(from netip.AddrPort, id [20]byte, weAre netip.Addr) {
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	n.book.note(time.Now(), from, id, weAre)
}

// hint adds a node that somebody named, who is on this machine or not.
func (n *dhtNode) hint(a netip.AddrPort, fromLoopback bool) {
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	if !usable(a, fromLoopback) {
		return
	}
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	for _, h := range n.hints {
		if h == a {
			return
		}
	}
	if len(n.hints) == dhtHints {
		n.hints = n.hints[1:]
	}
	n.hints = append(n.hints, a)
	n.hinted++
}

// hintedSo returns how many nodes were named so far.
func (n *dhtNode) hintedSo() int {
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	return n.hinted
}

// record hands the nodes to the hook.
func (n *dhtNode) record() {
	if n.opt.RecordNodes == nil {
		return
	}
	n.recording.Lock() // calls don't overlap, and the newest is the last
	defer n.recording.Unlock()
	n.bookMu.Lock()
	b := n.book.encode(time.Now())
	n.bookMu.Unlock()
	n.opt.RecordNodes(b)
}

// port returns the port of the socket, 0 while there is none.
func (n *dhtNode) port() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guard == nil {
		return 0
	}
	a, _ := addrPort(n.guard.LocalAddr())
	return int(a.Port())
}

func (n *dhtNode) status() DHTStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	var s DHTStatus
	if n.guard != nil {
		s.Running = true
		s.Addr, _ = addrPort(n.guard.LocalAddr())
	}
	n.bookMu.Lock()
	s.Nodes = len(n.book.alive(time.Now()))
	n.bookMu.Unlock()
	return s
}
