package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Peer is what the picker knows of one connected peer. The owner keeps the
// pointer as the peer's name; its fields belong to the picker.
type Peer struct {
	// Ref is the owner's own; the picker does not look at it.
	Ref any

	pieces      []bool // which it has; nil until it said something
	all         bool   // it has everything
	choking     bool   // it does not serve us
	fast        bool   // BEP 6: it answers each request, with the block or a reject
	allowed     map[int]bool
	maxRequests int // requests that it accepts at a time (BEP 10 reqq)

	meter meter

	oldest, newest *request            // live requests, in the order of sending
	inFlight       int                 // how many
	queued         int64               // their bytes, without what was cancelled
	unreclaimable  int64               // of queued, what a read would have to wait for; see reclaim
	readBehind     bool                // a read's blocks were put behind others that can wait
	takenBack      map[Block]time.Time // what was taken back and may come yet: when it may be asked for again

	proven      bool        // a piece with a block of it was verified, and none failed since
	refused     map[int]int // requests that it refused, by piece
	askedEarly  bool        // asked before it said that it serves us
	behindHedge bool        // others delivered what it was asked for, and it has not spoken since
	slow        bool        // silent beyond its patience: asked for nothing more for now
	snubbed     bool        // silent for good: everything was taken back
}

// PeerOptions say what is known of a peer when it joins.
type PeerOptions struct {
	Ref         any
	RTT         time.Duration // of the handshake, 0 if unknown
	MaxRequests int           // reqq of its extended handshake, 0 if unknown
	Fast        bool
}

// DefaultMaxRequests is assumed of a peer that does not say how many requests
// it queues: the smallest that common clients use.
const DefaultMaxRequests = 250

// maxOut bounds the requests at one peer, 32 MiB.
const maxInFlight = 2048

// Join adds a peer. It chokes us and has nothing until it says otherwise.
func (k *Picker) Join(o PeerOptions) *Peer {
	p := &Peer{Ref: o.Ref, choking: true, fast: o.Fast, meter: newMeter(o.RTT), takenBack: map[Block]time.Time{}}
	p.SetMaxRequests(o.MaxRequests)
	k.peers = append(k.peers, p)
	return p
}

// SetMaxRequests says how many requests the peer queues (BEP 10 reqq).
func (p *Peer) SetMaxRequests(n int) {
	if n <= 0 {
		n = DefaultMaxRequests
	}
	p.maxRequests = min(n, maxInFlight)
}

// Leave forgets a peer; what it was asked for is free again.
func (k *Picker) Leave(p *Peer) {
	k.releaseAll(p, false)
	k.peers = slices.DeleteFunc(k.peers, func(o *Peer) bool { return o == p })
	for _, pc := range k.pieces.open {
		if pc.solo == p {
			pc.solo = nil
		}
		if t := pc.trialOf(p); t != nil {
			k.pieces.endTrial(t)
		}
		k.endTrials(pc)
	}
}

// releaseAll takes every live request of the peer back.
func (k *Picker) releaseAll(p *Peer, mayCome bool) {
	for r := p.oldest; r != nil; r = p.oldest {
		k.pieces.counting(r.copy, func() { k.free(r) })
		if mayCome {
			p.mayStillSend(Block{r.copy.index, r.index})
		}
		k.pieces.forgetUnused(r.copy.of)
	}
	k.rewind()
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
	if k.Wanted(index) > weir.Unwanted {
		k.rewindTo(index)
	}
}

// HasAll says that the peer has everything.
func (k *Picker) HasAll(p *Peer) {
	p.all, p.pieces = true, nil
	k.rewind()
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
			k.takeBack(r)
			k.pieces.forgetUnused(r.copy.of)
		}
		r = next
	}
	k.rewind()
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
			k.takeBack(r)
		}
	}
	k.pieces.forgetUnused(c.of)
	k.rewindTo(index)
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
	for _, p := range k.peers {
		if p.has(index) {
			n++
		}
	}
	return n
}

// Unchoked says that the peer serves us.
func (k *Picker) Unchoked(now time.Time, p *Peer) {
	p.choking = false
	if !p.fast { // one with BEP 6 says which it does not answer
		k.takeBackEarly(now, p)
	}
	p.askedEarly = false
	p.refused = nil // it may have been checking its files
	k.rewind()
}

// Choked says that the peer serves us no longer. Without BEP 6 that drops what
// it was asked for; with it each request is answered by a reject.
func (k *Picker) Choked(p *Peer) {
	p.choking = true
	if !p.fast {
		k.releaseAll(p, true)
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
	k.rewindTo(index)
}

// Copies returns how many whole copies the peers have between them, and as its
// fraction the share of the pieces of which there is at least one copy more. It
// takes a step for each piece and peer.
func (k *Picker) DistributedCopies() float64 {
	seeds := 0
	var rest []*Peer
	for _, p := range k.peers {
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

// HasPiece reports whether the peer has the piece.
func (p *Peer) HasPiece(index int) bool { return index >= 0 && p.has(index) }

// HasEverything reports whether the peer has said that it is a seed.
func (p *Peer) HasEverything() bool { return p.all }

// HasAtLeast reports whether the peer has n pieces or more. It takes a step for each
// piece at most.
func (p *Peer) HasAtLeast(n int) bool {
	for _, has := range p.pieces {
		if has {
			n--
		}
		if n <= 0 {
			return true
		}
	}
	return p.all || n <= 0
}

func (p *Peer) has(index int) bool { return p.all || index < len(p.pieces) && p.pieces[index] }

// usable reports whether the peer may be asked for blocks of the piece now.
func (p *Peer) usable(index int) bool {
	return p.has(index) && (!p.choking || p.allowed[index]) && p.refused[index] < maxRefusals
}

// room returns how many more blocks the peer's window takes.
func (p *Peer) room(queue time.Duration) int {
	if p.snubbed || p.slow {
		return 1 - p.inFlight // a probe
	}
	return min(p.maxRequests, p.meter.window(queue)) - p.inFlight
}

// refuse counts a reject; a peer that keeps refusing a piece does not have it.
func (p *Peer) refuse(index int) {
	if p.refused == nil {
		p.refused = map[int]int{}
	}
	p.refused[index]++
}

const maxRefusals = 3

// eta returns when a block asked for now at this priority would be here.
func (p *Peer) eta(prio weir.Priority) time.Duration {
	ahead := p.queued
	if prio == weir.Blocked {
		ahead = min(ahead, p.unreclaimable)
	}
	d := p.meter.eta(ahead)
	if p.snubbed {
		d += 10 * time.Second
	}
	return d
}

func (p *Peer) append(r *request) {
	r.before = p.newest
	if p.newest == nil {
		p.oldest = r
	} else {
		p.newest.after = r
	}
	p.newest = r
	p.inFlight++
	p.queued += r.bytes()
	p.unreclaimable += r.bytes()
}

func (p *Peer) remove(r *request) {
	if r.before == nil {
		p.oldest = r.after
	} else {
		r.before.after = r.after
	}
	if r.after == nil {
		p.newest = r.before
	} else {
		r.after.before = r.before
	}
	r.before, r.after = nil, nil
	p.inFlight--
	if !r.cancelled {
		p.queued -= r.bytes()
	}
}

// expectLate remembers that a block which was taken back may still arrive.
func (p *Peer) mayStillSend(b Block) {
	if len(p.takenBack) >= 2*maxInFlight {
		clear(p.takenBack) // more than it was ever asked for at a time
	}
	p.takenBack[b] = time.Time{}
}

// answerTime is how long a peer with BEP 6, which should answer each request, is not
// asked again for a block that was taken back because it was silent. If its line is
// slow, the block may be on its way, and would come twice; but Transmission 3.00 drops
// what was cancelled without a word, and a read may have nobody else to ask.
const askAgainAfter = 4 * time.Second

// maySend reports whether an answer is to come for a block that was taken back.
func (p *Peer) maySend(now time.Time, b Block) bool { return now.Before(p.takenBack[b]) }

// Rate returns the measured rate in bytes per second, 0 before any measure.
func (p *Peer) Rate() float64 {
	if !p.meter.measured {
		return 0
	}
	return p.meter.rate
}

// RTT returns the smallest round trip seen.
func (p *Peer) RTT() time.Duration { return p.meter.rtt }

// Out returns how many requests it has not answered.
func (p *Peer) InFlight() int { return p.inFlight }
