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
	Kind   Kind
	Peer   *Peer
	Block  Block
	Single bool // the hash of a requested block is asked for with it
}

// Options bound what a Picker does. Zero fields take the defaults.
type Options struct {
	// ID is our own peer ID, which the peers know.
	ID [20]byte
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

// Stats count blocks since the picker was made.
type Stats struct {
	Received  int64 // blocks that were of use
	Wasted    int64 // blocks that came twice, too late, or were not asked for
	Hedged    int64 // requests for a block that somebody else was asked for already
	Reclaimed int64 // requests of read-ahead that gave way to a read
}

// Picker is told what happens in a torrent's swarm, and decides what is asked of whom.
// Each part of its state is an object of its own.
type Picker struct {
	Blocks *SingleBlocks

	pieces    *pieces
	wants     *wants
	peers     *peers
	requests  *requests
	scheduler *scheduler
}

// New returns a Picker for a torrent of which held pieces are verified already.
// It takes ownership of held, which has an entry per piece.
func New(geo Geometry, held []bool, opts Options) *Picker {
	opts.defaults()
	k := &Picker{pieces: newPieces(geo, held), peers: &peers{}}
	k.wants = &wants{pieces: k.pieces}
	k.requests = &requests{pieces: k.pieces}
	k.Blocks = &SingleBlocks{pieces: k.pieces, wants: k.wants, requests: k.requests}
	k.scheduler = &scheduler{opts: opts, queueTime: opts.QueueTime, pieces: k.pieces, wants: k.wants, peers: k.peers, requests: k.requests}
	return k
}

// Pick returns what to do now, in order. The slice is valid until the next
// call; so are the cancels that the calls since the last Pick gave rise to.
func (k *Picker) Pick(now time.Time) []Action {
	k.scheduler.run(now)
	return k.requests.flush()
}

// Stats returns the counts so far.
func (k *Picker) Stats() Stats { return k.requests.stats }

// HeldCount returns how many pieces are verified.
func (k *Picker) HeldCount() int { return k.pieces.heldCount }

// HeldPieces tells which pieces are verified. The slice is the picker's own: read
// it before the next call.
func (k *Picker) HeldPieces() []bool { return k.pieces.held }

// Held reports whether the piece is verified.
func (k *Picker) Held(index int) bool { return k.pieces.held[index] }

// SetMemory changes Options.MemoryBytes.
func (k *Picker) SetMemory(bytes int64) { k.scheduler.opts.MemoryBytes = bytes }

// SetDelay says for how long we keep blocks waiting that peers have sent, under a
// download limit: no peer is late because of that.
func (k *Picker) SetDelay(d time.Duration) { k.scheduler.delay = d }

// Lost says that a verified piece is gone (evicted); wants for it are served
// from the swarm again.
func (k *Picker) Lost(index int) {
	if !k.pieces.held[index] {
		return
	}
	k.pieces.lose(index)
	for prio := weir.Background; prio <= weir.Blocked; prio++ {
		if n := k.wants.count(index, prio); n > 0 {
			k.pieces.get(index).wanted[prio] = n
		}
	}
	k.Blocks.lost(index)
	k.wants.rewindTo(index)
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
func (k *Picker) DropUnwanted(before time.Time) { k.pieces.dropUnwanted(before) }

// Free gives back the memory of all blocks that are here. The picker must not be used
// afterwards.
func (k *Picker) Free() {
	for c := range k.pieces.loaded {
		k.pieces.drop(c)
	}
}
