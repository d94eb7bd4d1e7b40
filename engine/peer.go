package engine

import (
	"iter"
	"slices"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/bitfield"
	"github.com/weirfs/weir/engine/internal/connector"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/upload"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/internal/wire"
)

var (
	_ connector.Swarm = (*swarm)(nil)
	_ connector.Peer  = (*peer)(nil)
)

// peer is what the owner of a swarm knows of one connection.
type peer struct {
	sw       *swarm
	conn     *connector.Conn
	link     *link.Link
	early    *early // nil if nothing was said with our handshake
	sentSeen int64  // payload, when the owner looked last
	pk       *picker.Peer
	claims   bitfield.Claims // what it has, by its word before the metadata
	unchoked bool            // it serves us

	interested     bool         // we told it that we are
	give           *upload.Peer // the give and take with it
	reqq           int
	metadataID     int           // its number for ut_metadata, 0 if it has none
	planID         int           // its number for weir_plan, 0 if it has none
	toldPlan       bool          // it has heard our plan
	told           bitfield.Told // of what we hold
	toldUploadOnly bool          // what our extension handshake said last (BEP 21)
}

// early is what goes out with the handshake, before the other side has answered:
// its answer then comes with an unchoke, a round trip earlier, and with the first
// blocks, another one.
type early struct {
	have   []bool         // the pieces that we say we have; our interest goes with them
	blocks []picker.Block // what we ask for, before we know whether the peer has it and serves us
	sent   time.Time
}

// NewPeer implements connector.Swarm.
func (s *swarm) NewPeer() connector.Peer {
	return &peer{sw: s, told: bitfield.NewTold(link.UnknownPieces)}
}

// Conns implements connector.Swarm.
func (s *swarm) Conns() iter.Seq[*connector.Conn] {
	return func(yield func(*connector.Conn) bool) {
		for _, p := range s.peers {
			if !yield(p.conn) {
				return
			}
		}
	}
}

// Demand implements connector.Swarm.
func (s *swarm) Demand(now time.Time) connlimit.Demand {
	d := connlimit.Demand{
		Awaited: s.reads.any() || s.pick == nil && s.inbox.Uses() > 0,
		Wanted:  s.pick != nil && s.pick.Busy(),
	}
	_, d.Waited, _ = s.reads.longest(now)
	return d
}

// Early returns what to say to a peer that was just connected with, nil if
// nothing. Nobody else that is being connected with is asked for the same.
func (p *peer) Early() []byte {
	s := p.sw
	if s.pick == nil {
		return nil
	}
	s.pieces.charge()
	e := &early{have: slices.Clone(s.pick.HeldPieces()), blocks: s.pick.EarlyRequests(picker.EarlyBlocks, s.earlyRequests), sent: time.Now()}
	// A bitfield is right whether or not the peer turns out to speak BEP 6.
	b := wire.AppendBare(wire.AppendBitfield(nil, e.have), pp.Interested)
	for _, block := range e.blocks {
		s.earlyRequests[block] = true
		b = appendRequest(b, pp.Request, s.layout, block)
	}
	p.early = e
	return b
}

// HandshakeOver implements connector.Peer.
func (p *peer) HandshakeOver() {
	if p.early == nil {
		return
	}
	for _, b := range p.early.blocks {
		delete(p.sw.earlyRequests, b)
	}
}

// Received implements connector.Peer.
func (p *peer) Received() int64 { return p.give.Received }

// Interesting implements connector.Peer. Before the metadata, everybody may have it.
func (p *peer) Interesting() bool { return p.pk == nil || p.sw.pick.Interesting(p.pk) }

// Facts implements connector.Peer.
func (p *peer) Facts() connector.Facts {
	return connector.Facts{Wants: p.give.Wants(), Moved: p.give.Moved, Gave: p.give.Gave, Took: p.give.Took}
}

// Drop implements connector.Peer.
func (p *peer) Drop(why error) { p.sw.drop(p, why) }

// v2 reports whether the connection belongs to a v2 swarm, where hashes are asked for
// (BEP 52): in another one libtorrent ends a connection that asks.
func (p *peer) v2() bool {
	return p.link.Hello.InfoHash == p.sw.t.meta.Names().V2 || p.sw.t.LoadedInfo() != nil && p.sw.t.LoadedInfo().V2 && p.link.Hello.InfoHash == p.sw.t.ih
}

// Join makes a connection whose handshakes are done part of the swarm.
func (p *peer) Join(c *connector.Conn) {
	s := p.sw
	p.conn, p.link, p.interested = c, c.Link, p.early != nil
	p.give = s.uploads.Join(p.link, c.Joined)
	s.peers[p.link] = p
	s.greet(p)
	if s.pick != nil {
		s.introduce(p)
	}
	if p.early != nil {
		s.pick.SentEarly(p.pk, p.early.blocks, p.early.sent)
		p.link.Requested(len(p.early.blocks))
		for _, b := range p.early.blocks {
			if p.pk.TellsHashes() && slices.Contains(s.pick.Blocks.Wanted(b.Piece), b.Index) {
				p.requestHash(b)
			}
		}
	}
}

// greet sends what each connection begins with: what we have (BEP 3, 6), the
// extension handshake (BEP 10), and where our node of the DHT is (BEP 5).
func (s *swarm) greet(p *peer) {
	switch {
	case p.early != nil:
		for i, have := range s.pick.HeldPieces() {
			switch {
			case have && !p.early.have[i]:
				p.link.Send(func(b []byte) []byte { return wire.AppendHave(b, i) })
			case !have && p.early.have[i]:
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
		p.sendExtensions()
	}
	s.conns.TellNode(p.conn)
}

// introduce tells the picker what the peer has said so far.
func (s *swarm) introduce(p *peer) {
	if p.pk != nil {
		return
	}
	p.pk = s.pick.Join(picker.PeerOptions{Ref: p, ID: p.link.Hello.PeerID, RTT: p.conn.RTT, MaxRequests: p.reqq, Fast: p.link.Fast(), TellsHashes: p.v2()})
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
	if p.pk != nil {
		s.pick.Leave(p.pk)
		s.reads.blocks.left(p)
	}
	s.metadata.leave(p)
	p.claims.Clear(&s.eng.claims)
	s.conns.Left(p.conn, p.give.Received > 0 || p.unchoked, why)
	s.uploads.Leave(p.give, time.Now())
}

// ban ends the connection with a peer that sent wrong data, and forbids others
// with its address.
func (s *swarm) ban(p *peer) {
	s.conns.Ban(p.conn)
	s.drop(p, connector.ErrBanned)
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
	s.conns.Heard(p.conn)
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
		s.conns.AddNode(p.conn, m.Port)
	case pp.Extended:
		return p.extension(e)
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
	if a.Single {
		p.requestHash(a.Block)
	}
}

// requestHash asks the peer for the hash of a block that it was asked for.
func (p *peer) requestHash(b picker.Block) {
	if req, send := p.sw.reads.blocks.proofs.Requested(time.Now(), p, b.Piece, b.Index); send {
		p.requestHashes(req)
	}
}

func (p *peer) requestHashes(req verify.HashRequest) {
	p.link.Send(func(b []byte) []byte { return wire.AppendHashes(b, pp.HashRequest, wire.HashMessage(req), nil) })
}

// Right implements picker.Ref.
func (p *peer) Right(int) {}

// Wrong implements picker.Ref: who lies is banned.
func (p *peer) Wrong(piece int) {
	p.sw.log.Warn("peer sent wrong data; banned", "peer", p.conn.Addr, "piece", piece)
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
