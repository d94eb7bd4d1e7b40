package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// pieces is the life of all pieces of a torrent: what is held, and of the others what
// is wanted, asked for, here, and being verified.
type pieces struct {
	geo       Geometry
	held      []bool // verified; nothing is requested
	heldCount int
	open      map[int]*piece     // wanted or begun, and not held
	loaded    map[*Copy]struct{} // copies with blocks, those of trials that ended while they are verified among them
	underWay  map[*Copy]struct{} // copies that hold or expect a block
	begun     int64              // Copy.memory of all
}

func newPieces(geo Geometry, held []bool) *pieces {
	t := &pieces{geo: geo, held: held, open: map[int]*piece{}, loaded: map[*Copy]struct{}{}, underWay: map[*Copy]struct{}{}}
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
		blocks := t.countBlocks(index)
		p = &piece{Copy: Copy{index: index, bytes: t.geo.PieceRange(index).Len(), count: blocks, missing: blocks, free: blocks}}
		p.of = p
		t.open[index] = p
	}
	return p
}

// countBlocks returns how many blocks a piece has.
func (t *pieces) countBlocks(index int) int {
	return int((t.geo.PieceRange(index).Len() + weir.BlockBytes - 1) / weir.BlockBytes)
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

// counting runs change and keeps right around it which copies are begun.
func (t *pieces) counting(c *Copy, change func()) {
	before := c.memory()
	change()
	t.begun += c.memory() - before
	if c.begun() {
		t.underWay[c] = struct{}{}
	} else {
		delete(t.underWay, c)
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
			b.from, b.data, b.good = nil, nil, false
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

// dropUnwanted gives back the memory of pieces that nobody wants, and of which a copy
// has got no block since before.
func (t *pieces) dropUnwanted(before time.Time) {
	for c := range t.loaded {
		if c.touched.Before(before) {
			t.dropPiece(c.index)
		}
	}
}

// dropPiece forgets the blocks of a piece that nobody wants. It reports false if the piece
// is wanted, or being verified.
func (t *pieces) dropPiece(index int) bool {
	p := t.open[index]
	if p == nil || p.priority() > weir.Unwanted || p.missing == 0 {
		return false
	}
	if slices.ContainsFunc(p.trials, func(c *Copy) bool { return c.missing == 0 }) {
		return false
	}
	for _, c := range slices.Clone(p.trials) {
		t.endTrial(c)
	}
	t.drop(&p.Copy)
	t.forgetUnused(p)
	return true
}
