package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// request is one block asked of one peer and not answered.
type request struct {
	peer      *Peer
	copy      *Copy
	index     int
	sent      time.Time
	due       time.Time // by the peer's own measure
	alone     bool      // the peer had nothing else to do
	single    bool      // the peer is asked for the block's hash, too
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

// only returns the block's request if it has exactly one.
func (b *block) only() *request {
	switch {
	case b.reqs[0] != nil && b.reqs[1] == nil:
		return b.reqs[0]
	case b.reqs[1] != nil && b.reqs[0] == nil:
		return b.reqs[1]
	}
	return nil
}

// requests are those in flight at all peers, and what is to be told of them.
type requests struct {
	pieces *pieces
	stats  Stats

	actions []Action // since the last flush
	spare   []Action // what the last flush returned
}

// flush returns the actions since the last one, valid until the next.
func (q *requests) flush() []Action {
	out := q.actions
	q.actions, q.spare = q.spare[:0], out
	return out
}

// tellCancel tells the peer of a request that the block is not needed.
func (q *requests) tellCancel(r *request) {
	if !r.cancelled {
		q.actions = append(q.actions, Action{Kind: Cancel, Peer: r.peer, Block: Block{r.copy.index, r.index}})
	}
}

// send asks a peer for a block.
func (q *requests) send(now time.Time, peer *Peer, c *Copy, index int) {
	bl := c.block(index)
	r := &request{peer: peer, copy: c, index: index, sent: now, alone: peer.inFlight == 0, single: peer.tellsHashes && !c.of.wantedWhole()}
	if r.alone && !peer.behindHedge {
		peer.meter.begin(now)
	}
	r.due = now.Add(peer.meter.eta(peer.queued))
	if bl.reqs[0] == nil {
		bl.reqs[0] = r
	} else {
		bl.reqs[1] = r
	}
	q.pieces.counting(c, func() {
		c.sparse = (c.sparse || !c.begun()) && !c.of.wantedWhole()
		c.inFlight++
	})
	peer.append(r)
	q.actions = append(q.actions, Action{Kind: Request, Peer: peer, Block: Block{c.index, index}, Single: r.single})
}

// remove takes a request out of its block and its peer. The block is not made
// free: the caller knows what became of it.
func (q *requests) remove(r *request) {
	bl := &r.copy.blocks[r.index]
	for i := range bl.reqs {
		if bl.reqs[i] == r {
			bl.reqs[i] = nil
		}
	}
	r.copy.inFlight--
	r.peer.remove(r)
}

// release ends a request: unless somebody else is asked for it too, the
// block is free again.
func (q *requests) release(r *request) {
	q.pieces.counting(r.copy, func() {
		q.remove(r)
		if r.copy.lacks(r.index) {
			r.copy.free++
		}
	})
}

// takeBack releases a request whose block may still come.
func (q *requests) takeBack(r *request) {
	r.peer.mayStillSend(Block{r.copy.index, r.index})
	q.release(r)
}

// cancel tells the peer that the block is not needed. A peer with BEP 6 answers
// and the request stays in flight until then; of another nothing more is expected,
// but a block that was on its way is still of use.
func (q *requests) cancel(r *request) {
	if r.cancelled {
		return
	}
	q.tellCancel(r)
	if r.peer.fast {
		r.cancelled = true
		r.peer.queued -= r.bytes()
		return
	}
	q.takeBack(r)
}

// cancelAll cancels the requests for blocks of a copy, from first to before end.
func (q *requests) cancelAll(c *Copy, first, end int) {
	for i := first; i < min(end, len(c.blocks)); i++ {
		for _, r := range c.blocks[i].reqs {
			if r != nil {
				q.cancel(r)
			}
		}
	}
}

// cancelUnwanted cancels what is asked for of a piece that nobody wants any more.
func (q *requests) cancelUnwanted(p *piece) {
	if p.priority() > weir.Unwanted {
		return
	}
	p.whole = false
	for _, c := range append([]*Copy{&p.Copy}, p.trials...) {
		q.cancelAll(c, 0, len(c.blocks))
	}
	q.pieces.forgetUnused(p)
}

// giveUp cancels a request of a peer that is silent, and lets others be asked for its piece.
func (q *requests) giveUp(r *request) {
	c := r.copy
	q.tellCancel(r)
	if !c.trial && c.solo == r.peer {
		c.solo = nil
	}
	q.takeBack(r)
	q.pieces.forgetUnused(c.of)
}

// lostHedge takes back a request for a block that another peer has delivered.
func (q *requests) lostHedge(now time.Time, r *request) {
	b := Block{r.copy.index, r.index}
	q.tellCancel(r)
	r.peer.behindHedge = true
	if !r.peer.silence.silent() { // silence says nothing about its rate
		r.peer.meter.lostHedge(now)
	}
	r.peer.mayStillSend(b)
	q.remove(r)
}

// releaseAll releases every request in flight at the peer.
func (q *requests) releaseAll(p *Peer, mayCome bool) {
	for r := p.oldest; r != nil; r = p.oldest {
		q.release(r)
		if mayCome {
			p.mayStillSend(Block{r.copy.index, r.index})
		}
		q.pieces.forgetUnused(r.copy.of)
	}
}

// endAll takes back what is asked for a piece that is right now, and forgets its
// copies but for those that are being verified.
func (q *requests) endAll(p *piece) {
	for _, c := range append([]*Copy{&p.Copy}, p.trials...) {
		for i := range c.blocks {
			for _, r := range c.blocks[i].reqs {
				if r == nil {
					continue
				}
				q.tellCancel(r)
				q.takeBack(r)
			}
		}
		if c.missing > 0 {
			q.pieces.drop(c)
		}
	}
	p.trials = nil
}

// queue is what one peer was asked for.
type queue struct {
	maxRequests    int                 // that it accepts at a time (BEP 10 reqq)
	oldest, newest *request            // in flight, in the order of sending
	inFlight       int                 // how many
	queued         int64               // their bytes, without what was cancelled
	unreclaimable  int64               // of queued, what a read would have to wait for; see reclaim
	readBehind     bool                // a read's blocks were put behind others that can wait
	askedEarly     bool                // it was asked before it said that it serves us
	behindHedge    bool                // others delivered what it was asked for, and it has not spoken since
	takenBack      map[Block]takenBack // what may come yet although it was taken back
}

// takenBack are the requests of one block that were taken back and not answered.
type takenBack struct {
	requests int       // more than one if it was asked for again in between
	again    time.Time // when it may be asked for again
}

func (q *queue) append(r *request) {
	r.before = q.newest
	if q.newest == nil {
		q.oldest = r
	} else {
		q.newest.after = r
	}
	q.newest = r
	q.inFlight++
	q.queued += r.bytes()
	q.unreclaimable += r.bytes()
}

func (q *queue) remove(r *request) {
	if r.before == nil {
		q.oldest = r.after
	} else {
		r.before.after = r.after
	}
	if r.after == nil {
		q.newest = r.before
	} else {
		r.after.before = r.before
	}
	r.before, r.after = nil, nil
	q.inFlight--
	if !r.cancelled {
		q.queued -= r.bytes()
	}
}

// mayStillSend remembers that a block which was taken back may still arrive.
func (q *queue) mayStillSend(b Block) {
	if len(q.takenBack) >= 2*maxInFlight {
		clear(q.takenBack) // more than it was ever asked for at a time
	}
	q.takenBack[b] = takenBack{requests: q.takenBack[b].requests + 1}
}

// answeredLate counts an answer to a request that was taken back, and reports whether
// there was one.
func (q *queue) answeredLate(b Block) bool {
	t, late := q.takenBack[b]
	if t.requests--; t.requests > 0 {
		q.takenBack[b] = t
	} else {
		delete(q.takenBack, b)
	}
	return late
}

// notBefore says when a block that was taken back may be asked for again.
func (q *queue) notBefore(again time.Time, b Block) {
	t := q.takenBack[b]
	t.again = again
	q.takenBack[b] = t
}

// maySend reports whether an answer is to come for a block that was taken back.
func (q *queue) maySend(now time.Time, b Block) bool { return now.Before(q.takenBack[b].again) }
