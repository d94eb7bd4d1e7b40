package connector

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// maxPending bounds the incoming connections in the handshake.
const maxPending = 64

// errEnded says that the swarm ended before a connection could join it.
var errEnded = errors.New("the torrent is not used any more")

// accept serves the listener until it is closed.
func (e *Endpoint) accept(l net.Listener) {
	pending := connlimit.NewPending(maxPending)
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			e.o.Log.Warn("accept", "err", err)
			select { // out of file descriptors, mostly: wait for better times
			case <-time.After(time.Second):
				continue
			case <-e.ctx.Done():
				return
			}
		}
		entered, ends := pending.Enter(link.Remote(conn).Addr().Unmap(), conn)
		if ends != nil {
			_ = ends.Ref.(net.Conn).Close()
		}
		e.wg.Go(func() {
			defer pending.Leave(entered)
			if err := e.incoming(conn); err != nil {
				_ = conn.Close()
				e.o.Log.Debug("incoming peer refused", "peer", conn.RemoteAddr().String(), "err", err)
			}
		})
	}
}

// incoming shakes hands with a peer that connected, which then joins its torrent.
func (e *Endpoint) incoming(raw net.Conn) error {
	in := link.Incoming{Encryption: e.o.Encryption, Hashes: e.torrents.InfoHashes, Answer: func(theirs wire.Handshake) (wire.Handshake, error) {
		names, known := e.torrents.Names(theirs.InfoHash)
		if !known {
			return wire.Handshake{}, weir.Errorf(weir.ErrNotFound, "a peer asks for torrent %s, which is not here", theirs.InfoHash)
		}
		return e.hello(answerHash(names, theirs), names), nil
	}}
	conn, hello, err := in.Accepted(e.ctx, raw)
	if err != nil {
		return err
	}
	c, err := e.torrents.Connector(hello.InfoHash)
	if err != nil {
		return err
	}
	from := link.Remote(raw)
	slot, err := e.incomingSlot(c, from.Addr().Unmap())
	if err != nil {
		return err
	}
	if !c.runOnOwner(func() { err = c.join(&Conn{Addr: from.String(), peer: c.swarm.NewPeer(), slot: slot}, conn, hello) }) {
		err = errEnded
	}
	if err != nil {
		slot.Release()
	}
	return err
}

// answerHash returns the info hash to answer a handshake with: that of the v2 swarm for a
// peer that asks to be taken there.
func answerHash(n source.Names, hello wire.Handshake) weir.InfoHash {
	if n.Hybrid() && hello.InfoHash == n.V1 && hello.UpgradesToV2() {
		return n.V2
	}
	return hello.InfoHash
}

// incomingSlot returns a slot for an incoming peer of a torrent, made by another peer if
// need be: of the same torrent, or else of another.
func (e *Endpoint) incomingSlot(c *Connector, addr netip.Addr) (*connlimit.Slot, error) {
	slot, full := e.limit.Incoming(addr)
	switch {
	case slot != nil:
		return slot, nil
	case !full:
		return nil, errAddressFull
	}
	n := connlimit.Newcomer{FromNetwork: e.limit.Neighbours(addr)}
	for _, o := range append([]*Connector{c}, e.connectors()...) {
		gave := false
		o.runOnOwner(func() { gave = o.makeWay(n, time.Now()) })
		if !gave {
			continue
		}
		if slot, _ := e.limit.Incoming(addr); slot != nil {
			return slot, nil
		}
	}
	return nil, errFull
}
