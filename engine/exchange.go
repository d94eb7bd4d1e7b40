package engine

import (
	"errors"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connector"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/metadata"
	"github.com/weirfs/weir/engine/internal/metainfo"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/subnet"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/internal/wire"
)

// extensionHandshake is what we tell a peer about ourselves (BEP 10).
func (p *peer) extensionHandshake() wire.OurExtensions {
	s := p.sw
	o := wire.OurExtensions{
		UserAgent: s.eng.opts.UserAgent, Reqq: link.MostBlocks, Port: s.eng.Port(), YourIP: p.link.Remote().Addr().Unmap(),
		UploadOnly: s.holdsAll(), Pex: s.conns.Public(),
	}
	if m := s.t.meta.InMemory(); m != nil {
		o.MetadataSize = m.DictionaryBytes()
	}
	return o
}

// sendExtensions sends our extension handshake. It may be sent again when something
// of it has changed (BEP 10).
func (p *peer) sendExtensions() {
	p.toldUploadOnly = p.sw.holdsAll()
	ours := p.extensionHandshake()
	p.link.Send(ours.Append)
}

// extension handles an extension message.
func (p *peer) extension(e *link.Event) error {
	s := p.sw
	m := &e.Message
	switch m.ExtendedID {
	case pp.HandshakeExtendedID:
		p.extensions(m.Handshake)
	case wire.MetadataID:
		return s.metadata.message(p, m, e.At)
	case wire.PexID:
		return s.conns.Exchanged(p.conn, *e.Pex)
	case wire.DontHaveID:
		return p.dontHave(m.Payload)
	case wire.PlanID:
		return s.plans.heard(p, m.Payload, e.At)
	}
	return nil
}

// extensions takes what the peer's extension handshake says.
func (p *peer) extensions(h *wire.ExtensionHandshake) {
	s := p.sw
	p.metadataID, p.planID = h.MetadataID, h.PlanID
	s.conns.Extensions(p.conn, h)
	if h.MetadataID != 0 {
		s.metadata.claim(p, h.MetadataSize)
	}
	for _, index := range p.told.Handshake(h.DontHaveID) {
		if !s.pick.Held(index) { // else it came back, and the peer was told
			p.lost(index)
		}
	}
	s.uploads.SetUploadOnly(p.give, h.UploadOnly, time.Now())
	p.reqq = h.Reqq
	if p.pk != nil {
		p.pk.SetMaxRequests(p.reqq)
	}
}

// metadataExchange fetches the info dictionary from peers and lets them fetch it
// (BEP 9). It belongs to the swarm's owner.
type metadataExchange struct {
	s       *swarm
	fetch   *metadata.Fetch[*peer] // while the metadata is unknown
	charged int64                  // what it has added to Engine.metadataBytes
	unsaved bool                   // it is for the Store, which was not ready
}

// begin begins the search for the dictionary.
func (x *metadataExchange) begin() {
	x.fetch = metadata.New[*peer](int(x.s.eng.opts.MaxMetadata), func() metadata.Sum { return x.s.t.spec.NewSum() })
}

// end ends it, and reports whether it had begun.
func (x *metadataExchange) end() bool {
	begun := x.fetch != nil
	x.fetch = nil
	x.charge(0)
	return begun
}

// claim takes a peer's word on the size.
func (x *metadataExchange) claim(p *peer, size int) {
	if x.fetch != nil {
		x.fetch.Claim(p, subnet.Customer(p.link.Remote().Addr()).String(), size)
	}
}

// claimed reports whether a peer offers the metadata that we look for.
func (x *metadataExchange) claimed(p *peer) bool { return x.fetch != nil && x.fetch.Claimed(p) }

// tooLarge returns the size that most peers claim beyond the bound, 0 if none does.
func (x *metadataExchange) tooLarge() int {
	if x.fetch == nil {
		return 0
	}
	return x.fetch.TooLarge()
}

// leave forgets a peer.
func (x *metadataExchange) leave(p *peer) {
	if x.fetch != nil {
		x.fetch.Leave(p)
	}
}

// message handles a message of BEP 9.
func (x *metadataExchange) message(p *peer, m *wire.Message, at time.Time) error {
	msg := m.Metadata
	switch {
	case msg.Type == int(pp.RequestMetadataExtensionMsgType):
		return x.serve(p, m, at)
	case x.fetch == nil:
		return p.link.Useless(m, at)
	case msg.Type == int(pp.DataMetadataExtensionMsgType):
		if !x.fetch.Received(p, msg.Piece, msg.Data, at) {
			return p.link.Useless(m, at)
		}
		p.give.Gave = at
		x.finish()
	case msg.Type == int(pp.RejectMetadataExtensionMsgType):
		x.fetch.Refused(p, at)
		return p.link.Useless(m, at)
	}
	return nil
}

// serve sees to it that a request for a piece of the info dictionary is
// answered.
func (x *metadataExchange) serve(p *peer, m *wire.Message, at time.Time) error {
	piece, meta := m.Metadata.Piece, x.s.t.meta.InMemory()
	if p.metadataID == 0 {
		return p.link.Useless(m, at)
	}
	if meta == nil || piece >= metadata.Pieces(meta.DictionaryBytes()) {
		p.link.Refuse(func(b []byte) []byte { return wire.AppendMetadataReject(b, p.metadataID, piece) })
		return p.link.Useless(m, at)
	}
	if !p.link.Queue(link.Request{Block: link.Block{Index: piece}, Metadata: true, ID: p.metadataID}) {
		return p.link.Useless(m, at) // it is in the queue already
	}
	return nil
}

// ask sends what the fetch decides.
func (x *metadataExchange) ask(now time.Time) {
	if x.fetch == nil {
		return
	}
	s := x.s
	x.charge(x.fetch.Bytes())
	x.fetch.SetRoom(2*s.eng.opts.MaxMetadata - s.eng.metadataBytes.Load())
	x.fetch.Round(now)
	for _, p := range s.peers {
		if p.metadataID == 0 {
			continue
		}
		for _, piece := range x.fetch.Ask(p, now) {
			p.link.Send(func(b []byte) []byte { return wire.AppendMetadataRequest(b, p.metadataID, piece) })
		}
	}
}

// charge tells the engine how much of a dictionary this swarm holds.
func (x *metadataExchange) charge(bytes int64) {
	x.s.eng.metadataBytes.Add(bytes - x.charged)
	x.charged = bytes
}

// finish verifies the info dictionary once it is complete, beside the owner.
func (x *metadataExchange) finish() {
	size, b, from := x.fetch.Complete()
	switch {
	case size == 0:
		return
	case b == nil:
		x.judged(size, from, nil, weir.ErrCorrupt)
		return
	}
	x.s.spawn(func() {
		m, err := x.s.t.meta.Parse(b)
		x.s.do(func() { x.judged(size, from, m, err) })
	})
}

// judged takes the verdict on an info dictionary.
func (x *metadataExchange) judged(size int, from []*peer, m *metainfo.Metainfo, err error) {
	s := x.s
	switch {
	case x.fetch == nil: // it came from elsewhere meanwhile
		return
	case errors.Is(err, weir.ErrCorrupt):
		s.log.Debug("metadata failed verification", "peers", len(from))
		x.fetch.Failed(size, time.Now())
		if len(from) == 1 {
			s.ban(from[0])
		}
		return
	case err != nil:
		// Its hash is right: no peer has anything better.
		s.log.Error("the torrent's metadata is refused", "err", err)
		s.t.endWith(err)
		return
	}
	s.t.meta.Set(m)
	s.gotMeta()
	if x.unsaved = !s.eng.storeReady(); !x.unsaved {
		x.save()
	}
}

// save leaves the metadata in the Store.
func (x *metadataExchange) save() {
	x.unsaved = false
	s := x.s
	s.eng.records.Post(func() {
		if err := s.t.meta.Save(); err != nil {
			s.log.Warn("metadata not kept in the cache", "err", err)
		}
	})
}

// hashPatience passes before a request for hashes goes to another peer.
const hashPatience = 2 * time.Second

// hashAsk is a request for hashes that has no true answer yet.
type hashAsk struct {
	piece int // for which it was made
	tried map[*peer]bool
	at    time.Time
}

// hashExchange fetches from peers the hashes of a v2 torrent that was named by a magnet,
// as they are needed, and lets peers fetch them (BEP 52). Blocks are fetched meanwhile.
// It belongs to the swarm's owner.
type hashExchange struct {
	s       *swarm
	asks    map[verify.HashRequest]*hashAsk
	waiting []*picker.Copy // pieces that are complete, and whose hash is not known yet
}

// need sees to it that the piece can be verified.
func (x *hashExchange) need(index int) {
	req, needed := x.s.t.meta.InMemory().Hashes.RequestFor(index)
	if needed && x.asks[req] == nil {
		x.asks[req] = &hashAsk{piece: index, tried: map[*peer]bool{}}
	}
}

// ask sends what is to be asked for now.
func (x *hashExchange) ask(now time.Time) {
	for req, ask := range x.asks {
		if now.Sub(ask.at) < hashPatience {
			continue
		}
		if len(ask.tried) >= len(x.s.peers) {
			clear(ask.tried) // everybody had a turn: begin anew
		}
		for _, p := range x.s.peers {
			if !ask.tried[p] && !p.v2() {
				ask.tried[p] = true // not to be asked
			}
			if !ask.tried[p] {
				ask.tried[p], ask.at = true, now
				p.requestHashes(req)
				break
			}
		}
	}
}

// message handles the messages of BEP 52.
func (x *hashExchange) message(p *peer, m *wire.Message, at time.Time) error {
	meta := x.s.t.meta.InMemory()
	if meta == nil || !p.v2() {
		return p.link.Useless(m, at)
	}
	if x.s.reads.blocks.message(p, m, at) {
		return nil
	}
	if !meta.Info.V2 {
		return x.messageOfHybrid(p, m, at)
	}
	req := verify.HashRequest(*m.Hash)
	switch m.Type {
	case pp.HashRequest:
		if (meta.Hashes.Answers(req) || meta.Hashes.AnswersBelow(req)) && p.link.Queue(link.Request{Hashes: m.Hash}) {
			return nil
		}
		p.link.Refuse(func(b []byte) []byte { return wire.AppendHashes(b, pp.HashReject, *m.Hash, nil) })
		return p.link.Useless(m, at)
	case pp.HashReject:
		if ask := x.asks[req]; ask == nil || !ask.tried[p] {
			return p.link.Useless(m, at)
		}
		x.refused(p, req)
	case pp.Hashes:
		ask := x.asks[req]
		if ask == nil || !ask.tried[p] {
			return p.link.Useless(m, at) // an answer that came too late
		}
		if err := meta.Hashes.Accept(req, m.Hashes); err != nil {
			if errors.Is(err, weir.ErrCorrupt) {
				x.s.conns.Ban(p.conn)
				return connector.ErrBanned
			}
			return err
		}
		delete(x.asks, req)
		x.got(ask.piece)
	}
	return nil
}

// messageOfHybrid handles them for a torrent whose v1 half is taken: we tell hashes,
// and ask for those of blocks only.
func (x *hashExchange) messageOfHybrid(p *peer, m *wire.Message, at time.Time) error {
	if m.Type != pp.HashRequest {
		return p.link.Useless(m, at)
	}
	if !p.link.Queue(link.Request{Hashes: m.Hash}) {
		p.link.Refuse(func(b []byte) []byte { return wire.AppendHashes(b, pp.HashReject, *m.Hash, nil) })
	}
	return nil
}

// refused tries the same peer without a proof, which some demand, and else
// leaves the request to others.
func (x *hashExchange) refused(p *peer, req verify.HashRequest) {
	ask := x.asks[req]
	if ask == nil || !ask.tried[p] {
		return
	}
	if len(ask.tried) < len(x.s.peers) {
		ask.at = time.Time{} // somebody else is asked at once; whoever refused it, not before hashPatience
	}
	bare, ok := x.s.t.meta.InMemory().Hashes.RequestNoProof(ask.piece)
	if !ok || bare == req || x.asks[bare] != nil {
		return
	}
	x.asks[bare] = &hashAsk{piece: ask.piece, tried: map[*peer]bool{p: true}, at: time.Now()}
	p.requestHashes(bare)
}

// got verifies the complete pieces that waited, and keeps the layer of the
// piece's file once it is whole.
func (x *hashExchange) got(piece int) {
	s := x.s
	meta := s.t.meta.InMemory()
	for req, ask := range x.asks {
		if meta.Hashes.Known(ask.piece) {
			delete(x.asks, req) // the other form of the same question
		}
	}
	x.verifyWaiting()
	s.reads.blocks.learned(time.Now())
	first, end := meta.Info.FilesIn(meta.Info.PieceRange(piece))
	for f := first; f < end; f++ {
		layer := meta.Hashes.Layer(f)
		if layer == nil {
			continue
		}
		s.eng.records.Post(func() {
			if err := s.t.meta.SaveLayer(f, layer); err != nil {
				s.log.Warn("hashes not kept in the cache", "err", err)
			}
		})
	}
}

// verifyWaiting verifies the complete pieces of which the hash was not known.
func (x *hashExchange) verifyWaiting() {
	waiting := x.waiting
	x.waiting = nil
	for _, c := range waiting {
		x.s.pieces.verify(c) // or it goes on waiting
	}
}
