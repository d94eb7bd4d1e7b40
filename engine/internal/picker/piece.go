package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// piece is a piece that is wanted or begun, and not verified.
type piece struct {
	index    int
	bytes    int64
	count    int                   // blocks
	blocks   []block               // nil until one is asked for: a pin may want a million pieces
	missing  int                   // blocks not received
	free     int                   // blocks not received and not asked of anybody
	inFlight int                   // requests that were sent and not answered
	wanted   [weir.Blocked + 1]int // how many wants at each priority
	solo     *Peer                 // if set, only it is asked
	failed   *attempt              // with blocks of several peers: on trial since

	// On trial:
	trials   []*piece
	failedAt time.Time // of the failure
	// Of a trial:
	of     *piece // the piece on trial
	chosen bool   // its peer is asked for what lacks
}

// block is what is known of one block of a piece.
type block struct {
	from *Peer       // who delivered it; nil while it is missing
	reqs [2]*request // live requests: none, one, or two when hedged
}

func (b *block) asked() bool { return b.reqs[0] != nil || b.reqs[1] != nil }

func (p *piece) priority() weir.Priority {
	if p.of != nil {
		p = p.of
	}
	for prio := weir.Blocked; prio > weir.Unwanted; prio-- {
		if p.wanted[prio] > 0 {
			return prio
		}
	}
	return weir.Unwanted
}

func (p *piece) begun() bool { return p.missing < p.count || p.inFlight > 0 }

// started reports whether the piece, or a trial of it, is begun.
func (p *piece) started() bool {
	return p.begun() || slices.ContainsFunc(p.trials, (*piece).begun)
}

func (p *piece) blockBytes(i int) int64 {
	return min(weir.BlockBytes, p.bytes-int64(i)*weir.BlockBytes)
}

// block returns the block at index, which exists.
func (p *piece) block(index int) *block {
	if p.blocks == nil {
		p.blocks = make([]block, p.count)
	}
	return &p.blocks[index]
}

func (k *Picker) piece(index int) *piece {
	p := k.pieces[index]
	if p == nil {
		n := k.geo.PieceRange(index).Len()
		blocks := int((n + weir.BlockBytes - 1) / weir.BlockBytes)
		p = &piece{index: index, bytes: n, count: blocks, missing: blocks, free: blocks}
		k.pieces[index] = p
	}
	return p
}

// settle forgets a piece that nobody wants and nothing has arrived of.
func (k *Picker) forgetUnused(p *piece) {
	if p.of == nil && p.priority() == weir.Unwanted && !p.begun() && p.failed == nil {
		delete(k.pieces, p.index)
	}
}

// track runs change and keeps the count of begun bytes right around it.
func (k *Picker) track(p *piece, change func()) {
	before := p.begun()
	change()
	switch after := p.begun(); {
	case after && !before:
		k.begun += p.bytes
	case before && !after:
		k.begun -= p.bytes
	}
}
