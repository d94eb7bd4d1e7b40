package connector

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/discover"
	"github.com/weirfs/weir/engine/internal/discover/pex"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// ErrBanned is why a peer is not connected that sent wrong data.
var ErrBanned = errors.New("peer sent wrong data")

var (
	errTwice = errors.New("already connected to this peer")
	errSelf  = errors.New("connected to ourselves")
)

// Swarm is what a Connector connects peers for. Its methods are called by the owner.
type Swarm interface {
	// NewPeer returns the swarm's side of a connection that is to be.
	NewPeer() Peer
	// Conns yields the connections that joined and were not dropped.
	Conns() iter.Seq[*Conn]
	// Demand says how much peers are needed.
	Demand(now time.Time) connlimit.Demand
}

// Peer is the swarm's side of a connection, from before that is made until it is
// dropped. Its methods are called by the owner.
type Peer interface {
	// Early returns the messages that go out with our handshake, nil for none. It is
	// called once, before the handshake of a connection that we make.
	Early() []byte
	// HandshakeOver says that the handshake after Early is over. Join may follow.
	HandshakeOver()
	// Join takes the connection. Its messages come to the swarm's inbox from then on.
	Join(c *Conn)
	// Drop ends the connection, and says so to Connector.Left.
	Drop(why error)
	// Received returns the bytes of blocks that it gave.
	Received() int64
	// Interesting reports whether it has, or may have, something that we lack. That takes
	// a step a piece.
	Interesting() bool
	// Facts says what the connection is of use for besides.
	Facts() Facts
}

// Facts are what goes over a connection.
type Facts struct {
	Wants bool      // it wants blocks of us
	Moved time.Time // a block went either way, or it joined
	Gave  time.Time // it gave something; zero if it never did
	Took  time.Time // a block went to it; zero if none did
}

// Conn is a connection of a torrent. It belongs to the owner of the swarm.
type Conn struct {
	Link     *link.Link
	Addr     string        // host:port of the other side
	Dialed   bool          // we connected, so Addr is where it listens
	RTT      time.Duration // of the TCP handshake; 0 for incoming
	Joined   time.Time
	Answered bool // it has sent a message

	peer      Peer
	slot      *connlimit.Slot
	early     bool // more than a handshake went out with ours
	port      int  // where it listens, by its own word; 0 if it did not say
	pexID     int  // its number for ut_pex, 0 if it has none
	pexIn     pex.Receiver
	pexOut    pex.Sender
	nodeKnown bool  // its node in the DHT is
	noted     int64 // of what it gave, bytes that are noted for later runs
}

// Options are what a Connector is told of its torrent. All are required, but for Former.
// The functions may be called by any goroutine.
type Options struct {
	Context  context.Context // ends with the swarm
	Log      *slog.Logger
	Spawn    func(func()) // runs a function in a goroutine that the swarm waits for
	InfoHash weir.InfoHash
	Names    func() source.Names
	// Presence is what the trackers know of us under an info hash.
	Presence func(weir.InfoHash) *discover.Presence
	// Stays reports, once the swarm has ended, whether the torrent goes on being announced.
	Stays func() bool
	// Paused reports whether nothing is fetched though not all is there.
	Paused func() bool
	Nodes  []string      // of the DHT, as the source names them
	Peers  []string      // host:port that the user named
	Bans   peerbook.Bans // of the torrent; they belong to the Connector until it stops
	// Info returns the metadata, nil while it is not known; it may read the Store.
	Info func() *weir.TorrentInfo
	// LoadedInfo is Info without a look into the Store.
	LoadedInfo func() *weir.TorrentInfo
	// Left returns the bytes that we lack, Downloaded and Uploaded those that we got and
	// gave.
	Left, Downloaded, Uploaded func() int64
	// Former is closed when a former torrent of the same info hash has ended; nil if
	// there was none.
	Former <-chan struct{}
	// Link is what each link gets besides its connection. The owner of its Inbox owns the
	// Connector.
	Link    link.Options
	Records Records
	// RecordsReady reports whether Records answers without making the caller wait.
	RecordsReady func() bool
	// PostWrite has a function called that writes records, beside the owner.
	PostWrite func(write func())
}

// Connector finds and connects the peers of one warm torrent. It belongs to the owner of
// the swarm, but for what says otherwise.
type Connector struct {
	o     Options
	end   *Endpoint
	swarm Swarm

	connected atomic.Int32

	book      *peerbook.Book
	searches  searches
	lastDial  error     // of the last dial that failed since one succeeded
	requested time.Time // when another torrent was asked for a slot last
	madeWay   time.Time // when this one gave another torrent a slot last
	exchanged time.Time // when peers were last told of others

	// Records are those of the torrent's peers.
	Records PeerRecords
}

// New returns the Connector of a swarm. It does nothing until Start.
func New(e *Endpoint, swarm Swarm, o Options) *Connector {
	c := &Connector{
		o: o, end: e, swarm: swarm,
		book: peerbook.New(e.priority, uint8(link.FirstMode(e.o.Encryption)), o.Bans),
	}
	c.searches.c = c
	c.Records = PeerRecords{c: c, at: time.Now().Add(recordFirst - recordEvery)}
	c.AddPeers(o.Peers)
	return c
}

// Start begins the search for peers.
func (c *Connector) Start() {
	c.end.mu.Lock()
	c.end.running[c] = struct{}{}
	c.end.mu.Unlock()
	c.searches.begin()
}

// Stop says that the swarm ends, and can be asked for connections no more.
func (c *Connector) Stop() {
	c.end.mu.Lock()
	delete(c.end.running, c)
	c.end.mu.Unlock()
}

// runOnOwner has the owner run fn and waits for it. It reports false if the owner went
// away before, and then fn does not run.
func (c *Connector) runOnOwner(fn func()) bool { return c.o.Link.Inbox.DoAndWait(c.o.Context, fn) }

// Connected returns how many peers are connected. It is safe for concurrent use.
func (c *Connector) Connected() int { return int(c.connected.Load()) }

// Known returns how many addresses may be dialed, now or later.
func (c *Connector) Known() int { return c.book.Len() }

// Dialing returns how many dials are under way.
func (c *Connector) Dialing() int { return c.book.Dialing() }

// LastDial returns why the last dial failed, nil if it didn't.
func (c *Connector) LastDial() error { return c.lastDial }

// AddPeers makes addresses known that the user named.
func (c *Connector) AddPeers(addrs []string) {
	c.book.Add(time.Now(), peerbook.Origin{Source: peerbook.User}, addrs...)
}

// Housekeep does what time alone calls for.
func (c *Connector) Housekeep(now time.Time) {
	c.dial(now)
	c.exchange(now)
	c.Records.writeWhenDue(now)
	c.book.Expire(now)
}

// join makes a connection whose handshakes are done one of the swarm.
func (c *Connector) join(k *Conn, conn net.Conn, hello wire.Handshake) error {
	if hello.PeerID == c.end.peerID {
		return errSelf
	}
	from := link.Remote(conn)
	for o := range c.swarm.Conns() {
		if o.Link.Hello.PeerID == hello.PeerID && !k.mayJoin(o, from, c.end.peerID) {
			return errTwice
		}
	}
	for _, a := range []string{k.Addr, from.String()} { // a host name is banned by where it led
		if c.book.Banned(a, time.Now()) {
			return ErrBanned
		}
	}
	if !c.admit(k.slot, from.Addr().Unmap(), k.Dialed) {
		return errFull
	}
	o := c.o.Link
	o.Conn, o.Hello = conn, hello
	k.Link, k.Joined = link.New(o), time.Now()
	c.connected.Add(1)
	c.o.Log.Debug("peer joined", "peer", k.Addr, "rtt", k.RTT, "dialed", k.Dialed)
	k.peer.Join(k)
	k.Link.Run(c.o.Context, c.o.Spawn)
	return nil
}

// Left ends a connection that the swarm has dropped. useful tells whether anything came
// of it.
func (c *Connector) Left(k *Conn, useful bool, why error) {
	now := time.Now()
	c.connected.Add(-1)
	c.Records.note(k, now)
	switch {
	case k.Dialed && !k.Answered && c.twin(k) != nil:
		c.book.Duplicate(k.Addr, now)
	case k.Dialed && k.early && !k.Answered:
		c.book.Retry(k.Addr, uint8(link.PlainLate)) // aria2 leaves when it hears more than a handshake
	case k.Dialed:
		c.book.Ended(k.Addr, useful, now)
	}
	c.o.Log.Debug("peer left", "peer", k.Addr, "err", why)
	k.Link.Close()
	k.slot.Release()
}

// Ban forbids connections with the address of a peer that sent wrong data.
func (c *Connector) Ban(k *Conn) { c.book.Ban(k.Link.Remote().String(), time.Now()) }

// Extensions takes what a peer's extension handshake says of itself and of us (BEP 10).
func (c *Connector) Extensions(k *Conn, h *wire.ExtensionHandshake) {
	k.pexID = h.PexID
	if h.Port > 0 {
		k.port = h.Port
	}
	if ip, ok := netip.AddrFromSlice(h.YourIP); ok {
		c.end.ownAddr.Vote(k.Link.Remote().Addr(), ip)
	}
}

// listens returns where the peer can be dialed, if that is known: where we did,
// or the port that it told (BEP 10).
func (k *Conn) listens() (netip.AddrPort, bool) {
	remote := k.Link.Remote()
	switch {
	case !remote.IsValid():
		return remote, false
	case k.Dialed:
		return remote, true
	case k.port > 0:
		return netip.AddrPortFrom(remote.Addr(), uint16(k.port)), true
	}
	return remote, false
}
