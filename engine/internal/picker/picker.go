// Package picker decides which block is asked of which peer, and when. It is
// the heart of weir and it is pure: facts go in (a peer has a piece, a block
// arrived, a reader waits), choices come out (request this, cancel that).
//
// No I/O, no goroutine, no clock and no lock lives here: every method takes the
// time, and one goroutine at a time calls them (the owner of the torrent). The
// bytes of blocks are not seen here either, only their digests when somebody
// has to be blamed for a piece that failed.
package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Block names a block of a piece: 16 KiB, shorter at the end of the piece.
type Block struct {
	Piece int
	Index int
}

// Geometry tells how long each piece is.
type Geometry interface {
	NumPieces() int
	PieceRange(index int) weir.Range
}

// Kind says what an Action is.
type Kind uint8

// The kinds of actions.
const (
	Request Kind = iota
	Cancel
)

// Action is one decision to be carried out on the wire.
type Action struct {
	Kind  Kind
	Peer  *Peer
	Block Block
}

// Options bound what a Picker does. Zero fields take the defaults.
type Options struct {
	// MemoryBytes bounds the pieces that are begun and not yet verified. When it is
	// used up, the pieces that reads wait for are fetched one after another.
	MemoryBytes int64
	// QueueTime is the time's worth of requests kept queued at a peer beyond
	// its round trip (100 ms): enough that it never runs dry, little enough that
	// an urgent request does not stand behind much.
	QueueTime time.Duration
	// HedgeShare bounds the blocks asked for twice, as a share of the blocks
	// received (0.02), with HedgeBurst more of them for the beginning (64).
	HedgeShare float64
	HedgeBurst int
}

func (o *Options) defaults() {
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 256 << 20
	}
	if o.QueueTime == 0 {
		o.QueueTime = 100 * time.Millisecond
	}
	if o.HedgeShare == 0 {
		o.HedgeShare = 0.02
	}
	if o.HedgeBurst == 0 {
		o.HedgeBurst = 64
	}
}

// Picker holds what is known about one torrent's pieces, peers and wants.
type Picker struct {
	opts   Options
	pieces pieces

	peers             []*Peer                   // in the order of their coming, so that a run can be replayed
	wants             [weir.Blocked + 1][]*Want // by priority, in order of arrival
	nextWindow        int                       // whose window goes first at the next Pick
	backgroundRetryAt time.Time                 // until then there is nothing to do in the background
	queue             time.Duration             // Options.QueueTime, or less: see shortQueueFor
	lastUnplannedRead time.Time                 // the last read of what no window had
	delay             time.Duration             // for which we keep the peers' blocks waiting ourselves

	stats Stats

	actions   []Action // since the last Pick
	spare     []Action // what the last Pick returned
	lastHedge time.Time
}

// Stats count blocks since the picker was made.
type Stats struct {
	Received  int64 // blocks that were of use
	Wasted    int64 // blocks that came twice, too late, or were not asked for
	Hedged    int64 // requests for a block that somebody else was asked for already
	Reclaimed int64 // requests of read-ahead that gave way to a read
}

// Stats returns the counts so far.
func (k *Picker) Stats() Stats { return k.stats }

// New returns a Picker for a torrent of which held pieces are verified already.
// It takes ownership of held, which has an entry per piece.
func New(geo Geometry, held []bool, opts Options) *Picker {
	opts.defaults()
	return &Picker{opts: opts, pieces: newPieces(geo, held), queue: opts.QueueTime}
}

// HeldCount returns how many pieces are verified.
func (k *Picker) HeldCount() int { return k.pieces.heldCount }

// HeldPieces tells which pieces are verified. The slice is the picker's own: read
// it before the next call.
func (k *Picker) HeldPieces() []bool { return k.pieces.held }

// SetMemory changes Options.MemoryBytes.
func (k *Picker) SetMemory(bytes int64) { k.opts.MemoryBytes = bytes }

// SetDelay says for how long we keep blocks waiting that peers have sent, under a
// download limit: no peer is late because of that.
func (k *Picker) SetDelay(d time.Duration) { k.delay = d }

// Held reports whether the piece is verified.
func (k *Picker) Held(index int) bool { return k.pieces.held[index] }

// Lost says that a verified piece is gone (evicted); wants for it are served
// from the swarm again.
func (k *Picker) Lost(index int) {
	if !k.pieces.held[index] {
		return
	}
	k.pieces.lose(index)
	for prio := weir.Background; prio <= weir.Blocked; prio++ {
		for _, w := range k.wants[prio] {
			for _, s := range w.spans {
				if s.First <= index && index < s.End {
					k.pieces.get(index).wanted[prio]++
				}
			}
		}
	}
	k.rewindTo(index)
}

// Found says that a piece is verified without having been fetched: another torrent
// had the same. It reports false, and does nothing, if the piece is held or begun.
func (k *Picker) Found(index int) bool {
	if p := k.pieces.open[index]; k.pieces.held[index] || p != nil && (p.begun() || p.onTrial()) {
		return false
	}
	k.pieces.hold(index)
	return true
}

// Wanted reports at which priority the piece is wanted.
func (k *Picker) Wanted(index int) weir.Priority {
	if p := k.pieces.open[index]; p != nil {
		return p.priority()
	}
	return weir.Unwanted
}

// Busy reports whether anything is wanted that is not held, so that time alone
// (a peer that falls silent) may call for a decision.
func (k *Picker) Busy() bool {
	for _, p := range k.pieces.open {
		if p.priority() > weir.Unwanted || p.requested() {
			return true
		}
	}
	return false
}

// Begun returns the bytes of pieces that are begun and not verified.
func (k *Picker) Begun() int64 { return k.pieces.begun }

// DropUnwanted gives back the memory of pieces that nobody wants, and of which a copy
// has got no block since before.
func (k *Picker) DropUnwanted(before time.Time) {
	for c := range k.pieces.loaded {
		if c.touched.Before(before) {
			k.drop(c.index)
		}
	}
}

// drop forgets the blocks of a piece that nobody wants. It reports false if the piece
// is wanted, or being verified.
func (k *Picker) drop(index int) bool {
	p := k.pieces.open[index]
	if p == nil || p.priority() > weir.Unwanted || p.missing == 0 {
		return false
	}
	if slices.ContainsFunc(p.trials, func(t *Copy) bool { return t.missing == 0 }) {
		return false
	}
	for _, t := range slices.Clone(p.trials) {
		k.pieces.endTrial(t)
	}
	k.pieces.drop(&p.Copy)
	k.pieces.forgetUnused(p)
	return true
}

// Free gives back the memory of all blocks that are here. The picker must not be used
// afterwards.
func (k *Picker) Free() {
	for c := range k.pieces.loaded {
		k.pieces.drop(c)
	}
}

// Delivery says what became of a block.
type Delivery struct {
	Kept     bool  // it was of use, and its buffer belongs to the picker
	Asked    bool  // the peer was asked for it, even if it came twice
	Complete *Copy // to be verified, if this was the last block of it
}

// Received says that peer delivered a block, in data.
func (k *Picker) Received(now time.Time, peer *Peer, b Block, data Buffer) (d Delivery) {
	peer.snubbed, peer.slow, peer.behindHedge = false, false, false
	_, d.Asked = peer.takenBack[b]
	c := k.pieces.copyOf(b.Piece, peer)
	if c == nil || b.Index >= c.count {
		k.stats.Wasted++
		delete(peer.takenBack, b)
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
			k.remove(r) // if it was asked before, too, that is still to be answered
			d.Asked = true
		} else {
			delete(peer.takenBack, b)
			k.backgroundRetryAt = time.Time{}
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
				k.lostHedge(now, o)
			}
		}
	})
	if d.Kept {
		k.stats.Received++
	} else {
		k.stats.Wasted++
	}
	if c.missing == 0 && d.Kept {
		d.Complete = c
	}
	k.pieces.forgetUnused(c.of)
	return d
}

// lostHedge takes back a request for a block that another peer has delivered.
func (k *Picker) lostHedge(now time.Time, r *request) {
	b := Block{r.copy.index, r.index}
	if !r.cancelled {
		k.actions = append(k.actions, Action{Cancel, r.peer, b})
	}
	r.peer.behindHedge = true
	if !r.peer.slow { // silence says nothing about its rate
		r.peer.meter.lostHedge(now)
	}
	r.peer.mayStillSend(b)
	k.remove(r)
}

// Rejected says that the peer will not deliver the block (BEP 6).
func (k *Picker) Rejected(peer *Peer, b Block) {
	peer.behindHedge = false // it speaks
	if _, late := peer.takenBack[b]; late {
		delete(peer.takenBack, b) // what was taken back is answered before what it was asked for since
		k.backgroundRetryAt = time.Time{}
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
	k.pieces.counting(c, func() { k.free(r) })
	k.rewindTo(c.index)
	k.pieces.forgetUnused(c.of)
}

// rewind makes every want look at its pieces from the first one again.
func (k *Picker) rewind() {
	k.backgroundRetryAt = time.Time{}
	for prio := range k.wants {
		for _, w := range k.wants[prio] {
			w.cursor = 0
		}
	}
}

// rewindTo makes every want look at the piece again. It is for what happens often.
func (k *Picker) rewindTo(index int) {
	k.backgroundRetryAt = time.Time{}
	for prio := range k.wants {
		for _, w := range k.wants[prio] {
			n := 0
			for _, s := range w.spans {
				if n >= w.cursor {
					break
				}
				if s.First <= index && index < s.End {
					w.cursor = min(w.cursor, n+index-s.First)
				}
				n += s.End - s.First
			}
		}
	}
}
