// Package connector finds the peers of torrents and connects to them. An Endpoint is our
// side, for all torrents: the listener, the bounds on connections, what finds peers. A
// Connector belongs to one warm torrent: the addresses of its peers, the search for more,
// dials, peer exchange, and which connection makes way for another.
//
// It knows no piece and no message but those about peers and DHT nodes. A connection
// whose handshakes are done is given to a Swarm, which says what each is of use for.
// Decisions are made elsewhere, without I/O: whom to dial by peerbook, who gets a
// connection by connlimit, which source is asked when by discover.
package connector

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/discover"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// EndpointOptions are the settings of an Endpoint. All are required, but for Network.
type EndpointOptions struct {
	Log            *slog.Logger
	Network        Network // nil for the system's
	Listen         string  // "off" accepts nobody
	Encryption     wire.Encryption
	MaxPeers       int // of one torrent
	MaxConnections int // of all, dials included
	// Discover says how peers are found; the Endpoint sets PeerID, Port and Dial.
	Discover discover.Options
}

// Torrents are those that peers may connect for. They are safe for concurrent use.
type Torrents interface {
	// InfoHashes calls yield with all that are known until it returns false.
	InfoHashes(yield func(weir.InfoHash) bool)
	// Names returns the info hashes of the torrent that has ih.
	Names(ih weir.InfoHash) (names source.Names, known bool)
	// Connector returns that of the torrent that has ih, which is warmed for it.
	Connector(ih weir.InfoHash) (*Connector, error)
}

// Endpoint is what all torrents share of connecting. It is safe for concurrent use.
type Endpoint struct {
	o        EndpointOptions
	torrents Torrents
	ctx      context.Context // ends with the engine
	peerID   [20]byte
	ownAddr  connlimit.OwnAddress
	limit    *connlimit.Limiter
	wg       sync.WaitGroup       // the listener, handshakes
	disc     *discover.Discoverer // set by Open

	mu       sync.Mutex
	listener net.Listener
	running  map[*Connector]struct{}
}

// NewEndpoint returns an Endpoint that does nothing until Open.
func NewEndpoint(ctx context.Context, torrents Torrents, o EndpointOptions) *Endpoint {
	e := &Endpoint{o: o, torrents: torrents, ctx: ctx, limit: connlimit.New(o.MaxConnections), running: map[*Connector]struct{}{}}
	if e.o.Network == nil {
		e.o.Network = systemNetwork{}
	}
	copy(e.peerID[:], "-WE0001-")
	_, _ = rand.Read(e.peerID[8:])
	return e
}

// Open starts to accept peers and to look for them.
func (e *Endpoint) Open() error {
	if e.o.Listen != "off" {
		if err := e.listen(); err != nil {
			return err
		}
	}
	d := e.o.Discover
	d.PeerID, d.Port = e.peerID, e.Port
	if e.o.Network != (systemNetwork{}) {
		d.Dial = e.o.Network.Dial
	}
	var err error
	e.disc, err = discover.Open(d)
	return err
}

func (e *Endpoint) listen() error {
	l, err := e.o.Network.Listen(e.o.Listen)
	if err != nil {
		return fmt.Errorf("listen for peers on %s: %w", e.o.Listen, err)
	}
	e.mu.Lock()
	e.listener = l
	e.mu.Unlock()
	e.wg.Go(func() { e.accept(l) })
	return nil
}

// PeerID returns our peer ID, which is new in each run.
func (e *Endpoint) PeerID() [20]byte { return e.peerID }

// Port returns the port for incoming peers, 0 if there is none.
func (e *Endpoint) Port() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listener == nil {
		return 0
	}
	return e.listener.Addr().(*net.TCPAddr).Port
}

// StopListening accepts no more peers. It may be called more than once.
func (e *Endpoint) StopListening() error {
	e.mu.Lock()
	l := e.listener
	e.mu.Unlock()
	if l == nil {
		return nil
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Close waits for all that was started. The context must have ended, and the Connectors.
func (e *Endpoint) Close() error {
	e.wg.Wait()
	if e.disc == nil {
		return nil
	}
	return e.disc.Close()
}

// Discoverer returns what finds peers, nil before Open.
func (e *Endpoint) Discoverer() *discover.Discoverer { return e.disc }

// Usage returns the connections that count, and the dials among them.
func (e *Endpoint) Usage() (open, dialing int) { return e.limit.Usage() }

// connectors returns those that run.
func (e *Endpoint) connectors() []*Connector {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.running))
}

// priority returns the canonical priority of a peer at a.
func (e *Endpoint) priority(a netip.AddrPort) uint32 {
	return connlimit.Priority(netip.AddrPortFrom(e.ownAddr.Like(a.Addr()), uint16(e.Port())), a)
}

// hello is our handshake in the swarm of an info hash.
func (e *Endpoint) hello(ih weir.InfoHash, n source.Names) wire.Handshake {
	bits := wire.OurBits()
	if e.o.Discover.DHT {
		bits = wire.WithDHT(bits)
	}
	h := wire.Handshake{InfoHash: ih, PeerID: e.peerID, Bits: bits}
	if n.Hybrid() {
		return h.Upgrading()
	}
	return h
}
