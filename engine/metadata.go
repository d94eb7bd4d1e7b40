package engine

import (
	"errors"
	"net/netip"
	"time"

	"github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// The extensions that we speak, and our numbers for them (BEP 10).
const (
	metadataName  = "ut_metadata"
	ourMetadataID = 1
	pexName       = "ut_pex"
	ourPexID      = 2
)

// extensionHandshake is what we tell about ourselves (BEP 10).
func (s *swarm) extensionHandshake(p *peer) []byte {
	h := pp.ExtendedHandshakeMessage{
		M:    map[pp.ExtensionName]pp.ExtensionNumber{metadataName: ourMetadataID, dontHaveName: ourDontHaveID},
		V:    s.eng.opts.UserAgent,
		Reqq: mostUploads,
		Port: s.eng.Port(),
	}
	if s.public() {
		h.M[pexName] = ourPexID
	}
	if ip := p.remote().Addr().Unmap(); ip.IsValid() {
		h.YourIp = pp.CompactIp(ip.AsSlice())
	}
	if m := s.t.meta.Load(); m != nil {
		h.MetadataSize = m.dict.size
	}
	return bencode.MustMarshal(h)
}

// theirHandshake is what weir reads of a peer's extension handshake. The
// library's type is stricter: it fails on a number above 255 in any extension.
type theirHandshake struct {
	M            map[string]int64 `bencode:"m"`
	Reqq         int64            `bencode:"reqq"`
	MetadataSize int64            `bencode:"metadata_size"`
	Port         int64            `bencode:"p"`
	YourIP       string           `bencode:"yourip"`
}

// extension handles an extension message.
func (s *swarm) extension(p *peer, m *wire.Message) error {
	switch m.ExtendedID {
	case pp.HandshakeExtendedID:
		var h theirHandshake
		if err := bencode.Unmarshal(m.Payload, &h); err != nil && h.M == nil {
			return nil // unreadable: the peer is of use without extensions
		}
		p.metadataID = int(min(max(h.M[metadataName], 0), 255))
		if h.MetadataSize > 0 && h.MetadataSize <= source.MaxMetainfoBytes {
			p.metadataSize = int(h.MetadataSize)
		}
		p.pexID = int(min(max(h.M[pexName], 0), 255))
		s.heardOfDontHave(p, int(min(max(h.M[dontHaveName], 0), 255)))
		if h.Port > 0 && h.Port < 1<<16 {
			p.port = int(h.Port)
		}
		if ip, ok := netip.AddrFromSlice([]byte(h.YourIP)); ok {
			s.eng.own.vote(p.remote().Addr(), ip)
		}
		p.reqq = int(min(max(h.Reqq, 0), 1<<16))
		if p.pk != nil {
			p.pk.SetMaxRequests(p.reqq)
		}
	case ourMetadataID:
		return s.metadataMessage(p, m.Payload)
	case ourPexID:
		return s.heardOfPeers(p, m.Payload)
	case ourDontHaveID:
		return s.theirLoss(p, m.Payload)
	}
	return nil
}

// metadataMessage is the dictionary of BEP 9; data follows it.
type metadataMessage struct {
	Type  int64 `bencode:"msg_type"`
	Piece int64 `bencode:"piece"`
	Total int64 `bencode:"total_size,omitempty"`
}

func (s *swarm) metadataMessage(p *peer, payload []byte) error {
	var msg metadataMessage
	rest := 0
	if err := bencode.Unmarshal(payload, &msg); err != nil {
		var trailing bencode.ErrUnusedTrailingBytes
		if !errors.As(err, &trailing) {
			return errNonsense
		}
		rest = trailing.NumUnusedBytes
	}
	switch msg.Type {
	case int64(pp.RequestMetadataExtensionMsgType):
		s.serveMetadata(p, msg.Piece)
	case int64(pp.DataMetadataExtensionMsgType):
		if s.fetch != nil {
			p.trade.gave = time.Now()
			s.fetch.received(p, int(msg.Piece), payload[len(payload)-rest:])
			s.finishMetadata()
		}
	case int64(pp.RejectMetadataExtensionMsgType):
		if s.fetch != nil {
			s.fetch.refused(p, time.Now())
		}
	}
	return nil
}

// serveMetadata answers a request for a piece of the info dictionary.
func (s *swarm) serveMetadata(p *peer, piece int64) {
	if p.metadataID == 0 {
		return
	}
	m := s.t.meta.Load()
	if m == nil || piece < 0 || piece >= int64(metadataPieces(m.dict.size)) {
		s.answerMetadata(p, piece, nil)
		return
	}
	b, read := m.dict.ask(dictionaryAsk{p, piece})
	if b != nil {
		s.answerMetadata(p, piece, b)
	}
	if read {
		s.readDictionary(m)
	}
}

// answerMetadata sends a piece of the info dictionary b, which has it, or if that is
// nil refuses to.
func (s *swarm) answerMetadata(p *peer, piece int64, b []byte) {
	answer := metadataMessage{Type: int64(pp.RejectMetadataExtensionMsgType), Piece: piece}
	var data []byte
	if b != nil {
		answer.Type, answer.Total = int64(pp.DataMetadataExtensionMsgType), int64(len(b))
		off := int(piece) * metadataPieceBytes
		data = b[off:min(off+metadataPieceBytes, len(b))]
	}
	payload := append(bencode.MustMarshal(answer), data...)
	p.out.control(func(b []byte) []byte { return wire.AppendExtended(b, p.metadataID, payload) })
}

// askMetadata sends what the fetch decides.
func (s *swarm) askMetadata(now time.Time) {
	if s.fetch == nil {
		return
	}
	for p := range s.peers {
		if p.metadataID == 0 || p.metadataSize == 0 {
			continue
		}
		for _, piece := range s.fetch.ask(p, p.metadataSize, now) {
			payload := bencode.MustMarshal(metadataMessage{Type: int64(pp.RequestMetadataExtensionMsgType), Piece: int64(piece)})
			p.out.control(func(b []byte) []byte { return wire.AppendExtended(b, p.metadataID, payload) })
		}
	}
}

// finishMetadata verifies the info dictionary once it is complete.
func (s *swarm) finishMetadata() {
	size, b, from := s.fetch.complete()
	if b == nil {
		return
	}
	m, err := s.t.withInfo(b)
	switch {
	case errors.Is(err, weir.ErrCorrupt):
		s.log.Debug("metadata failed verification", "peers", len(from))
		s.fetch.failed(size, time.Now())
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
	s.t.setMeta(m)
	if err := s.t.Keep(); err != nil {
		s.log.Warn("metadata not kept in the cache", "err", err)
	}
	s.gotMeta()
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
