package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// offer is what a peer has, and what of it it serves us.
type offer struct {
	pieces  []bool // which it has; nil until it said something
	all     bool   // it has everything
	choking bool   // it does not serve us
	fast    bool   // BEP 6: it answers each request, with the block or a reject
	allowed map[int]bool
	refused map[int]int // requests that it refused, by piece
}

func (o *offer) has(index int) bool { return o.all || index < len(o.pieces) && o.pieces[index] }

// usable reports whether the peer may be asked for blocks of the piece now.
func (o *offer) usable(index int) bool {
	return o.has(index) && (!o.choking || o.allowed[index]) && o.refused[index] < maxRefusals
}

// refuse counts a reject; a peer that keeps refusing a piece does not have it.
func (o *offer) refuse(index int) {
	if o.refused == nil {
		o.refused = map[int]int{}
	}
	o.refused[index]++
}

// HasPiece reports whether the peer has the piece.
func (o *offer) HasPiece(index int) bool { return index >= 0 && o.has(index) }

// HasEverything reports whether the peer has said that it is a seed.
func (o *offer) HasEverything() bool { return o.all }

// HasAtLeast reports whether the peer has n pieces or more. It takes a step for each
// piece at most.
func (o *offer) HasAtLeast(n int) bool {
	for _, has := range o.pieces {
		if has {
			n--
		}
		if n <= 0 {
			return true
		}
	}
	return o.all || n <= 0
}

// Has says that the peer has the piece. An index out of range is ignored.
func (k *Picker) Has(p *Peer, index int) {
	if index < 0 || index >= len(k.pieces.held) || p.all {
		return
	}
	if p.pieces == nil {
		p.pieces = make([]bool, len(k.pieces.held))
	}
	p.pieces[index] = true
	delete(p.refused, index)
	p.plan.kept(index, k.pieces.countBlocks(index))
	if k.Wanted(index) > weir.Unwanted {
		k.wants.rewindTo(index)
	}
}

// HasAll says that the peer has everything.
func (k *Picker) HasAll(p *Peer) {
	p.all, p.pieces = true, nil
	k.wants.rewind()
}

// HasThese replaces what the peer has. It keeps have.
func (k *Picker) HasThese(p *Peer, have []bool) {
	p.all, p.pieces = false, have
	if !slices.Contains(have, false) {
		p.all, p.pieces = true, nil
	}
	for r := p.oldest; r != nil; {
		next := r.after
		if !p.has(r.copy.index) {
			k.requests.takeBack(r)
			k.pieces.forgetUnused(r.copy.of)
		}
		r = next
	}
	k.wants.rewind()
}

// HasNot says that the peer has the piece no longer (BEP 54). What it was asked
// for of it is free again; the peer is not told, and a block that is on its way is
// still of use.
func (k *Picker) HasNot(p *Peer, index int) {
	if index < 0 || index >= len(k.pieces.held) || !p.has(index) {
		return
	}
	if p.all {
		p.all, p.pieces = false, make([]bool, len(k.pieces.held))
		for i := range p.pieces {
			p.pieces[i] = true
		}
	}
	p.pieces[index] = false
	delete(p.allowed, index)
	c := k.pieces.copyOf(index, p)
	if c == nil {
		return
	}
	for i := range c.blocks {
		if r := c.blocks[i].at(p); r != nil {
			k.requests.takeBack(r)
		}
	}
	k.pieces.forgetUnused(c.of)
	k.wants.rewindTo(index)
}

// Unchoked says that the peer serves us.
func (k *Picker) Unchoked(now time.Time, p *Peer) {
	p.choking = false
	if !p.fast { // one with BEP 6 says which it does not answer
		k.scheduler.takeBackEarly(now, p)
	}
	p.askedEarly = false
	p.refused = nil // it may have been checking its files
	k.wants.rewind()
}

// Choked says that the peer serves us no longer. Without BEP 6 that drops what
// it was asked for; with it each request is answered by a reject.
func (k *Picker) Choked(p *Peer) {
	p.choking = true
	if !p.fast {
		k.requests.releaseAll(p, true)
		k.wants.rewind()
	}
}

// Allowed says that the peer serves the piece although it chokes us (BEP 6).
func (k *Picker) Allowed(p *Peer, index int) {
	if index < 0 || index >= len(k.pieces.held) || len(p.allowed) >= 64 {
		return
	}
	if p.allowed == nil {
		p.allowed = map[int]bool{}
	}
	p.allowed[index] = true
	k.wants.rewindTo(index)
}

// Needs returns how many verified pieces of ours the peer lacks.
func (k *Picker) Needs(p *Peer) (n int) {
	for i, h := range k.pieces.held {
		if h && !p.has(i) {
			n++
		}
	}
	return n
}

// Interesting reports whether the peer has a piece that is not held.
func (k *Picker) Interesting(p *Peer) bool {
	for i, h := range k.pieces.held {
		if !h && p.has(i) {
			return true
		}
	}
	return false
}

// Availability returns how many peers have the piece.
func (k *Picker) Availability(index int) int {
	n := 0
	for _, p := range k.peers.list {
		if p.has(index) {
			n++
		}
	}
	return n
}

// DistributedCopies returns how many whole copies the peers have between them, and as its
// fraction the share of the pieces of which there is at least one copy more. It
// takes a step for each piece and peer.
func (k *Picker) DistributedCopies() float64 {
	seeds := 0
	var rest []*Peer
	for _, p := range k.peers.list {
		if p.all {
			seeds++
		} else if p.pieces != nil {
			rest = append(rest, p)
		}
	}
	fewest, more := len(rest), 0 // over the pieces
	for i := range k.pieces.held {
		n := 0
		for _, p := range rest {
			if p.pieces[i] {
				n++
			}
		}
		switch {
		case n < fewest:
			fewest, more = n, i // all before had more
		case n > fewest:
			more++
		}
	}
	if len(k.pieces.held) == 0 {
		return float64(seeds)
	}
	return float64(seeds+fewest) + float64(more)/float64(len(k.pieces.held))
}
