package cache

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/weirfs/weir"
)

// Whoever gets the turn puts what waits by then, the first that came first, up to
// this much at a time: small pieces cost badger as much by their number as by
// their bytes. Nobody waits for company.
const (
	groupPieces = 32
	groupBytes  = inFlight * slabBytes
)

// Put stores a whole, verified piece, given as consecutive slices; the caller
// may use them again afterwards. When it returns nil, View serves the piece. It
// is synchronous and waits for the disk when the disk is behind; small pieces that
// are put at the same time are written together. A piece that is held already is
// left as it is.
//
// The error wraps weir.ErrNoSpace when the piece fits neither into the budget nor
// on the disk (what is held can still be read, and a later Put may succeed),
// weir.ErrInvalid when there is no such piece, weir.ErrClosed after Close.
func (c *Cache) Put(id weir.PieceID, blocks [][]byte) error { return c.put(id, nil, blocks) }

// goodPiece reports whether a piece of n bytes may have this name.
func goodPiece(id weir.PieceID, n int64) bool {
	return id.Index >= 0 && id.Index < maxPieces && n > 0 && n <= maxPieceBytes
}

// incoming is a piece on its way into the cache.
type incoming struct {
	id     weir.PieceID
	hash   []byte // nil: not known
	n      int64  // bytes
	to     class
	uses   uint8
	blocks [][]byte                // what Put was given
	fill   func(part []byte) error // gives the next bytes

	// Set by the batch that it is written with.
	off   int64 // of its first entry
	slabs int   // found in the log

	// What became of it, for whoever has the turn; for others once done is closed.
	done  chan struct{}
	over  bool
	fresh bool // it is held, and was not before
	err   error
}

func (w *incoming) finish(fresh bool, err error) {
	w.over, w.fresh, w.err = true, fresh, err
	close(w.done)
}

// queue holds the pieces that wait to be put, in the order in which they came.
type queue struct {
	mu      sync.Mutex
	waiting []*incoming
}

func (q *queue) add(w *incoming) {
	q.mu.Lock()
	q.waiting = append(q.waiting, w)
	q.mu.Unlock()
}

// next takes a group out, of at least one piece unless nothing waits.
func (q *queue) next() []*incoming {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, sum := 0, int64(0)
	for n < min(len(q.waiting), groupPieces) {
		if sum += q.waiting[n].n; n > 0 && sum > groupBytes {
			break
		}
		n++
	}
	group := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return group
}

// put stores a piece; hash is nil when it is not known.
func (c *Cache) put(id weir.PieceID, hash []byte, blocks [][]byte) error {
	var n int64
	for _, b := range blocks {
		n += int64(len(b))
	}
	if !goodPiece(id, n) {
		return fmt.Errorf("put %s of %d bytes: %w", id, n, weir.ErrInvalid)
	}
	w := &incoming{id: id, hash: hash, n: n, blocks: blocks, done: make(chan struct{})}
	w.fill = reading(blocks)
	c.queue.add(w)
	select {
	case <-w.done: // somebody else's turn was enough for both
	case <-c.turn:
		c.lead(w)
	}
	if w.fresh {
		c.tell([]note{{id, true}})
	}
	return w.err
}

// reading returns a function that copies consecutive slices out, part by part.
func reading(blocks [][]byte) func([]byte) error {
	rest := []byte(nil)
	return func(part []byte) error {
		for len(part) > 0 {
			for len(rest) == 0 {
				rest, blocks = blocks[0], blocks[1:]
			}
			k := copy(part, rest)
			part, rest = part[k:], rest[k:]
		}
		return nil
	}
}

// lead puts what waits, until w is among that. The caller has the turn, which
// lead gives back.
func (c *Cache) lead(w *incoming) {
	defer c.endTurn()
	for !w.over {
		if c.company {
			// Those that were in the last group are about to put the next piece, and
			// badger's goroutines would pass them in the scheduler's queue: let them in.
			runtime.Gosched()
		}
		group := c.queue.next()
		c.company = len(group) > 1
		c.putGroup(group)
	}
}

// putGroup puts pieces, as many together as lie side by side in one generation,
// and finishes each as soon as it is held. The caller has the turn.
func (c *Cache) putGroup(group []*incoming) {
	c.mu.RLock()
	closed := c.closed
	c.mu.RUnlock()
	lost := !closed && c.lost()
	b := &c.batch
	land := func() {
		err := c.commit(b)
		for _, w := range b.take() {
			w.finish(err == nil, wrapPut(w.id, err))
		}
	}
	for _, w := range group {
		if closed {
			w.finish(false, fmt.Errorf("cache: %w", weir.ErrClosed))
			continue
		}
		if lost {
			w.finish(false, wrapPut(w.id, c.lostError()))
			continue
		}
		if b.has(w.id, w.hash) {
			land() // then it is held, or there is a row to share
		}
		if c.Has(w.id) {
			w.finish(false, nil)
			continue
		}
		if w.hash != nil {
			if held, fresh := c.link(w.id, w.hash, w.n, w.blocks); held {
				w.finish(fresh, nil)
				continue
			}
		}
		w.to = c.classOf(w.id)
		if b.fits(c.active[w.to], w.n) {
			b.add(w, c.active[w.to])
			continue
		}
		// Room is made with nothing on its way: it drops, moves and closes.
		land()
		g, err := c.room(w.to, w.n, true)
		if err != nil {
			w.finish(false, wrapPut(w.id, err))
			continue
		}
		b.add(w, g)
	}
	land()
}

func wrapPut(id weir.PieceID, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("put %s: %w", id, err)
}

// classOf returns the class of a piece that is put. The caller has the turn.
func (c *Cache) classOf(id weir.PieceID) class {
	switch {
	case c.pinned(id):
		return kept
	case c.ghost.take(id, c.pieces()):
		return mainRow
	}
	return probation
}

func (c *Cache) pieces() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.held
}
