package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/verify"
)

// Fetch fills the parts of p, which is as long as the range of miss, that lie in the
// missing pieces; it waits for them where memory does not have them. It returns nil or
// an error, and then p's content is unspecified: ctx's error when ctx ends,
// weir.ErrRemoved or weir.ErrClosed.
func (t *Torrent) Fetch(ctx context.Context, miss *weir.Miss, p []byte) error {
	for {
		if ctx.Err() != nil { // swarms may come and go for longer than that
			return ctx.Err()
		}
		info, err := t.WaitInfo(ctx)
		if err != nil {
			return err
		}
		sw, err := t.warm()
		if err != nil {
			return err
		}
		err = sw.reads.awaitStore(ctx)
		if err == nil {
			err = sw.reads.fetch(ctx, info, miss, p)
		}
		if !errors.Is(err, errCooled) && !errors.Is(err, errUnlearned) {
			return err
		}
	}
}

// reads are those that wait for pieces. What waits is the owner's; fetch and wait are
// called by who reads.
type reads struct {
	s       *swarm
	waiting map[int][]*waiter // by piece
	blocks  blocks
}

func newReads(s *swarm) reads { return reads{s: s, waiting: map[int][]*waiter{}, blocks: blocks{s: s}} }

// any reports whether a read waits.
func (r *reads) any() bool { return len(r.waiting) > 0 }

// longest returns how many reads wait for how many pieces in all, how long the one that
// has waited longest has, and a piece that it lacks; -1 when none waits.
func (r *reads) longest(now time.Time) (n int, waited time.Duration, piece int) {
	piece = -1
	for index, list := range r.waiting {
		for _, w := range list {
			n++
			if d := now.Sub(w.since); piece < 0 || d > waited {
				waited, piece = d, index
			}
		}
	}
	return n, waited, piece
}

// fetch is Torrent.Fetch with this swarm, which stays warm meanwhile, however long the Store
// takes. The Store was asked before, and is asked again only for pieces that may have
// got there since.
func (r *reads) fetch(ctx context.Context, info *weir.TorrentInfo, miss *weir.Miss, p []byte) error {
	s := r.s
	if !s.use(1) {
		return errCooled
	}
	defer s.use(-1)
	left := make([]int, 0, len(miss.Pieces))
	for _, i := range miss.Pieces {
		if part, off := partOf(info, i, miss.Range, p); !s.pieces.held.ReadMemory(i, part, off) {
			left = append(left, i)
		}
	}
	var hashes *verify.Hashes
	if miss.Sparse && len(left) > 0 {
		hashes = s.t.meta.V2Hashes()
	}
	for round := 0; len(left) > 0; round++ {
		w := &waiter{read: miss.Range, pieces: slices.Clone(left), gone: round > 0, since: time.Now(), done: make(chan struct{})}
		if !w.gone {
			w.hashes = hashes
		}
		if err := r.wait(ctx, w); err != nil {
			return err
		}
		still := left[:0]
		for _, i := range left {
			part, off := partOf(info, i, miss.Range, p)
			if b := w.parts[i]; b != nil {
				copy(part, b)
				continue
			}
			ok, err := s.pieces.held.ReadAt(i, part, off)
			if err != nil {
				return err
			}
			if !ok {
				still = append(still, i)
			}
		}
		left = still
	}
	return nil
}

// awaitStore waits until the Store answers. The swarm stays warm meanwhile.
func (r *reads) awaitStore(ctx context.Context) error {
	s := r.s
	if s.eng.storeReady() {
		return nil
	}
	if !s.use(1) {
		return errCooled
	}
	defer s.use(-1)
	select {
	case <-s.eng.opts.StoreReady:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.t.done.Done():
		return context.Cause(s.t.done)
	}
}

// waiter is a read that waits for pieces.
type waiter struct {
	read   weir.Range
	pieces []int
	gone   bool           // they were neither in memory nor in the Store after they should have been there
	hashes *verify.Hashes // set if blocks may be enough
	since  time.Time

	pick   *picker.Picker // set with want
	want   *picker.Want
	left   int                    // pieces
	blocks map[int][]picker.Block // by piece, if they are enough
	parts  map[int][]byte         // by piece, what was read of these; to be used once done is closed
	done   chan struct{}
	err    error // why it ends without the pieces; set before done is closed
}

// wait returns nil once every one of the pieces was verified, or the blocks of it that are
// enough; pieces may have left memory again by the time the caller looks.
func (r *reads) wait(ctx context.Context, w *waiter) error {
	s := r.s
	if !s.do(func() { r.enter(w) }) {
		return errCooled
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		s.do(func() {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				s.stats.missed()
			}
			r.leave(w)
		})
		return ctx.Err()
	case <-s.ended:
		if s.t.done.Err() != nil {
			return context.Cause(s.t.done)
		}
		return errCooled
	}
}

func (r *reads) enter(w *waiter) {
	s := r.s
	s.lastUse = time.Now()
	s.gotMeta()
	if s.pick == nil { // the Store has lost the metadata since the caller saw it
		w.err = errUnlearned
		close(w.done)
		return
	}
	s.pieces.adopt(spansOf(w.pieces))
	w.pick, w.want = s.pick, s.pick.NewWant(weir.Blocked)
	w.blocks, w.parts = map[int][]picker.Block{}, map[int][]byte{}
	var whole []int
	var single []picker.Block
	for _, i := range w.pieces {
		s.hashes.need(i) // beside the blocks, a round trip earlier than after them
		if w.gone {
			s.pieces.evicted(i)
		}
		if b := r.blocks.of(i, w.read, w.hashes); b != nil {
			w.blocks[i] = b
			single = append(single, b...)
		} else {
			whole = append(whole, i)
		}
		if !s.pick.Held(i) {
			w.left++
			r.waiting[i] = append(r.waiting[i], w)
		}
	}
	s.pick.Set(w.want, spansOf(whole))
	s.pick.Blocks.Set(w.want, single)
	if w.left == 0 {
		s.pick.Close(w.want)
		close(w.done)
		return
	}
	for i := range w.blocks {
		r.blocks.verifyAll(w.since, i)
		r.releaseBlocks(i)
	}
}

// spansOf joins neighbours among pieces, which are in order.
func spansOf(pieces []int) (spans []picker.Span) {
	for _, i := range pieces {
		if n := len(spans); n > 0 && spans[n-1].End == i {
			spans[n-1].End++
		} else {
			spans = append(spans, picker.Span{First: i, End: i + 1})
		}
	}
	return spans
}

func (r *reads) leave(w *waiter) {
	select {
	case <-w.done:
		return
	default:
	}
	w.pick.Close(w.want)
	for _, i := range w.pieces {
		list := slices.DeleteFunc(r.waiting[i], func(o *waiter) bool { return o == w })
		r.setWaiting(i, list)
	}
}

// setWaiting replaces the list of those that wait for a piece.
func (r *reads) setWaiting(index int, list []*waiter) {
	if len(list) > 0 {
		r.waiting[index] = list
		return
	}
	delete(r.waiting, index)
	r.blocks.forget(index)
}

// fail ends the reads that wait for a piece.
func (r *reads) fail(index int, err error) {
	for _, w := range slices.Clone(r.waiting[index]) {
		r.leave(w)
		w.err = err
		close(w.done)
	}
}

// release wakes the reads that wait for a piece.
func (r *reads) release(index int) {
	for _, w := range r.waiting[index] {
		w.got()
	}
	r.setWaiting(index, nil)
}

// releaseBlocks wakes the reads that wait for blocks of a piece and have them.
func (r *reads) releaseBlocks(index int) {
	if len(r.waiting[index]) == 0 {
		return
	}
	var rest []*waiter
	for _, w := range r.waiting[index] {
		if list := w.blocks[index]; list != nil {
			w.parts[index] = r.blocks.read(list, index, w.read)
		}
		if w.parts[index] == nil {
			rest = append(rest, w)
		} else {
			w.got()
		}
	}
	r.setWaiting(index, rest)
}

// got says that one of its pieces is here, or what is enough of it.
func (w *waiter) got() {
	if w.left--; w.left == 0 {
		w.pick.Close(w.want)
		close(w.done)
	}
}

// partOf returns the part of p, which has range r, that lies in a piece, and where in
// the piece it begins. It is empty where the piece is padding.
func partOf(info *weir.TorrentInfo, index int, r weir.Range, p []byte) (part []byte, off int64) {
	pr := info.PieceRange(index)
	in := r.Intersect(pr)
	if in.Empty() {
		return nil, 0
	}
	return p[in.Off-r.Off : in.End-r.Off], in.Off - pr.Off
}
