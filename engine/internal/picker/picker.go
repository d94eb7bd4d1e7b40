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
	geo  Geometry
	opts Options

	held      []bool         // verified; nothing is requested
	pieces    map[int]*piece // wanted or begun, and not held
	heldCount int
	begun     int64 // bytes of the pieces that hold or expect a block

	committing int64 // bytes of verified pieces still in memory

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
	k := &Picker{
		geo:    geo,
		opts:   opts,
		held:   held,
		pieces: map[int]*piece{},
		queue:  opts.QueueTime,
	}
	for _, h := range held {
		if h {
			k.heldCount++
		}
	}
	return k
}

// HeldCount returns how many pieces are verified.
func (k *Picker) HeldCount() int { return k.heldCount }

// HeldPieces tells which pieces are verified. The slice is the picker's own: read
// it before the next call.
func (k *Picker) HeldPieces() []bool { return k.held }

// SetMemory changes Options.MemoryBytes.
func (k *Picker) SetMemory(bytes int64) { k.opts.MemoryBytes = bytes }

// SetDelay says for how long we keep blocks waiting that peers have sent, under a
// download limit: no peer is late because of that.
func (k *Picker) SetDelay(d time.Duration) { k.delay = d }

// Committing returns the bytes of verified pieces that are still in memory.
func (k *Picker) Committing() int64 { return k.committing }

// Held reports whether the piece is verified.
func (k *Picker) Held(index int) bool { return k.held[index] }

// Lost says that a verified piece is gone (evicted); wants for it are served
// from the swarm again.
func (k *Picker) Lost(index int) {
	if !k.held[index] {
		return
	}
	k.held[index] = false
	k.heldCount--
	for prio := weir.Background; prio <= weir.Blocked; prio++ {
		for _, w := range k.wants[prio] {
			for _, s := range w.spans {
				if s.First <= index && index < s.End {
					k.piece(index).wanted[prio]++
				}
			}
		}
	}
	k.rewindTo(index)
}

// Found says that a piece is verified without having been fetched: another torrent
// had the same. It reports false, and does nothing, if the piece is held or begun.
func (k *Picker) Found(index int) bool {
	if p := k.pieces[index]; k.held[index] || p != nil && (p.begun() || p.onTrial()) {
		return false
	}
	k.held[index] = true
	k.heldCount++
	delete(k.pieces, index)
	return true
}

// Wanted reports at which priority the piece is wanted.
func (k *Picker) Wanted(index int) weir.Priority {
	if p := k.pieces[index]; p != nil {
		return p.priority()
	}
	return weir.Unwanted
}

// Busy reports whether anything is wanted that is not held, so that time alone
// (a peer that falls silent) may call for a decision.
func (k *Picker) Busy() bool {
	for _, p := range k.pieces {
		if p.priority() > weir.Unwanted || p.inFlight > 0 || slices.ContainsFunc(p.trials, func(t *piece) bool { return t.inFlight > 0 }) {
			return true
		}
	}
	return false
}

// Begun returns the bytes of pieces that are begun and not verified.
func (k *Picker) Begun() int64 { return k.begun }

// Drop forgets the received blocks of a piece that nobody wants, to give their
// memory back. It reports whether it did.
func (k *Picker) Drop(index int) bool {
	p := k.pieces[index]
	if p == nil || p.priority() > weir.Unwanted || p.missing == 0 {
		return false
	}
	if slices.ContainsFunc(p.trials, func(t *piece) bool { return t.missing == 0 }) {
		return false
	}
	for _, t := range slices.Clone(p.trials) {
		k.forgetTrial(t)
	}
	k.forgetBlocks(p)
	k.forgetUnused(p)
	return true
}

// forgetBlocks takes back that blocks were received.
func (k *Picker) forgetBlocks(p *piece) {
	k.track(p, func() {
		for i := range p.blocks {
			if p.blocks[i].from != nil {
				p.blocks[i].from = nil
				p.missing++
				if !p.blocks[i].asked() {
					p.free++
				}
			}
		}
	})
	if !p.begun() {
		p.blocks = nil
	}
}

// Delivery says what a block is good for.
type Delivery struct {
	Keep     bool // its bytes are of use
	Complete bool // what they belong to can be verified now
	// Own tells that they belong to a copy of the piece that this peer gives alone,
	// because the piece is on trial.
	Own bool
	// Asked tells that the peer was asked for it, even if it came twice.
	Asked bool
}

// Received says that peer delivered a block.
func (k *Picker) Received(now time.Time, peer *Peer, b Block) (d Delivery) {
	peer.snubbed, peer.slow, peer.behindHedge = false, false, false
	_, d.Asked = peer.takenBack[b]
	p := k.copyOf(b.Piece, peer)
	if p == nil || b.Index >= p.count {
		k.stats.Wasted++
		delete(peer.takenBack, b)
		return d
	}
	d.Own = p.of != nil
	peer.meter.arrived(now, p.blockBytes(b.Index))
	bl := p.block(b.Index)
	k.track(p, func() {
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
		d.Keep = true
		if r == nil && !bl.asked() {
			p.free--
		}
		bl.from = peer
		p.missing--
		for _, o := range bl.reqs {
			if o != nil {
				if !o.cancelled {
					k.actions = append(k.actions, Action{Cancel, o.peer, b})
				}
				o.peer.behindHedge = true
				if !o.peer.slow { // silence says nothing about its rate
					o.peer.meter.lostHedge(now)
				}
				o.peer.mayStillSend(b)
				k.remove(o)
			}
		}
		d.Complete = p.missing == 0
	})
	if d.Keep {
		k.stats.Received++
	} else {
		k.stats.Wasted++
	}
	k.forgetUnused(p)
	return d
}

// Rejected says that the peer will not deliver the block (BEP 6).
func (k *Picker) Rejected(peer *Peer, b Block) {
	peer.behindHedge = false // it speaks
	if _, late := peer.takenBack[b]; late {
		delete(peer.takenBack, b) // what was taken back is answered before what it was asked for since
		k.backgroundRetryAt = time.Time{}
		return
	}
	p := k.copyOf(b.Piece, peer)
	if p == nil || b.Index >= len(p.blocks) {
		return
	}
	r := p.blocks[b.Index].at(peer)
	if r == nil {
		return
	}
	// A peer that chokes us rejects all that it was asked for: that says nothing about
	// the piece.
	if !r.cancelled && !peer.choking {
		peer.refuse(b.Piece)
	}
	k.track(p, func() { k.free(r) })
	k.rewindTo(p.index)
	k.forgetUnused(p)
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
