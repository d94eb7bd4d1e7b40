package engine

import (
	"encoding/binary"

	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/wire"
)

// A cache forgets, so a piece that we told of may be gone. Peers that know
// lt_donthave (BEP 54) are told; the others go on believing, and what they ask for
// is rejected.

// mostEarlyLosses bounds what is remembered of them before the metadata is known.
const mostEarlyLosses = 1 << 12

// dontHave is the state of the extension with one peer.
type dontHave struct {
	id    int  // its number for it, 0 if it has none
	known bool // its extension handshake is here
	// ours are pieces that it believes us to have and that are gone, until it can be
	// told.
	ours []int
	// theirs are pieces that it said to be gone, before the metadata.
	theirs map[int]struct{}
}

// lost tells the peer that we have the piece no longer, if it understands that.
func (p *peer) lost(index int) {
	switch {
	case p.dontHave.id != 0:
		payload := binary.BigEndian.AppendUint32(nil, uint32(index))
		p.link.Send(func(b []byte) []byte { return wire.AppendExtended(b, p.dontHave.id, payload) })
	case p.link.Extended() && !p.dontHave.known && len(p.dontHave.ours) < link.UnknownPieces:
		p.dontHave.ours = append(p.dontHave.ours, index)
	}
}

// heardOfDontHave takes what the peer's extension handshake says of lt_donthave.
func (s *swarm) heardOfDontHave(p *peer, id int) {
	ours := p.dontHave.ours
	p.dontHave.id, p.dontHave.known, p.dontHave.ours = id, true, nil
	for _, index := range ours {
		if !s.pick.Held(index) { // else it came back, and the peer was told
			p.lost(index)
		}
	}
}

// theirLoss takes a message of lt_donthave.
func (s *swarm) theirLoss(p *peer, payload []byte) error {
	if len(payload) != 4 {
		return link.ErrProtocol
	}
	index := int(binary.BigEndian.Uint32(payload))
	switch {
	case p.pk == nil && len(p.dontHave.theirs) < mostEarlyLosses:
		if p.dontHave.theirs == nil {
			p.dontHave.theirs = map[int]struct{}{}
		}
		p.dontHave.theirs[index] = struct{}{}
	case p.pk != nil && index >= s.t.LoadedInfo().NumPieces():
		return link.ErrProtocol
	case p.pk != nil:
		s.pick.HasNot(p.pk, index)
	}
	return nil
}
