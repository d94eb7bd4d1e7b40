package picker

import "time"

// request is one block asked of one peer and not answered.
type request struct {
	peer      *Peer
	copy      *Copy
	index     int
	sent      time.Time
	due       time.Time // by the peer's own measure
	alone     bool      // the peer had nothing else to do
	cancelled bool      // told the peer; it answers with a reject or the block (BEP 6)

	before, after *request // at the same peer, in the order of sending
}

func (r *request) bytes() int64 { return r.copy.blockBytes(r.index) }

func (b *block) at(peer *Peer) *request {
	for _, r := range b.reqs {
		if r != nil && r.peer == peer {
			return r
		}
	}
	return nil
}

// link makes a request live.
func (k *Picker) send(now time.Time, peer *Peer, c *Copy, index int) {
	bl := c.block(index)
	r := &request{peer: peer, copy: c, index: index, sent: now, alone: peer.inFlight == 0}
	if r.alone && !peer.behindHedge {
		peer.meter.begin(now)
	}
	r.due = now.Add(peer.meter.eta(peer.queued))
	if bl.reqs[0] == nil {
		bl.reqs[0] = r
	} else {
		bl.reqs[1] = r
	}
	c.inFlight++
	peer.append(r)
	k.actions = append(k.actions, Action{Request, peer, Block{c.index, index}})
}

// unlink takes a request out of its block and its peer. The block is not made
// free: the caller knows what became of it.
func (k *Picker) remove(r *request) {
	bl := &r.copy.blocks[r.index]
	for i := range bl.reqs {
		if bl.reqs[i] == r {
			bl.reqs[i] = nil
		}
	}
	r.copy.inFlight--
	r.peer.remove(r)
}

// release takes a request back: unless somebody else is asked for it too, the
// block is free again.
func (k *Picker) free(r *request) {
	k.remove(r)
	bl := &r.copy.blocks[r.index]
	if bl.from == nil && !bl.asked() {
		r.copy.free++
	}
}
