// Package link is one connection to a peer: the handshakes, a goroutine that reads
// messages and posts them to an Inbox, and one that writes what is in the outbox. It
// limits how many useless messages a peer may send, and how much may wait to be sent to it.
//
// A link knows neither pieces nor torrents. Messages come out of it and go into it; the
// owner of the Inbox decides what they mean. An Answerer makes the answer to a peer's
// request when that is about to be written.
package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/quickack"
)

// Reasons to end a connection.
var (
	ErrProtocol    = weir.Errorf(weir.ErrInvalid, "peer breaks the protocol")
	ErrSilent      = errors.New("peer said nothing for too long")
	ErrNotReading  = errors.New("peer reads nothing of what waits for it")
	ErrFlood       = errors.New("peer sends too many useless messages")
	ErrUnrequested = errors.New("peer answers what nobody asked for")
)

// Timeouts of a connection.
const (
	writeTimeout = time.Minute
	silentAfter  = 3 * time.Minute // peers send a keep-alive every two minutes (BEP 3)
	keepAlive    = 90 * time.Second
)

// fewInFlight is how many blocks, 1 MiB, may be in flight from a peer while what it
// sends is acknowledged at once.
const fewInFlight = 64

// Options are what a link needs. All are required.
type Options struct {
	Conn  net.Conn
	Hello wire.Handshake // the peer's
	// Inbox takes what the peer sends, and that the connection has failed.
	Inbox *Inbox
	// Answerer makes what the peer asked for.
	Answerer Answerer
	// Pieces tells how many pieces the torrent has, 0 while that is not known.
	Pieces func() int
	// Up and Down are the rate limits that all links share.
	Up, Down *throttle.Limiter
}

// Answerer makes what a peer asked for. It is called on the goroutine that writes.
type Answerer interface {
	// Answer appends the answer to buf and tells how many bytes of it count as
	// upload. It reports false if there is nothing to send.
	Answer(l *Link, r Request, buf []byte) (answer []byte, payload int, ok bool)
}

// Link is one connection. Its methods are safe for concurrent use, but for Requested
// and Answered, which belong to the owner of the Inbox.
type Link struct {
	Options
	*outbox
	remote   netip.AddrPort
	quickAck *quickack.Socket
	sent     atomic.Int64 // payload of blocks
	inFlight atomic.Int32 // blocks that it was asked for
	posted   posted       // guarded by the Inbox
	changes  allowance    // for haves and losses
	useless  allowance    // for all else that is of no use

	unanswered int // requests that it has neither answered nor refused
}

// New returns a link that does nothing until Run.
func New(o Options) *Link {
	l := &Link{Options: o, outbox: newOutbox(o.Hello.Bits.SupportsFast()), remote: Remote(o.Conn)}
	l.quickAck = quickack.New(o.Conn, func() bool { return l.inFlight.Load() <= fewInFlight })
	return l
}

// Run starts the goroutines of the link with spawn. They end with Close, when the
// connection fails, or, under a download limit, with ctx.
func (l *Link) Run(ctx context.Context, spawn func(func())) {
	spawn(func() { l.read(ctx) })
	spawn(l.write)
}

// Close ends the connection.
func (l *Link) Close() {
	l.outbox.close()
	_ = l.Conn.Close()
}

// Remote returns the address of the other side of a connection, invalid if that is
// none of an IP network.
func Remote(conn net.Conn) netip.AddrPort {
	a, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return a
}

// Remote returns the address of the other side.
func (l *Link) Remote() netip.AddrPort { return l.remote }

// Fast reports whether the peer speaks BEP 6.
func (l *Link) Fast() bool { return l.Hello.Bits.SupportsFast() }

// Extended reports whether the peer speaks BEP 10.
func (l *Link) Extended() bool { return l.Hello.Bits.SupportsExtended() }

// Sent returns the bytes of blocks that went to the peer.
func (l *Link) Sent() int64 { return l.sent.Load() }

// SetInFlight tells how many blocks the peer was asked for and has not sent.
func (l *Link) SetInFlight(n int) { l.inFlight.Store(int32(n)) }

// Requested counts n requests for blocks that the peer was sent.
func (l *Link) Requested(n int) { l.unanswered += n }

// Answered counts a block or a reject against them.
func (l *Link) Answered() error {
	if l.unanswered--; l.unanswered < -mostUnrequested {
		return ErrUnrequested
	}
	return nil
}
