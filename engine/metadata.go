package engine

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/metadata"
	"github.com/weirfs/weir/engine/internal/metainfo"
	"github.com/weirfs/weir/engine/internal/subnet"
	"github.com/weirfs/weir/engine/internal/wire"
)

// The extensions that we speak, and our numbers for them (BEP 10).
const (
	metadataName  = wire.MetadataName
	ourMetadataID = wire.MetadataID
	pexName       = wire.PexName
	ourPexID      = wire.PexID
)

// extensionHandshake is what we tell about ourselves (BEP 10).
func (s *swarm) extensionHandshake(p *peer) []byte {
	h := ourHandshake{ExtendedHandshakeMessage: pp.ExtendedHandshakeMessage{
		M:    map[pp.ExtensionName]pp.ExtensionNumber{metadataName: ourMetadataID, dontHaveName: ourDontHaveID},
		V:    s.eng.opts.UserAgent,
		Reqq: link.MostBlocks,
		Port: s.eng.Port(),
	}}
	if s.holdsAll() {
		h.UploadOnly = 1
	}
	if s.public() {
		h.M[pexName] = ourPexID
	}
	if ip := p.link.Remote().Addr().Unmap(); ip.IsValid() {
		h.YourIp = pp.CompactIp(ip.AsSlice())
	}
	if m := s.t.meta.InMemory(); m != nil {
		h.MetadataSize = m.DictionaryBytes()
	}
	return bencode.MustMarshal(h)
}

// ourHandshake is the library's type and a key that it doesn't have.
type ourHandshake struct {
	pp.ExtendedHandshakeMessage
	UploadOnly int `bencode:"upload_only"` // BEP 21
}

// holdsAll reports whether there is nothing that we want of peers.
func (s *swarm) holdsAll() bool {
	return s.pick != nil && s.pick.HeldCount() == len(s.pick.HeldPieces())
}

// tellExtensions sends our extension handshake. It may be sent again when something
// of it has changed (BEP 10).
func (s *swarm) tellExtensions(p *peer) {
	p.toldUploadOnly = s.holdsAll()
	payload := s.extensionHandshake(p)
	p.link.Send(func(b []byte) []byte { return wire.AppendExtended(b, pp.HandshakeExtendedID, payload) })
}

// extension handles an extension message.
func (s *swarm) extension(p *peer, e *link.Event) error {
	m := &e.Message
	switch m.ExtendedID {
	case pp.HandshakeExtendedID:
		s.extensions(p, m.Handshake)
	case ourMetadataID:
		return s.metadataMessage(p, m, e.At)
	case ourPexID:
		return s.heardOfPeers(p, *e.Pex)
	case ourDontHaveID:
		return s.theirLoss(p, m.Payload)
	}
	return nil
}

// extensions takes what the peer's extension handshake says.
func (s *swarm) extensions(p *peer, h *wire.ExtensionHandshake) {
	p.metadataID, p.pexID = h.MetadataID, h.PexID
	if s.fetch != nil && h.MetadataID != 0 {
		s.fetch.Claim(p, subnet.Customer(p.link.Remote().Addr()).String(), h.MetadataSize)
	}
	s.heardOfDontHave(p, h.DontHaveID)
	if h.Port > 0 {
		p.port = h.Port
	}
	if ip, ok := netip.AddrFromSlice(h.YourIP); ok {
		s.eng.ownAddr.Vote(p.link.Remote().Addr(), ip)
	}
	s.uploads.SetUploadOnly(p.give, h.UploadOnly, time.Now())
	p.reqq = h.Reqq
	if p.pk != nil {
		p.pk.SetMaxRequests(p.reqq)
	}
}

// metadataMessage is the dictionary of BEP 9 as we send it; data follows it.
type metadataMessage struct {
	Type  int64 `bencode:"msg_type"`
	Piece int64 `bencode:"piece"`
	Total int64 `bencode:"total_size,omitempty"`
}

func (s *swarm) metadataMessage(p *peer, m *wire.Message, at time.Time) error {
	msg := m.Metadata
	switch {
	case msg.Type == int(pp.RequestMetadataExtensionMsgType):
		return s.serveMetadata(p, m, at)
	case s.fetch == nil:
		return p.link.Useless(m, at)
	case msg.Type == int(pp.DataMetadataExtensionMsgType):
		if !s.fetch.Received(p, msg.Piece, msg.Data, at) {
			return p.link.Useless(m, at)
		}
		p.give.Gave = at
		s.finishMetadata()
	case msg.Type == int(pp.RejectMetadataExtensionMsgType):
		s.fetch.Refused(p, at)
		return p.link.Useless(m, at)
	}
	return nil
}

// serveMetadata sees to it that a request for a piece of the info dictionary is
// answered.
func (s *swarm) serveMetadata(p *peer, m *wire.Message, at time.Time) error {
	piece, meta := m.Metadata.Piece, s.t.meta.InMemory()
	if p.metadataID == 0 {
		return p.link.Useless(m, at)
	}
	if meta == nil || piece >= metadata.Pieces(meta.DictionaryBytes()) {
		p.link.Refuse(func(b []byte) []byte { return wire.AppendExtended(b, p.metadataID, metadataRefusal(piece)) })
		return p.link.Useless(m, at)
	}
	if !p.link.Queue(link.Request{Block: link.Block{Index: piece}, Metadata: true, ID: p.metadataID}) {
		return p.link.Useless(m, at) // it is in the queue already
	}
	return nil
}

func metadataRefusal(piece int) []byte {
	return bencode.MustMarshal(metadataMessage{Type: int64(pp.RejectMetadataExtensionMsgType), Piece: int64(piece)})
}

// newFetch begins the search for the dictionary.
func (s *swarm) newFetch() *metadata.Fetch[*peer] {
	return metadata.New[*peer](int(s.eng.opts.MaxMetadata), func() metadata.Sum { return s.t.spec.NewSum() })
}

// askMetadata sends what the fetch decides.
func (s *swarm) askMetadata(now time.Time) {
	if s.fetch == nil {
		return
	}
	s.chargeMetadata(s.fetch.Bytes())
	s.fetch.SetRoom(2*s.eng.opts.MaxMetadata - s.eng.metadataBytes.Load())
	s.fetch.Round(now)
	for _, p := range s.peers {
		if p.metadataID == 0 {
			continue
		}
		for _, piece := range s.fetch.Ask(p, now) {
			payload := bencode.MustMarshal(metadataMessage{Type: int64(pp.RequestMetadataExtensionMsgType), Piece: int64(piece)})
			p.link.Send(func(b []byte) []byte { return wire.AppendExtended(b, p.metadataID, payload) })
		}
	}
}

// chargeMetadata tells the engine how much of a dictionary this swarm holds.
func (s *swarm) chargeMetadata(bytes int64) {
	s.eng.metadataBytes.Add(bytes - s.fetched)
	s.fetched = bytes
}

// finishMetadata verifies the info dictionary once it is complete, beside the owner.
func (s *swarm) finishMetadata() {
	size, b, from := s.fetch.Complete()
	switch {
	case size == 0:
		return
	case b == nil:
		s.judgedMetadata(size, from, nil, weir.ErrCorrupt)
		return
	}
	s.spawn(func() {
		m, err := s.t.meta.Parse(b)
		s.do(func() { s.judgedMetadata(size, from, m, err) })
	})
}

// judgedMetadata takes the verdict on an info dictionary.
func (s *swarm) judgedMetadata(size int, from []*peer, m *metainfo.Metainfo, err error) {
	switch {
	case s.fetch == nil: // it came from elsewhere meanwhile
		return
	case errors.Is(err, weir.ErrCorrupt):
		s.log.Debug("metadata failed verification", "peers", len(from))
		s.fetch.Failed(size, time.Now())
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
	if s.storeMeta = !s.eng.storeReady(); !s.storeMeta {
		s.storeMetadata()
	}
}

// storeMetadata leaves the metadata in the Store.
func (s *swarm) storeMetadata() {
	s.storeMeta = false
	s.eng.records.post(func() {
		if err := s.t.meta.Save(); err != nil {
			s.log.Warn("metadata not kept in the cache", "err", err)
		}
	})
}

// refused returns why the metadata that peers sent can't be used, though it is what
// the info hash names, and nil if there is none such.
func (t *Torrent) refused() error {
	err := context.Cause(t.done)
	if errors.Is(err, weir.ErrInvalid) || errors.Is(err, weir.ErrHostile) {
		return err
	}
	return nil
}

// SelectOnly returns the files that the torrent's magnet selects (so, BEP 53), as
// sorted indexes of TorrentInfo.Files. It is nil if all are meant: the source
// named none, or none that exists, or the metadata is not known yet. It starts
// nothing: weir fetches what is asked for and no more, so the selection only says
// which files whoever fetches or pins the torrent means.
func (t *Torrent) SelectOnly() []int {
	if len(t.spec.SelectOnly) == 0 {
		return nil
	}
	info := t.Info()
	if info == nil {
		return nil
	}
	var out []int
	spans, n := t.spec.SelectOnly, 0
	for i := range info.Files {
		if info.Files[i].Padding && info.V2 {
			continue // a gap that is in no metadata
		}
		for len(spans) > 0 && spans[0].Last < n {
			spans = spans[1:]
		}
		if len(spans) == 0 {
			break
		}
		if spans[0].First <= n && !info.Files[i].Padding {
			out = append(out, i)
		}
		n++
	}
	return out
}
