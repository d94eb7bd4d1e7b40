package engine

import (
	"errors"
	"net"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/bitfield"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/discover/pex"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/upload"
	"github.com/weirfs/weir/engine/internal/wire"
)

var (
	errBanned = errors.New("peer sent wrong data")
	errTwice  = errors.New("already connected to this peer")
	errSelf   = errors.New("connected to ourselves")
)

// peer is what the owner of a swarm knows of one connection.
type peer struct {
	sw       *swarm
	link     *link.Link
	addr     string        // host:port of the other side
	dialed   bool          // we connected, so addr is where it listens
	rtt      time.Duration // of the TCP handshake; 0 for incoming
	early    bool          // our handshake said more than a handshake
	answered bool          // it has sent a message
	sentSeen int64         // payload, when the owner looked last
	pk       *picker.Peer
	claims   bitfield.Claims // what it has, by its word before the metadata
	unchoked bool            // it serves us

	interested     bool         // we told it that we are
	give           *upload.Peer // the give and take with it
	slot           *connlimit.Slot
	joined         time.Time
	reqq           int
	metadataID     int           // its number for ut_metadata, 0 if it has none
	pexID          int           // its number for ut_pex, 0 if it has none
	told           bitfield.Told // of what we hold
	nodeKnown      bool          // its node in the DHT is
	pexIn          pex.Receiver
	pexOut         pex.Sender
	port           int   // where it listens, by its own word; 0 if it did not say
	noted          int64 // of it, what is noted of the peer for later runs
	toldUploadOnly bool  // what our extension handshake said last (BEP 21)
}

// v2 reports whether the connection belongs to a v2 swarm, where hashes are asked for
// (BEP 52): in another one libtorrent ends a connection that asks.
func (p *peer) v2() bool {
	return p.link.Hello.InfoHash == p.sw.t.meta.Names().V2 || p.sw.t.LoadedInfo() != nil && p.sw.t.LoadedInfo().V2 && p.link.Hello.InfoHash == p.sw.t.ih
}

// join makes a connection whose handshakes are done part of the swarm.
// early is what went out with the handshake already, nil if nothing.
func (s *swarm) join(conn net.Conn, slot *connlimit.Slot, addr string, hello wire.Handshake, rtt time.Duration, dialed bool, early *opening) error {
	if hello.PeerID == s.eng.peerID {
		return errSelf
	}
	from := link.Remote(conn)
	for _, o := range s.peers {
		switch {
		case o.link.Hello.PeerID != hello.PeerID:
		case o.dialed || !dialed || o.give.Received > 0 || o.link.Remote().Addr().Unmap() == from.Addr().Unmap():
			return errTwice
		default:
			s.drop(o, errTwice) // it came to us with the name of the peer that we have now reached
		}
	}
	for _, a := range []string{addr, from.String()} { // a host name is banned by where it led
		if s.book.Banned(a, time.Now()) {
			return errBanned
		}
	}
	if !s.room(slot, from.Addr().Unmap(), dialed) {
		return errFull
	}
	p := &peer{
		sw: s, addr: addr, dialed: dialed, rtt: rtt, early: early != nil, interested: early != nil, slot: slot, joined: time.Now(),
		told: bitfield.NewTold(link.UnknownPieces),
	}
	p.link = link.New(link.Options{
		Conn: conn, Hello: hello, Inbox: s.inbox, Answerer: &s.content, Pieces: s.numPieces, Up: s.eng.up, Down: s.eng.down,
	})
	p.give = s.uploads.Join(p.link, p.joined)
	s.peers[p.link] = p
	s.connected.Store(int32(len(s.peers)))
	s.log.Debug("peer joined", "peer", addr, "rtt", rtt, "dialed", dialed)
	s.greet(p, early)
	if s.pick != nil {
		s.introduce(p)
	}
	if early != nil {
		s.pick.SentEarly(p.pk, early.blocks, early.sent)
		p.link.Requested(len(early.blocks))
	}
	p.link.Run(s.ctx, s.spawn)
	return nil
}

// greet sends what each connection begins with: what we have (BEP 3, 6), the
// extension handshake (BEP 10), and where our node of the DHT is (BEP 5).
func (s *swarm) greet(p *peer, early *opening) {
	switch {
	case early != nil:
		for i, have := range s.pick.HeldPieces() {
			switch {
			case have && !early.have[i]:
				p.link.Send(func(b []byte) []byte { return wire.AppendHave(b, i) })
			case !have && early.have[i]:
				p.lost(i)
			}
		}
	case s.holdsAll() && p.link.Fast():
		p.link.SendBare(pp.HaveAll)
	case s.pick != nil && s.pick.HeldCount() > 0:
		p.link.Send(func(b []byte) []byte { return wire.AppendBitfield(b, s.pick.HeldPieces()) })
	case p.link.Fast():
		p.link.SendBare(pp.HaveNone)
	}
	if p.link.Extended() {
		s.tellExtensions(p)
	}
	s.tellNode(p)
}

// introduce tells the picker what the peer has said so far.
func (s *swarm) introduce(p *peer) {
	if p.pk != nil {
		return
	}
	p.pk = s.pick.Join(picker.PeerOptions{Ref: p, RTT: p.rtt, MaxRequests: p.reqq, Fast: p.link.Fast()})
	p.give.Introduce(p.pk)
	n := s.t.LoadedInfo().NumPieces()
	switch {
	case p.claims.All:
		s.pick.HasAll(p.pk)
	case p.claims.Bits != nil:
		if !bitfield.Fits(p.claims.Bits, n) {
			s.drop(p, link.ErrProtocol)
			return
		}
		s.pick.HasThese(p.pk, bitfield.Unpack(p.claims.Bits, n))
	}
	for _, i := range p.claims.Haves {
		if int(i) < n {
			s.pick.Has(p.pk, int(i))
		}
	}
	for _, i := range p.claims.Allowed {
		s.pick.Allowed(p.pk, i)
	}
	if p.unchoked {
		s.pick.Unchoked(time.Now(), p.pk)
	}
	for i := range p.claims.Losses {
		s.pick.HasNot(p.pk, i)
	}
	p.claims.Clear(&s.eng.claims)
	s.interest(p)
}

// interest tells the peer whether it has something for us. We stay interested
// while warm, because a peer may need seconds to unchoke us and a read must not.
func (s *swarm) interest(p *peer) {
	if p.pk == nil || p.interested || !s.pick.Interesting(p.pk) {
		return
	}
	p.interested = true
	p.link.SendBare(pp.Interested)
}

// drop ends a connection.
func (s *swarm) drop(p *peer, why error) {
	if s.peers[p.link] != p {
		return
	}
	delete(s.peers, p.link)
	s.connected.Store(int32(len(s.peers)))
	if p.pk != nil {
		s.pick.Leave(p.pk)
	}
	s.metadata.leave(p)
	p.claims.Clear(&s.eng.claims)
	s.records.met(p, time.Now())
	switch {
	case p.dialed && p.early && !p.answered:
		s.book.Retry(p.addr, uint8(link.PlainLate)) // aria2 leaves when it hears more than a handshake
	case p.dialed:
		s.book.Ended(p.addr, p.give.Received > 0 || p.unchoked, time.Now())
	}
	s.log.Debug("peer left", "peer", p.addr, "err", why)
	p.link.Close()
	p.slot.Release()
	s.uploads.Leave(p.give, time.Now())
}

// ban ends the connection with a peer that sent wrong data, and forbids others
// with its address.
func (s *swarm) ban(p *peer) {
	s.book.Ban(p.link.Remote().String(), time.Now())
	s.drop(p, errBanned)
}

// numPieces returns how many the torrent has, 0 while that is not known.
func (s *swarm) numPieces() int {
	if m := s.t.meta.InMemory(); m != nil {
		return m.Info.NumPieces()
	}
	return 0
}

// message is what the owner does with a message from a peer. An error ends the
// connection.
func (s *swarm) message(p *peer, e *link.Event) error {
	m, at := &e.Message, e.At
	p.answered = true
	switch m.Type {
	case pp.Piece:
		return s.pieces.block(p, m, at)
	case pp.Bitfield, pp.HaveAll, pp.HaveNone:
		return s.theirPieces(p, m)
	case pp.Have:
		return s.theirPiece(p, m.Index)
	case pp.Choke:
		p.unchoked = false
		if p.pk != nil {
			s.pick.Choked(p.pk)
		}
	case pp.Unchoke:
		p.unchoked = true
		if p.pk != nil {
			s.pick.Unchoked(at, p.pk)
		}
	case pp.Reject:
		if err := p.link.Answered(); err != nil {
			return err
		}
		if p.pk == nil {
			break
		}
		if b, _, ok := s.layout.BlockAt(m.Index, m.Begin); ok {
			s.pick.Rejected(p.pk, b)
		}
	case pp.AllowedFast:
		switch {
		case p.pk != nil:
			s.pick.Allowed(p.pk, m.Index)
		default:
			p.claims.Allow(m.Index)
		}
	case pp.Interested:
		s.uploads.SetInterested(p.give, true, at)
	case pp.NotInterested:
		s.uploads.SetInterested(p.give, false, at)
	case pp.Request:
		return s.uploads.Request(p.give, m, at)
	case pp.Cancel:
		p.link.Cancel(link.Block{Index: m.Index, Begin: m.Begin, Length: m.Length})
	case pp.Port:
		s.theirNode(p, m.Port)
	case pp.Extended:
		return s.extension(p, e)
	case pp.HashRequest, pp.Hashes, pp.HashReject:
		return s.hashes.message(p, m, at)
	}
	return nil
}

// theirPieces takes what the peer says it has. BEP 3 has that first and once;
// aria2 says it again, and the later word counts.
func (s *swarm) theirPieces(p *peer, m *wire.Message) error {
	p.claims.All = m.Type == pp.HaveAll
	if p.pk == nil {
		return p.claims.SetBits(&s.eng.claims, m.Bits)
	}
	switch {
	case p.claims.All:
		s.pick.HasAll(p.pk)
	case m.Bits != nil:
		n := s.t.LoadedInfo().NumPieces()
		if !bitfield.Fits(m.Bits, n) {
			return link.ErrProtocol
		}
		s.pick.HasThese(p.pk, bitfield.Unpack(m.Bits, n))
	}
	s.interest(p)
	return nil
}

func (s *swarm) theirPiece(p *peer, index int) error {
	if p.pk == nil {
		p.claims.Have(index)
		return nil
	}
	if index >= s.t.LoadedInfo().NumPieces() {
		return link.ErrProtocol
	}
	s.pick.Has(p.pk, index)
	if !p.interested && !s.pick.Held(index) {
		s.interest(p)
	}
	return nil
}

var _ picker.Ref = (*peer)(nil)

// Act implements picker.Ref: it puts a decision of the picker on the wire.
func (p *peer) Act(a picker.Action) {
	t := pp.Request
	if a.Kind == picker.Cancel {
		t = pp.Cancel
	} else {
		p.link.Requested(1)
	}
	p.link.Send(func(b []byte) []byte { return appendRequest(b, t, p.sw.layout, a.Block) })
}

// Right implements picker.Ref.
func (p *peer) Right(int) {}

// Wrong implements picker.Ref: who lies is banned.
func (p *peer) Wrong(piece int) {
	p.sw.log.Warn("peer sent wrong data; banned", "peer", p.addr, "piece", piece)
	p.sw.ban(p)
}

// appendRequest appends a request for a block, or its cancel.
func appendRequest(buf []byte, t pp.MessageType, l picker.Layout, b picker.Block) []byte {
	begin, length := l.Place(b)
	return wire.AppendRequest(buf, t, b.Piece, begin, length)
}

// spread tells the peers that we have a piece.
func (s *swarm) spread(index int) {
	for _, p := range s.peers {
		p.link.Send(func(b []byte) []byte { return wire.AppendHave(b, index) })
	}
}
