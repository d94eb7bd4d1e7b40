package cache

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/policy"
	"github.com/weirfs/weir/cache/internal/segment"
)

// Whoever gets the write token puts what waits by then, first come first served, up
// to this much in one write. A piece is never delayed to form a group.
const (
	groupPieces = 64
	groupBytes  = 2 << 20
)

// writer changes what is held: it puts, moves and drops. Whoever has the write token
// may use the rest.
type writer struct {
	*store
	pins    *pins
	folder  *folder
	root    string // of the segments
	minFree int64  // bytes of the disk
	protect func(most int64) func(id weir.PieceID) bool

	queue queue         // of pieces for whoever has the token
	token chan struct{} // holds one

	active  map[policy.Class]*volume
	sealing sync.Mutex // held while a segment is sealed, also in the background
	removal sync.Mutex // held while files are removed, also in the background
	ghost   *policy.Ghost
	nextSeq uint64
	credit  int64     // bytes freed while the disk was below its minimum, to be used again
	full    time.Time // when the disk was found full last
	moved   int64     // bytes moved because they were used
	group   group
	changes []change // for Changed, once the token is given back
}

// change is a piece that came or went.
type change struct {
	id   weir.PieceID
	held bool
}

// incoming is a piece on its way into the cache.
type incoming struct {
	segment.Row

	// What became of it, for whoever has the token; for others once done has told.
	done  chan struct{} // takes one
	over  bool
	fresh bool // it is held, and was not before
	err   error
}

// incomings are used again, with their buffers.
var incomings = sync.Pool{New: func() any { return &incoming{done: make(chan struct{}, 1)} }}

func (p *incoming) finish(fresh bool, err error) {
	p.fresh, p.err, p.over = fresh, err, true
	p.done <- struct{}{}
}

// queue holds the pieces that wait to be put, in the order in which they came.
type queue struct {
	mu      sync.Mutex
	waiting []*incoming
}

func (q *queue) add(p *incoming) {
	q.mu.Lock()
	q.waiting = append(q.waiting, p)
	q.mu.Unlock()
}

// next takes a group out, of at least one piece unless nothing waits.
func (q *queue) next(group []*incoming) []*incoming {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, sum := 0, int64(0)
	for n < min(len(q.waiting), groupPieces) {
		if sum += q.waiting[n].Bytes(); n > 0 && sum > groupBytes {
			break
		}
		n++
	}
	group = append(group[:0], q.waiting[:n]...)
	q.waiting = slices.Delete(q.waiting, 0, n)
	return group
}

// Put stores a whole, verified piece, given as consecutive slices; the caller
// may use them again afterwards. When it returns nil, View serves the piece. It
// is synchronous and waits for the disk when the disk is behind; small pieces that
// are put at the same time are written together. A piece that is held already is
// left as it is.
//
// The error wraps weir.ErrNoSpace when the piece fits neither into the budget nor
// on the disk (what is held can still be read, and a later Put may succeed),
// weir.ErrInvalid when there is no such piece, weir.ErrClosed after Close.
func (c *Cache) Put(id weir.PieceID, blocks [][]byte) error { return c.PutHashed(id, nil, blocks) }

// PutHashed is Put of a piece whose hash is known (see Adopt), so that it can be
// adopted under other names. When the same bytes are held already they are not
// written again. Without a hash it is Put.
func (c *Cache) PutHashed(id weir.PieceID, hash []byte, blocks [][]byte) error {
	var n int64
	for _, b := range blocks {
		n += int64(len(b))
	}
	switch {
	case !goodPiece(id, n):
		return weir.Errorf(weir.ErrInvalid, "put %s: no piece has %d bytes", id, n)
	case len(hash) > 0 && !segment.GoodHash(hash):
		return weir.Errorf(weir.ErrInvalid, "put %s: no hash has %d bytes", id, len(hash))
	}
	p := incomings.Get().(*incoming)
	p.over = false
	p.Set(id, hash, blocks, n) // in parallel with other puts
	w := &c.writer
	w.queue.add(p)
	select {
	case <-p.done: // the token of somebody else was enough for both
	case <-w.token:
		w.lead(p)
		<-p.done
	}
	fresh, err := p.fresh, p.err
	p.Forget()
	incomings.Put(p)
	if fresh {
		c.announce([]change{{id, true}})
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", id, err)
	}
	return nil
}

// goodPiece reports whether a piece of n bytes may have this name.
func goodPiece(id weir.PieceID, n int64) bool {
	return id.Index >= 0 && id.Index < segment.MaxPieces && n > 0 && n <= segment.MaxPieceBytes
}

// lead puts what waits, until p is among that. The caller has the token, which
// lead gives back.
func (w *writer) lead(p *incoming) {
	defer w.release()
	var some []*incoming
	for !p.over {
		if w.group.lastBatched {
			// Those who were in the last group are about to put their next piece, behind
			// this goroutine in the scheduler's queue: let them in.
			runtime.Gosched()
		}
		some = w.queue.next(some)
		w.group.lastBatched = len(some) > 1
		w.putGroup(some)
	}
}

// group is what is written to a segment in one go.
type group struct {
	in     *volume
	pieces []*incoming
	rows   []*segment.Row // of pieces
	bytes  int64          // that they take (see segment.Listed)

	lastBatched bool // the last write had several pieces
}

// has reports whether a piece of the name of p, or with its hash, is in it.
func (g *group) has(p *incoming) bool {
	return slices.ContainsFunc(g.pieces, func(q *incoming) bool {
		return q.ID() == p.ID() || len(p.Hash()) > 0 && bytes.Equal(q.Hash(), p.Hash())
	})
}

// putGroup puts pieces, as many together as lie side by side in one segment, and
// finishes each as soon as it is held.
func (w *writer) putGroup(pieces []*incoming) {
	err := w.mayWrite()
	for _, p := range pieces {
		if err != nil {
			p.finish(false, err)
			continue
		}
		if w.group.has(p) {
			w.commit() // then it is held, or there is a row to share
		}
		if w.held.has(p.ID()) {
			p.finish(false, nil)
		} else if held, fresh := w.link(p.ID(), p.Hash(), p.Bytes(), &p.Row); held {
			p.finish(fresh, nil)
		} else if v, err := w.roomFor(p); err != nil {
			p.finish(false, err)
		} else {
			w.group.in = v
			w.group.pieces = append(w.group.pieces, p)
			w.group.bytes += segment.Listed(p.Bytes())
		}
	}
	w.commit()
}

// roomFor returns the segment that a piece goes to, with what is in the group
// before it in mind.
func (w *writer) roomFor(p *incoming) (*volume, error) {
	to := w.classOf(p.ID())
	v := w.active[to]
	if v != nil && (w.group.in == v || w.group.in == nil) && v.Fits(p.Bytes(), w.group.bytes) {
		return v, nil
	}
	// Room is made with nothing on its way: it drops, moves and seals.
	w.commit()
	return w.room(to, p.Bytes(), true)
}

// classOf returns the class of a piece that is put.
func (w *writer) classOf(id weir.PieceID) policy.Class {
	w.held.mu.RLock()
	pieces := w.held.pieces
	w.held.mu.RUnlock()
	switch {
	case w.pins.has(id):
		return policy.Pinned
	case w.ghost.Take(id, pieces):
		return policy.Main
	}
	return policy.Probation
}

// commit writes the group and enters its pieces: all of them, or with an error none.
func (w *writer) commit() {
	g := &w.group
	if len(g.pieces) == 0 {
		return
	}
	g.rows = g.rows[:0]
	for _, p := range g.pieces {
		g.rows = append(g.rows, &p.Row)
	}
	err := w.append(g.in, 0, g.rows...)
	for _, p := range g.pieces {
		p.finish(err == nil, err)
	}
	clear(g.pieces)
	clear(g.rows)
	g.in, g.pieces, g.bytes = nil, g.pieces[:0], 0
}

// append writes rows to a segment that has room for them, and enters them.
func (w *writer) append(v *volume, uses uint8, rows ...*segment.Row) error {
	if err := v.Append(rows...); err != nil {
		w.retire(v.Class) // what is there of it is unknown
		return w.reportFull(err)
	}
	h := w.held
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range rows {
		h.clock.Add(uint64(r.Bytes()))
		h.set(segment.Name{ID: r.ID(), Off: r.Off, N: r.Bytes()}, v).heat.store(uses, h.now())
		if hash := r.Hash(); len(hash) > 0 {
			print := segment.NewPrint(hash, r.Off)
			v.prints = append(v.prints, print)
			h.filter.Add(print)
		}
	}
	return nil
}

// acquire waits until this goroutine may write.
func (w *writer) acquire() error {
	<-w.token
	err := w.mayWrite()
	if err != nil {
		w.token <- struct{}{}
	}
	return err
}

// mayWrite returns why nothing can be written, or nil.
func (w *writer) mayWrite() error {
	w.held.mu.RLock()
	closed := w.held.closed
	w.held.mu.RUnlock()
	if closed {
		return fmt.Errorf("cache: %w", weir.ErrClosed)
	}
	return w.folder.lost()
}

// release lets the next one write and then tells Changed what happened.
func (w *writer) release() {
	changes := w.changes
	w.changes = nil
	w.token <- struct{}{}
	w.announce(changes)
}
