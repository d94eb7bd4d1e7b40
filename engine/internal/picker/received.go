package picker

import "time"

// Delivery says what became of a block.
type Delivery struct {
	Kept     bool  // it was of use, and its buffer belongs to the picker
	Asked    bool  // the peer was asked for it, even if it came twice
	Complete *Copy // to be verified, if this was the last block of it
}

// Received says that peer delivered a block, in data.
func (k *Picker) Received(now time.Time, peer *Peer, b Block, data Buffer) (d Delivery) {
	if peer.silence.isSnubbed() {
		peer.spokeAgain(now)
	}
	peer.silence, peer.behindHedge = answering, false
	_, d.Asked = peer.takenBack[b]
	c := k.pieces.copyOf(b.Piece, peer)
	if c == nil || b.Index >= c.count {
		k.requests.stats.Wasted++
		peer.answeredLate(b)
		return d
	}
	peer.meter.arrived(now, c.blockBytes(b.Index))
	bl := c.block(b.Index)
	k.pieces.counting(c, func() {
		r := bl.at(peer)
		if r != nil {
			if r.alone {
				peer.meter.answered(now, now.Sub(r.sent))
			}
			k.requests.remove(r) // if it was asked before, too, that is still to be answered
			d.Asked = true
		} else {
			peer.answeredLate(b)
			k.wants.backgroundRetryAt = time.Time{}
		}
		if bl.from != nil || !d.Asked {
			return // twice, or never asked for: a lie to make us hold memory
		}
		d.Kept = true
		if r == nil && !bl.asked() {
			c.free--
		}
		k.pieces.put(c, b.Index, peer, data, now)
		for _, o := range bl.reqs {
			if o != nil {
				k.requests.lostHedge(now, o)
			}
		}
	})
	if d.Kept {
		k.requests.stats.Received++
	} else {
		k.requests.stats.Wasted++
	}
	if c.missing == 0 && d.Kept {
		d.Complete = c
	}
	k.pieces.forgetUnused(c.of)
	return d
}

// Rejected says that the peer will not deliver the block (BEP 6).
func (k *Picker) Rejected(peer *Peer, b Block) {
	peer.behindHedge = false  // it speaks
	if peer.answeredLate(b) { // what was taken back is answered before what it was asked for since
		k.wants.backgroundRetryAt = time.Time{}
		return
	}
	c := k.pieces.copyOf(b.Piece, peer)
	if c == nil || b.Index >= len(c.blocks) {
		return
	}
	r := c.blocks[b.Index].at(peer)
	if r == nil {
		return
	}
	// A peer that chokes us rejects all that it was asked for: that says nothing about
	// the piece.
	if !r.cancelled && !peer.choking {
		peer.refuse(b.Piece)
	}
	k.requests.release(r)
	k.wants.rewindTo(c.index)
	k.pieces.forgetUnused(c.of)
}
