package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
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
}

func newReads(s *swarm) reads { return reads{s: s, waiting: map[int][]*waiter{}} }

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
	for round := 0; len(left) > 0; round++ {
		if err := r.wait(ctx, left, round > 0); err != nil {
			return err
		}
		still := left[:0]
		for _, i := range left {
			part, off := partOf(info, i, miss.Range, p)
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
	pieces []int
	pick   *picker.Picker // set with want
	want   *picker.Want
	left   int // pieces
	since  time.Time
	done   chan struct{}
	err    error // why it ends without the pieces; set before done is closed
}

// wait returns nil once every one of the pieces was verified; they may have left
// memory again by the time the caller looks. With gone, the caller has found them
// neither in memory nor in the Store after they should have been there.
func (r *reads) wait(ctx context.Context, pieces []int, gone bool) error {
	s := r.s
	w := &waiter{pieces: slices.Clone(pieces), done: make(chan struct{}), since: time.Now()}
	if !s.do(func() { r.enter(w, gone) }) {
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

func (r *reads) enter(w *waiter, gone bool) {
	s := r.s
	s.lastUse = time.Now()
	s.gotMeta()
	if s.pick == nil { // the Store has lost the metadata since the caller saw it
		w.err = errUnlearned
		close(w.done)
		return
	}
	spans := spansOf(w.pieces)
	s.pieces.adopt(spans)
	w.pick, w.want = s.pick, s.pick.NewWant(weir.Blocked)
	for _, i := range w.pieces {
		s.hashes.need(i) // beside the blocks, a round trip earlier than after them
		if gone {
			s.pieces.evicted(i)
		}
		if !s.pick.Held(i) {
			w.left++
			r.waiting[i] = append(r.waiting[i], w)
		}
	}
	s.pick.Set(w.want, spans)
	if w.left == 0 {
		s.pick.Close(w.want)
		close(w.done)
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
		if len(list) == 0 {
			delete(r.waiting, i)
		} else {
			r.waiting[i] = list
		}
	}
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
		if w.left--; w.left == 0 {
			w.pick.Close(w.want)
			close(w.done)
		}
	}
	delete(r.waiting, index)
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
