package engine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// hastyTimeout is instead of dialTimeout when many others wait for a dial.
const (
	dialTimeout  = 8 * time.Second
	hastyTimeout = 3 * time.Second
)

// dial connects to as many candidates as the bounds allow.
func (s *swarm) dial(now time.Time) {
	s.book.Seen()
	hurry := len(s.peers) == 0 && s.awaited()
	if now.Sub(s.yielded) < yieldFor {
		return
	}
	most := s.eng.opts.MaxPeers + s.replaceable(now)
	for len(s.peers)+s.book.Dialing() < most {
		c, ok := s.book.Next(now, hurry)
		if !ok {
			return
		}
		slot := s.dialSlot(c, now)
		if slot == nil {
			return
		}
		timeout := dialTimeout
		if c.Hasty || slot.Hurried() {
			timeout = hastyTimeout
		}
		s.book.Dial(c.Addr)
		s.spawn(func() { s.connect(c.Addr, slot, link.Mode(c.Mode), timeout) })
	}
}

// dialSlot returns a slot for a dial, nil if there is none now.
func (s *swarm) dialSlot(c peerbook.Candidate, now time.Time) *connlimit.Slot {
	addr, _ := netip.ParseAddrPort(c.Addr)
	slot, full := s.eng.conns.Dial(s, addr.Addr(), s.book.FailedDials())
	if slot == nil && full && s.starved(now) && s.giveWay(connlimit.Newcomer{Awaited: true}, now) {
		slot, full = s.eng.conns.Dial(s, addr.Addr(), s.book.FailedDials())
	}
	if slot == nil && full {
		s.squeeze(now)
	}
	return slot
}

// opening is what goes out with the handshake, before the other side has answered:
// its answer then comes with an unchoke, a round trip earlier, and with the first
// blocks, another one.
type opening struct {
	have   []bool         // the pieces that we say we have; our interest goes with them
	blocks []picker.Block // what we ask for, guessing that it is there and that we will be served
	sent   time.Time
}

// speakEarly returns what to say to a peer that was just connected with, nil if
// nothing. Nobody else that is being connected with is asked for the same.
func (s *swarm) speakEarly() *opening {
	if s.pick == nil {
		return nil
	}
	s.pieces.charge()
	o := &opening{have: slices.Clone(s.pick.HeldPieces()), blocks: s.pick.EarlyRequests(picker.EarlyBlocks, s.guessed), sent: time.Now()}
	for _, b := range o.blocks {
		s.guessed[b] = true
	}
	return o
}

// connect dials and shakes hands, beside the owner.
func (s *swarm) connect(addr string, slot *connlimit.Slot, m link.Mode, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	begin := time.Now()
	conn, err := s.eng.network().Dial(ctx, addr)
	rtt := time.Since(begin)
	var hello wire.Handshake
	var early *opening
	mode, _ := m.Split()
	if err == nil && mode != link.PlainLate && !s.runOnOwner(func() { early = s.speakEarly() }) {
		err = errCooled
		_ = conn.Close()
	}
	if err == nil {
		plain := conn
		if conn, hello, err = s.handshake(m, early).Dialed(ctx, conn); err != nil {
			_ = plain.Close()
		}
	}
	slot.Connected()
	joined := s.runOnOwner(func() {
		if early != nil {
			for _, b := range early.blocks {
				delete(s.guessed, b)
			}
		}
		if err == nil {
			if err = s.join(conn, slot, addr, hello, rtt, true, early); err != nil {
				_ = conn.Close()
			}
		}
		s.lastDial = err
		if err != nil {
			slot.Release()
			s.log.Debug("peer not connected", "peer", addr, "err", err)
			s.notJoined(addr, m, err)
		} else {
			s.book.Connected(addr)
		}
	})
	if !joined {
		slot.Release()
		if err == nil {
			_ = conn.Close()
		}
	}
}

// notJoined tells the book why a candidate that was dialed is no peer. Who hung up
// is tried in another mode at once.
func (s *swarm) notJoined(addr string, m link.Mode, why error) {
	now := time.Now()
	switch {
	case errors.Is(why, errSelf):
		s.book.Ourselves(addr, now)
	case errors.Is(why, errTwice):
		s.book.Duplicate(addr, now)
	case errors.Is(why, errFull):
		s.book.Postpone(addr, now)
	case errors.Is(why, link.ErrHungUp):
		next, more := m.Next(s.eng.opts.Encryption, s.t.meta.Names().Hybrid())
		if more {
			s.book.Retry(addr, uint8(next))
			return
		}
		s.book.Refused(addr, uint8(next), now)
	default:
		s.book.Failed(addr, uint8(m), len(s.peers) > 0, now)
	}
}

// awaited reports whether somebody waits for the metadata or for pieces.
func (s *swarm) awaited() bool {
	return s.reads.any() || s.pick == nil && s.inbox.Uses() > 0
}

// handshake is what is said to a peer first.
func (s *swarm) handshake(m link.Mode, early *opening) *link.Handshake {
	names, ih := s.t.meta.Names(), s.t.ih
	if _, other := m.Split(); other {
		ih = names.Other(ih)
	}
	h := &link.Handshake{Mode: m, Encryption: s.eng.opts.Encryption, Hello: s.eng.hello(ih, names), Accepts: names.Has}
	if early != nil {
		// A bitfield is right whether or not the peer turns out to speak BEP 6.
		h.Early = wire.AppendBitfield(nil, early.have)
		h.Early = wire.AppendBare(h.Early, pp.Interested)
		layout := picker.Layout{Info: s.t.LoadedInfo()}
		for _, b := range early.blocks {
			h.Early = appendRequest(h.Early, pp.Request, layout, b)
		}
	}
	return h
}

func (e *Engine) hello(ih weir.InfoHash, n source.Names) wire.Handshake {
	bits := wire.OurBits()
	if e.opts.DHT {
		bits = wire.WithDHT(bits)
	}
	h := wire.Handshake{InfoHash: ih, PeerID: e.peerID, Bits: bits}
	if n.Hybrid() {
		return h.Upgrading()
	}
	return h
}

// answerHash returns the info hash to answer a handshake with: that of the v2 swarm for a
// peer that asks to be taken there.
func answerHash(n source.Names, hello wire.Handshake) weir.InfoHash {
	if n.Hybrid() && hello.InfoHash == n.V1 && hello.UpgradesToV2() {
		return n.V2
	}
	return hello.InfoHash
}

// infoHashes calls yield with the torrents that we know until it returns false.
func (e *Engine) infoHashes(yield func(weir.InfoHash) bool) {
	for _, t := range e.Torrents() {
		if !yield(t.ih) {
			return
		}
		if n := t.meta.Names(); n.Hybrid() && !yield(n.Other(t.ih)) {
			return
		}
	}
}

// maxPending bounds the incoming connections in the handshake.
const maxPending = 64

// accept serves the listener until it is closed.
func (e *Engine) accept(l net.Listener) {
	pending := connlimit.NewPending(maxPending)
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			e.log.Warn("accept", "err", err)
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
		e.wg.Add(1)
		go func() {
			defer e.wg.Done()
			defer pending.Leave(entered)
			if err := e.welcome(conn); err != nil {
				_ = conn.Close()
				e.log.Debug("incoming peer refused", "peer", conn.RemoteAddr().String(), "err", err)
			}
		}()
	}
}

// welcome shakes hands with an incoming peer and takes it to its torrent.
func (e *Engine) welcome(raw net.Conn) error {
	var t *Torrent
	in := link.Incoming{Encryption: e.opts.Encryption, Hashes: e.infoHashes, Answer: func(theirs wire.Handshake) (wire.Handshake, error) {
		var known bool
		if t, known = e.named(theirs.InfoHash); !known {
			return wire.Handshake{}, weir.Errorf(weir.ErrNotFound, "a peer asks for torrent %s, which is not here", theirs.InfoHash)
		}
		names := t.meta.Names()
		return e.hello(answerHash(names, theirs), names), nil
	}}
	conn, hello, err := in.Accepted(e.ctx, raw)
	if err != nil {
		return err
	}
	sw, err := t.warmUnasked()
	if err != nil {
		return err
	}
	from := link.Remote(raw)
	slot, err := e.incomingSlot(sw, from.Addr().Unmap())
	if err != nil {
		return err
	}
	ok := sw.runOnOwner(func() { err = sw.join(conn, slot, from.String(), hello, 0, false, nil) })
	if !ok {
		err = errCooled
	}
	if err != nil {
		slot.Release()
	}
	return err
}
