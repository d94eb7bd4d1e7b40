package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/wire"
)

// hastyTimeout is instead of dialTimeout when many others wait for a dial.
const (
	dialTimeout  = 8 * time.Second
	hastyTimeout = 3 * time.Second
)

// errHungUp says that the peer closed the connection instead of a handshake.
var errHungUp = errors.New("peer hung up in the handshake")

// handshakeMode is a way of speaking to a peer first. Peers that hang up on one are
// tried with the next at once.
type handshakeMode uint8

const (
	plainEarly     handshakeMode = iota // plaintext; what we have and our interest go with the handshake
	encryptedEarly                      // the same, obfuscated
	plainLate                           // plaintext, nothing before the answer
	handshakeModes
)

// underOther is added to a handshakeMode for a handshake under the other hash of a
// hybrid torrent: a peer that has no metadata may know only that.
const underOther = handshakeModes

// split returns the mode without underOther.
func (m handshakeMode) split() (mode handshakeMode, other bool) {
	return m % handshakeModes, m >= underOther
}

// next returns the handshakeMode to try after m failed, false when all were tried.
func (m handshakeMode) next(e Encryption, hybrid bool) (handshakeMode, bool) {
	m, other := m.split()
	for m++; m < handshakeModes; m++ {
		if (m == encryptedEarly) == (e == EncryptionRequired) || e == EncryptionAllowed {
			if other {
				m += underOther
			}
			return m, true
		}
	}
	if hybrid && !other {
		return firstMode(e) + underOther, true
	}
	return firstMode(e), false
}

func firstMode(e Encryption) handshakeMode {
	if e == EncryptionRequired {
		return encryptedEarly
	}
	return plainEarly
}

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
		if c.Hasty || slot.Crowded() {
			timeout = hastyTimeout
		}
		s.book.Dial(c.Addr)
		s.spawn(func() { s.connect(c.Addr, slot, handshakeMode(c.Mode), timeout) })
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
	s.chargeMemory()
	o := &opening{have: slices.Clone(s.pick.HeldPieces()), blocks: s.pick.EarlyRequests(picker.EarlyBlocks, s.guessed), sent: time.Now()}
	for _, b := range o.blocks {
		s.guessed[b] = true
	}
	return o
}

// connect dials and shakes hands, beside the owner.
func (s *swarm) connect(addr string, slot *connlimit.Slot, m handshakeMode, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	begin := time.Now()
	conn, err := s.eng.network().Dial(ctx, addr)
	rtt := time.Since(begin)
	var hello wire.Hello
	var early *opening
	mode, _ := m.split()
	if err == nil && mode != plainLate && !s.hand(func() { early = s.speakEarly() }) {
		err = errCooled
		_ = conn.Close()
	}
	if err == nil {
		plain := conn
		if conn, hello, err = s.shake(ctx, conn, m, early); err != nil {
			_ = plain.Close()
		}
	}
	slot.Connected()
	joined := s.hand(func() {
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
func (s *swarm) notJoined(addr string, m handshakeMode, why error) {
	now := time.Now()
	switch {
	case errors.Is(why, errSelf):
		s.book.Ourselves(addr, now)
	case errors.Is(why, errTwice):
		s.book.Duplicate(addr, now)
	case errors.Is(why, errFull):
		s.book.Postpone(addr, now)
	case errors.Is(why, errHungUp):
		next, more := m.next(s.eng.opts.Encryption, s.t.names.Load().hybrid())
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
	return len(s.waiters) > 0 || s.pick == nil && s.box.uses() > 0
}

func (s *swarm) shake(ctx context.Context, conn net.Conn, m handshakeMode, early *opening) (net.Conn, wire.Hello, error) {
	raw := conn // conn changes below, while this may run
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	names, ih := s.t.names.Load(), s.t.ih
	m, other := m.split()
	if other {
		ih = names.other(ih)
	}
	out := s.eng.hello(ih, names).Append(nil)
	if early != nil {
		// A bitfield is right whether or not the peer turns out to speak BEP 6.
		out = wire.AppendBitfield(out, early.have)
		out = wire.AppendBare(out, pp.Interested)
		layout := layout{s.t.Info()}
		for _, b := range early.blocks {
			out = layout.appendRequest(out, pp.Request, b)
		}
	}
	var err error
	if m == encryptedEarly {
		// The handshake alone goes with the encrypted one: libtorrent loses its
		// place when there is more.
		conn, err = wire.Encrypt(ctx, conn, ih, out[:wire.HandshakeBytes], s.eng.opts.Encryption)
		out = out[wire.HandshakeBytes:]
	}
	if err == nil && len(out) > 0 {
		_, err = conn.Write(out)
	}
	var in wire.Hello
	if err == nil {
		in, err = wire.ReadHello(conn)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		return nil, in, fmt.Errorf("%w: %w", errHungUp, err)
	case err != nil:
		return nil, in, err
	case in.InfoHash != ih && !names.has(in.InfoHash):
		return nil, in, weir.Errorf(weir.ErrInvalid, "peer has another torrent")
	}
	return conn, in, nil
}

func (e *Engine) hello(ih weir.InfoHash, n *names) wire.Hello {
	bits := wire.OurBits()
	if e.opts.DHT {
		bits = wire.WithDHT(bits)
	}
	h := wire.Hello{InfoHash: ih, PeerID: e.peerID, Bits: bits}
	if n.hybrid() {
		return h.Upgrading()
	}
	return h
}

// infoHashes calls yield with the torrents that we know until it returns false.
func (e *Engine) infoHashes(yield func(weir.InfoHash) bool) {
	for _, t := range e.Torrents() {
		if !yield(t.ih) {
			return
		}
		if n := t.names.Load(); n.hybrid() && !yield(n.other(t.ih)) {
			return
		}
	}
}

// maxPending bounds the incoming connections in the handshake, and incomingTimeout
// the time that they have for it: a few round trips.
const (
	maxPending      = 64
	incomingTimeout = 5 * time.Second
)

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
		entered, ends := pending.Enter(addrOf(conn), conn)
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

// addrOf returns the address of a connection's other side.
func addrOf(conn net.Conn) netip.Addr {
	a, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return a.Addr().Unmap()
}

// welcome shakes hands with an incoming peer and takes it to its torrent.
func (e *Engine) welcome(raw net.Conn) error {
	_ = raw.SetDeadline(time.Now().Add(incomingTimeout))
	stop := context.AfterFunc(e.ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := wire.Accept(e.ctx, raw, e.opts.Encryption, e.infoHashes)
	if err != nil {
		return err
	}
	hello, err := wire.ReadHello(conn)
	if err != nil {
		return err
	}
	t, ok := e.named(hello.InfoHash)
	if !ok {
		return weir.Errorf(weir.ErrNotFound, "a peer asks for torrent %s, which is not here", hello.InfoHash)
	}
	names := t.names.Load()
	hello.InfoHash = names.answer(hello)
	if _, err := conn.Write(e.hello(hello.InfoHash, names).Append(nil)); err != nil {
		return err
	}
	if !stop() {
		return weir.ErrClosed
	}
	_ = conn.SetDeadline(time.Time{})
	sw, err := t.warmUnasked()
	if err != nil {
		return err
	}
	slot, err := e.incomingSlot(sw, addrOf(raw))
	if err != nil {
		return err
	}
	ok = sw.hand(func() { err = sw.join(conn, slot, conn.RemoteAddr().String(), hello, 0, false, nil) })
	if !ok {
		err = errCooled
	}
	if err != nil {
		slot.Release()
	}
	return err
}
