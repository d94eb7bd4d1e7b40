package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// piece is a piece that is wanted or begun, and not held. Until it is on trial, one
// Copy of it is fetched from all peers together.
type piece struct {
	Copy
	wanted [weir.Blocked + 1]int // how many wants at each priority
	single map[int]int           // how many wants have a block of it alone
	whole  bool                  // all of it is fetched for these, too

	failed   *attempt  // if set, the piece is on trial
	failedAt time.Time // when
	trials   []*Copy   // each from a single peer

	left leftPiece
}

// Copy is a copy of a piece from its first request to the verdict on it. It owns the
// blocks that have arrived.
type Copy struct {
	index  int
	bytes  int64
	count  int     // blocks
	blocks []block // nil until one is asked for: a pin may want a million pieces

	missing  int   // blocks not received; none while it is verified
	free     int   // blocks not received and not asked of anybody
	sparse   bool  // only single blocks are asked for: it takes no more memory than these
	inFlight int   // requests that were sent and not answered
	solo     *Peer // if set, only it is asked

	of      *piece
	trial   bool      // solo gives all of it
	chosen  bool      // of a trial: solo is asked for what is missing
	touched time.Time // when it got a block last
}

// Buffer is the memory of a block that has arrived. Free gives it back.
type Buffer interface {
	Bytes() []byte
	Free()
}

// block is what is known of one block of a copy.
type block struct {
	from *Peer       // who delivered it; nil while it is missing
	data Buffer      // set with from
	good bool        // it was verified by itself
	reqs [2]*request // live requests: none, one, or two when hedged
}

func (b *block) asked() bool { return b.reqs[0] != nil || b.reqs[1] != nil }

// Index returns the number of the piece.
func (c *Copy) Index() int { return c.index }

// Senders returns the peers that gave blocks of a copy, each once.
func (c *Copy) Senders() (all []*Peer) {
	for i := range c.blocks {
		if from := c.blocks[i].from; from != nil && !slices.Contains(all, from) {
			all = append(all, from)
		}
	}
	return all
}

// Buffers returns the blocks of a copy that is complete. They stay as they are until
// the verdict, and belong to the picker.
func (c *Copy) Buffers() []Buffer {
	list := make([]Buffer, len(c.blocks))
	for i := range c.blocks {
		list[i] = c.blocks[i].data
	}
	return list
}

func (c *Copy) priority() weir.Priority {
	if len(c.of.single) > 0 {
		return weir.Blocked
	}
	for prio := weir.Blocked; prio > weir.Unwanted; prio-- {
		if c.of.wanted[prio] > 0 {
			return prio
		}
	}
	return weir.Unwanted
}

// begun reports whether blocks of the copy have arrived or are asked for.
func (c *Copy) begun() bool { return c.missing < c.count || c.inFlight > 0 }

// memory returns the bytes that the copy takes, or will take when all that is asked for has
// come.
func (c *Copy) memory() int64 {
	switch {
	case !c.begun():
		return 0
	case c.sparse:
		return min(c.bytes, int64(c.count-c.missing+c.inFlight)*weir.BlockBytes)
	}
	return c.bytes
}

// wantedWhole reports whether somebody wants more of the piece than single blocks.
func (p *piece) wantedWhole() bool {
	return p.whole || p.wanted != [weir.Blocked + 1]int{} || len(p.single) == 0
}

// started reports whether any copy of the piece is begun.
func (p *piece) started() bool {
	return p.begun() || slices.ContainsFunc(p.trials, (*Copy).begun)
}

// requested reports whether a request for any copy of the piece is in flight.
func (p *piece) requested() bool {
	return p.inFlight > 0 || slices.ContainsFunc(p.trials, func(t *Copy) bool { return t.inFlight > 0 })
}

func (c *Copy) blockBytes(i int) int64 {
	return min(weir.BlockBytes, c.bytes-int64(i)*weir.BlockBytes)
}

// block returns the block at index, which exists.
func (c *Copy) block(index int) *block {
	if c.blocks == nil {
		c.blocks = make([]block, c.count)
	}
	return &c.blocks[index]
}

// lacks reports whether block i has neither arrived nor been asked for.
func (c *Copy) lacks(i int) bool {
	return c.blocks == nil || c.blocks[i].from == nil && !c.blocks[i].asked()
}

// onTrial reports whether blocks for the piece are taken for trials only.
func (p *piece) onTrial() bool { return p.failed != nil }

// trialOf returns the copy that the peer gives, nil if there is none.
func (p *piece) trialOf(peer *Peer) *Copy {
	for _, t := range p.trials {
		if t.solo == peer {
			return t
		}
	}
	return nil
}

// newTrial begins a copy.
func (p *piece) newTrial(peer *Peer) *Copy {
	t := &Copy{index: p.index, bytes: p.bytes, count: p.count, missing: p.count, free: p.count, of: p, solo: peer, trial: true}
	p.trials = append(p.trials, t)
	return t
}
