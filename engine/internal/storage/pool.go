package storage

import (
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/weirfs/weir"
)

// maxUncached bounds the bytes of pieces, over all torrents, that stay in memory
// because the Store does not take them: enough that a reader gets what it waited
// for.
const maxUncached = 64 << 20

// Pool is what the torrents of an engine share: how many pieces are put at a time, and
// how many stay in memory because the Store refuses them. It is safe for concurrent use.
type Pool struct {
	// MaxUncached bounds the bytes of refused pieces. It is set before the first piece.
	MaxUncached int64

	store      Store
	sharing    Sharing             // nil if the Store knows no hashes
	committing *semaphore.Weighted // of commitSlots: see commitWeight

	mu    sync.Mutex
	list  []uncached // the oldest first
	bytes int64      // of list
}

type uncached struct {
	pieces *Pieces
	index  int
	bytes  int64
}

// NewPool returns the pool of a Store; sharing is the same Store, or nil if it knows no
// hashes.
func NewPool(store Store, sharing Sharing) *Pool {
	return &Pool{MaxUncached: maxUncached, store: store, sharing: sharing, committing: semaphore.NewWeighted(commitSlots)}
}

// NewPieces returns the pieces of a torrent. drop is called, from any goroutine, when a
// piece that was retained should be removed, to make room for a newer one.
func (p *Pool) NewPieces(ih weir.InfoHash, drop func(index int)) *Pieces {
	return &Pieces{pool: p, ih: ih, drop: drop, pieces: map[int]*Piece{}, uncached: map[int]struct{}{}}
}

// UncachedBytes returns the size of the pieces that the Store refused.
func (p *Pool) UncachedBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// add lists a piece that the Store refused and returns those that have to go for it. It
// is never one of them, however large.
func (p *Pool) add(u uncached) (gone []uncached) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.list) > 0 && p.bytes+u.bytes > p.MaxUncached {
		gone = append(gone, p.list[0])
		p.bytes -= p.list[0].bytes
		p.list = p.list[1:]
	}
	p.list = append(p.list, u)
	p.bytes += u.bytes
	return gone
}

// leave forgets the pieces of a torrent whose swarm ends.
func (p *Pool) leave(of *Pieces) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = slices.DeleteFunc(p.list, func(u uncached) bool {
		if u.pieces == of {
			p.bytes -= u.bytes
		}
		return u.pieces == of
	})
}

// Two large pieces are put at a time, and up to commitSlots small ones, so that a
// Store can write them together.
const commitSlots = 16

func commitWeight(bytes int64) int64 {
	return min(max(bytes/(128<<10), 1), commitSlots/2)
}
