package kernel

import (
	"context"
	"slices"
	"sync"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
	"github.com/weirfs/weir/fs/internal/process"
)

// Waiting is a request that waits.
type Waiting struct {
	Node   node.ID     // of the request; for a name, the folder's
	Handle node.Handle // the open file that is read, 0 for other requests
	Range  weir.Range  // of its bytes
	TID    uint32      // of the thread that asked, 0 if unknown
	Since  time.Time
}

// waits holds the waiting requests by their id, which an interrupt names.
type waits struct {
	mu     sync.Mutex
	byID   map[fuse.RequestID]*wait
	closed bool
	wg     sync.WaitGroup
	begun  chan struct{} // capacity 1: a wait was added
}

type wait struct {
	Waiting
	cancel context.CancelCauseFunc
}

func newWaits() waits {
	return waits{byID: make(map[fuse.RequestID]*wait), begun: make(chan struct{}, 1)}
}

// add returns false when everything is shutting down.
func (ws *waits) add(id fuse.RequestID, w *wait) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return false
	}
	ws.wg.Add(1)
	ws.byID[id] = w
	wake(ws.begun)
	return true
}

func (ws *waits) done(id fuse.RequestID) {
	ws.mu.Lock()
	delete(ws.byID, id)
	ws.mu.Unlock()
	ws.wg.Done()
}

// interrupt ends a wait, unless its thread was only interrupted in passing. It returns false
// if there is no wait with this id.
func (ws *waits) interrupt(id fuse.RequestID) bool {
	ws.mu.Lock()
	w := ws.byID[id]
	ws.mu.Unlock()
	if w == nil {
		return false
	}
	if w.TID == 0 || !process.InterruptedInPassing(w.TID) {
		w.cancel(context.Canceled)
	}
	return true
}

// cancel ends the waits that match.
func (ws *waits) cancel(match func(Waiting) bool, cause error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.byID {
		if match(w.Waiting) {
			w.cancel(cause)
		}
	}
}

// close refuses further waits, ends all and returns when they are answered.
func (ws *waits) close() {
	ws.mu.Lock()
	ws.closed = true
	ws.mu.Unlock()
	ws.cancel(func(Waiting) bool { return true }, weir.ErrClosed)
	ws.wg.Wait()
}

// before returns the waits that began before at, sorted by thread, and the number of all.
func (ws *waits) before(at time.Time) (old []*wait, all int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.byID {
		if w.Since.Before(at) {
			old = append(old, w)
		}
	}
	slices.SortFunc(old, func(a, b *wait) int { return int(a.TID) - int(b.TID) })
	return old, len(ws.byID)
}

// Waiting returns the requests that wait now.
func (s *Server) Waiting() []Waiting {
	s.waits.mu.Lock()
	defer s.waits.mu.Unlock()
	all := make([]Waiting, 0, len(s.waits.byID))
	for _, w := range s.waits.byID {
		all = append(all, w.Waiting)
	}
	return all
}

// Cancel ends the waits that match, with a cause. A wait that begins meanwhile must check for
// the cause itself.
func (s *Server) Cancel(match func(Waiting) bool, cause error) { s.waits.cancel(match, cause) }

// later runs fn, which answers the request, on a goroutine of its own. Its context ends when
// the request is interrupted or canceled, and at the deadline. The error says that waits are
// refused.
func (s *Server) later(h *fuse.Header, w Waiting, fn func(ctx context.Context)) error {
	ctx, cancel := context.WithCancelCause(s.base)
	w.Node, w.TID, w.Since = node.ID(h.Node), h.Pid, time.Now()
	id := h.ID // bazil reuses h once the request is answered
	if !s.waits.add(id, &wait{w, cancel}) {
		cancel(weir.ErrClosed)
		return weir.ErrClosed
	}
	go func() {
		defer s.waits.done(id)
		defer cancel(nil)
		ctx, stop := context.WithTimeout(ctx, s.deadline)
		defer stop()
		fn(ctx)
	}()
	return nil
}

// reason returns why an operation failed: the cause of its context, if err is the context's
// error.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil && Errno(err) == Errno(ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
