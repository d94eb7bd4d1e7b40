package picker

import (
	"fmt"
	"slices"

	"github.com/weirfs/weir"
)

// promised returns an error if a Pick has asked for what it must not.
func (k *Picker) promised(actions []Action) error {
	for _, a := range actions {
		p := k.pieces.open[a.Block.Piece]
		switch c := a.Peer; {
		case a.Kind != Request:
		case p == nil || p.priority() == weir.Unwanted:
			return fmt.Errorf("%v is asked for, and nobody wants it", a.Block)
		case !c.has(a.Block.Piece):
			return fmt.Errorf("%v is asked of a peer that has it not", a.Block)
		case c.choking && !c.allowed[a.Block.Piece]:
			return fmt.Errorf("%v is asked of a peer that chokes", a.Block)
		case c.refused[a.Block.Piece] >= 3:
			return fmt.Errorf("%v is asked of a peer that has refused the piece three times", a.Block)
		case c.inFlight > c.maxRequests:
			return fmt.Errorf("%d requests are at a peer that takes %d", c.inFlight, c.maxRequests)
		case p.onTrial() && p.trialOf(c) == nil:
			return fmt.Errorf("%v of a piece on trial is asked of somebody who gives no copy", a.Block)
		}
	}
	return nil
}

// check returns an error if the picker's counts and links contradict each other.
func (k *Picker) check() error {
	var begun int64
	live := map[*Peer]int{}
	var all []*Copy
	for i, p := range k.pieces.open {
		if p.index != i {
			return fmt.Errorf("piece %d is filed under %d", p.index, i)
		}
		if k.pieces.held[i] {
			return fmt.Errorf("piece %d is held and being fetched", i)
		}
		if p.priority() == weir.Unwanted && !p.started() && p.failed == nil {
			return fmt.Errorf("piece %d is remembered, and nobody wants it", i)
		}
		if p.onTrial() && p.begun() {
			return fmt.Errorf("piece %d is on trial and fetched from anybody", i)
		}
		all = append(append(all, &p.Copy), p.trials...)
	}
	for c := range k.pieces.loaded {
		if c.missing == 0 && !slices.Contains(all, c) {
			all = append(all, c) // its trial is over, the verdict is to come
		}
	}
	for _, c := range all {
		i := c.index
		left, free, n := 0, 0, 0
		if c.blocks == nil {
			left, free = c.count, c.count
		}
		for j := range c.blocks {
			b := &c.blocks[j]
			if b.from == nil {
				if b.data != nil {
					return fmt.Errorf("block %d/%d is missing and takes memory", i, j)
				}
				left++
				if !b.asked() {
					free++
				}
			} else if b.asked() {
				return fmt.Errorf("block %d/%d is here and asked for", i, j)
			}
			for _, r := range b.reqs {
				if r != nil {
					n++
					live[r.peer]++
					if r.copy != c || r.index != j {
						return fmt.Errorf("block %d/%d has a request for another", i, j)
					}
				}
			}
			if b.reqs[0] != nil && b.reqs[1] != nil && b.reqs[0].peer == b.reqs[1].peer {
				return fmt.Errorf("block %d/%d is asked twice of one peer", i, j)
			}
		}
		if left != c.missing || free != c.free || n != c.inFlight {
			return fmt.Errorf("piece %d counts %d left, %d free, %d live; has %d, %d, %d", i, c.missing, c.free, c.inFlight, left, free, n)
		}
		if _, loaded := k.pieces.loaded[c]; loaded != (c.missing < c.count) {
			return fmt.Errorf("piece %d is loaded %v with %d blocks of %d missing", i, loaded, c.missing, c.count)
		}
		begun += c.memory()
		if _, ok := k.pieces.underWay[c]; ok != c.begun() {
			return fmt.Errorf("piece %d is begun %v and under way %v", c.index, c.begun(), ok)
		}
	}
	for c := range k.pieces.loaded {
		if !slices.Contains(all, c) {
			return fmt.Errorf("blocks of piece %d are kept for nothing", c.index)
		}
	}
	if begun != k.pieces.begun {
		return fmt.Errorf("counts %d bytes begun; has %d", k.pieces.begun, begun)
	}
	for _, p := range k.peers.list {
		n, bytes := 0, int64(0)
		for r := p.oldest; r != nil; r = r.after {
			n++
			if !r.cancelled {
				bytes += r.bytes()
			}
		}
		if n != p.inFlight || bytes != p.queued || n != live[p] {
			return fmt.Errorf("a peer counts %d requests of %d bytes; has %d of %d, and %d are known of it", p.inFlight, p.queued, n, bytes, live[p])
		}
		delete(live, p)
	}
	if len(live) > 0 {
		return fmt.Errorf("%d peers that left have requests", len(live))
	}
	held := 0
	for _, h := range k.pieces.held {
		if h {
			held++
		}
	}
	if held != k.pieces.heldCount {
		return fmt.Errorf("counts %d held; has %d", k.pieces.heldCount, held)
	}
	for prio := weir.Background; prio <= weir.Blocked; prio++ {
		want := map[int]int{}
		for _, w := range k.wants.byPriority[prio] {
			for _, s := range w.spans {
				for i := s.First; i < s.End; i++ {
					want[i]++
				}
			}
		}
		for i, p := range k.pieces.open {
			if p.wanted[prio] != want[i] {
				return fmt.Errorf("piece %d counts %d wants at %s; has %d", i, p.wanted[prio], prio, want[i])
			}
		}
		if prio == weir.Blocked {
			single := map[Block]int{}
			for _, w := range k.wants.byPriority[prio] {
				for _, b := range w.blocks {
					single[b]++
				}
			}
			for i, p := range k.pieces.open {
				for b := range p.count {
					if p.single[b] != single[Block{i, b}] {
						return fmt.Errorf("block %d/%d counts %d wants; has %d", i, b, p.single[b], single[Block{i, b}])
					}
				}
			}
		}
		for i := range want {
			if !k.pieces.held[i] && k.pieces.open[i] == nil {
				return fmt.Errorf("piece %d is wanted and unknown", i)
			}
		}
	}
	return nil
}
