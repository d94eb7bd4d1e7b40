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

	failed   *attempt  // if set, the piece is on trial
	failedAt time.Time // when
	trials   []*Copy   // each from a single peer
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
	reqs [2]*request // live requests: none, one, or two when hedged
}

func (b *block) asked() bool { return b.reqs[0] != nil || b.reqs[1] != nil }

// Index returns the number of the piece.
func (c *Copy) Index() int { return c.index }

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
	for prio := weir.Blocked; prio > weir.Unwanted; prio-- {
		if c.of.wanted[prio] > 0 {
			return prio
		}
	}
	return weir.Unwanted
}

// begun reports whether blocks of the copy have arrived or are asked for.
func (c *Copy) begun() bool { return c.missing < c.count || c.inFlight > 0 }

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

// pieces is the life of all pieces of a torrent: what is held, and of the others what
// is wanted, asked for, here, and being verified.
type pieces struct {
	geo       Geometry
	held      []bool // verified; nothing is requested
	heldCount int
	open      map[int]*piece     // wanted or begun, and not held
	loaded    map[*Copy]struct{} // copies with blocks, those of trials that ended while they are verified among them
	begun     int64              // bytes of the copies that hold or expect a block
}

func newPieces(geo Geometry, held []bool) pieces {
	t := pieces{geo: geo, held: held, open: map[int]*piece{}, loaded: map[*Copy]struct{}{}}
	for _, h := range held {
		if h {
			t.heldCount++
		}
	}
	return t
}

// get returns a piece that is not held.
func (t *pieces) get(index int) *piece {
	p := t.open[index]
	if p == nil {
		n := t.geo.PieceRange(index).Len()
		blocks := int((n + weir.BlockBytes - 1) / weir.BlockBytes)
		p = &piece{Copy: Copy{index: index, bytes: n, count: blocks, missing: blocks, free: blocks}}
		p.of = p
		t.open[index] = p
	}
	return p
}

// copyOf returns what a block from the peer belongs to: the copy that all give, or of
// a piece on trial the peer's own; nil if there is none.
func (t *pieces) copyOf(index int, peer *Peer) *Copy {
	p := t.open[index]
	switch {
	case p == nil:
		return nil
	case p.onTrial():
		return p.trialOf(peer)
	}
	return &p.Copy
}

// hold makes a piece held. It is not fetched any more.
func (t *pieces) hold(index int) {
	t.held[index] = true
	t.heldCount++
	delete(t.open, index)
}

// lose makes a piece that was held missing again.
func (t *pieces) lose(index int) {
	t.held[index] = false
	t.heldCount--
}

// forgetUnused forgets the piece if nobody wants it and nothing has arrived of it.
func (t *pieces) forgetUnused(p *piece) {
	if p.priority() == weir.Unwanted && !p.started() && p.failed == nil {
		delete(t.open, p.index)
	}
}

// counting runs change and keeps the count of begun bytes right around it.
func (t *pieces) counting(c *Copy, change func()) {
	before := c.begun()
	change()
	switch after := c.begun(); {
	case after && !before:
		t.begun += c.bytes
	case before && !after:
		t.begun -= c.bytes
	}
}

// put adds a block that has arrived and that nobody is asked for any more.
func (t *pieces) put(c *Copy, i int, from *Peer, data Buffer, now time.Time) {
	b := c.block(i)
	b.from, b.data = from, data
	c.missing--
	c.touched = now
	t.loaded[c] = struct{}{}
}

// take removes the blocks of a copy, and leaves them to the caller.
func (t *pieces) take(c *Copy) {
	t.counting(c, func() {
		for i := range c.blocks {
			b := &c.blocks[i]
			if b.from == nil {
				continue
			}
			b.from, b.data = nil, nil
			c.missing++
			if !b.asked() {
				c.free++
			}
		}
	})
	delete(t.loaded, c)
	if !c.begun() {
		c.blocks = nil
	}
}

// drop gives the memory of a copy's blocks back.
func (t *pieces) drop(c *Copy) {
	for i := range c.blocks {
		if data := c.blocks[i].data; data != nil {
			data.Free()
		}
	}
	t.take(c)
}

// endTrial drops a single peer's copy, unless answers to requests of it are to come.
// One that is being verified keeps its blocks until the verdict.
func (t *pieces) endTrial(c *Copy) {
	if c.missing > 0 {
		t.drop(c)
	}
	if c.inFlight == 0 {
		c.of.trials = slices.DeleteFunc(c.of.trials, func(o *Copy) bool { return o == c })
	}
}
