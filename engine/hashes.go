package engine

import (
	"errors"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/internal/wire"
)

// The hashes of a v2 torrent that was named by a magnet come from peers, as they
// are needed (BEP 52). Blocks are fetched meanwhile; a piece that is complete
// before its hash is known waits for it in swarm.unhashed.

// hashPatience passes before a request for hashes goes to another peer.
const hashPatience = 2 * time.Second

// hashAsk is a request for hashes that has no true answer yet.
type hashAsk struct {
	piece int // for which it was made
	tried map[*peer]bool
	at    time.Time
}

// needHash sees to it that the piece can be verified.
func (s *swarm) needHash(index int) {
	req, needed := s.t.meta.InMemory().Hashes.RequestFor(index)
	if needed && s.hashAsks[req] == nil {
		s.hashAsks[req] = &hashAsk{piece: index, tried: map[*peer]bool{}}
	}
}

// askHashes sends what is to be asked for now.
func (s *swarm) askHashes(now time.Time) {
	for req, ask := range s.hashAsks {
		if now.Sub(ask.at) < hashPatience {
			continue
		}
		if len(ask.tried) >= len(s.peers) {
			clear(ask.tried) // everybody had a turn: begin anew
		}
		for _, p := range s.peers {
			if !ask.tried[p] && !p.v2() {
				ask.tried[p] = true // not to be asked
			}
			if !ask.tried[p] {
				ask.tried[p], ask.at = true, now
				p.link.Send(func(b []byte) []byte { return wire.AppendHashes(b, pp.HashRequest, wire.HashMessage(req), nil) })
				break
			}
		}
	}
}

// hashMessage handles the messages of BEP 52.
func (s *swarm) hashMessage(p *peer, m *wire.Message, at time.Time) error {
	meta := s.t.meta.InMemory()
	if meta == nil || !p.v2() {
		return p.link.Useless(m, at)
	}
	if !meta.Info.V2 {
		return s.hashesOfHybrid(p, m, at)
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
		if ask := s.hashAsks[req]; ask == nil || !ask.tried[p] {
			return p.link.Useless(m, at)
		}
		s.hashesRefused(p, req)
	case pp.Hashes:
		ask := s.hashAsks[req]
		if ask == nil || !ask.tried[p] {
			return p.link.Useless(m, at) // an answer that came too late
		}
		if err := meta.Hashes.Accept(req, m.Hashes); err != nil {
			if errors.Is(err, weir.ErrCorrupt) {
				s.book.Ban(p.link.Remote().String(), time.Now())
				return errBanned
			}
			return err
		}
		delete(s.hashAsks, req)
		s.gotHashes(ask.piece)
	}
	return nil
}

// hashesOfHybrid handles them for a torrent whose v1 half is taken: we tell hashes,
// and ask for none.
func (s *swarm) hashesOfHybrid(p *peer, m *wire.Message, at time.Time) error {
	if m.Type != pp.HashRequest {
		return p.link.Useless(m, at)
	}
	if !p.link.Queue(link.Request{Hashes: m.Hash}) {
		p.link.Refuse(func(b []byte) []byte { return wire.AppendHashes(b, pp.HashReject, *m.Hash, nil) })
	}
	return nil
}

// hashesRefused tries the same peer without a proof, which some demand, and else
// leaves the request to others.
func (s *swarm) hashesRefused(p *peer, req verify.HashRequest) {
	ask := s.hashAsks[req]
	if ask == nil || !ask.tried[p] {
		return
	}
	if len(ask.tried) < len(s.peers) {
		ask.at = time.Time{} // somebody else is asked at once; whoever refused it, not before hashPatience
	}
	bare, ok := s.t.meta.InMemory().Hashes.RequestNoProof(ask.piece)
	if !ok || bare == req || s.hashAsks[bare] != nil {
		return
	}
	s.hashAsks[bare] = &hashAsk{piece: ask.piece, tried: map[*peer]bool{p: true}, at: time.Now()}
	p.link.Send(func(b []byte) []byte { return wire.AppendHashes(b, pp.HashRequest, wire.HashMessage(bare), nil) })
}

// gotHashes verifies the complete pieces that waited, and keeps the layer of the
// piece's file once it is whole.
func (s *swarm) gotHashes(piece int) {
	meta := s.t.meta.InMemory()
	for req, ask := range s.hashAsks {
		if meta.Hashes.Known(ask.piece) {
			delete(s.hashAsks, req) // the other form of the same question
		}
	}
	s.verifyUnhashed()
	first, end := meta.Info.FilesIn(meta.Info.PieceRange(piece))
	for f := first; f < end; f++ {
		layer := meta.Hashes.Layer(f)
		if layer == nil {
			continue
		}
		s.eng.records.post(func() {
			if err := s.t.meta.SaveLayer(f, layer); err != nil {
				s.log.Warn("hashes not kept in the cache", "err", err)
			}
		})
	}
}

// verifyUnhashed verifies the complete pieces of which the hash was not known.
func (s *swarm) verifyUnhashed() {
	waiting := s.unhashed
	s.unhashed = nil
	for _, c := range waiting {
		s.verify(c) // or it goes on waiting
	}
}
