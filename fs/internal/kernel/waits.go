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

// Waiting is a request that a program waits for.
type Waiting struct {
	Node   node.ID     // that it is about; for a name, the folder
	Handle node.Handle // the open file that is read, 0 for other requests
	Range  weir.Range  // of its bytes
	TID    uint32      // of the thread that asked, 0 if unknown
	Since  time.Time
}

// waits holds the requests that wait for something, by the id under which an
// interrupt names them.
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

// interrupt ends a wait unless its reader was interrupted in passing, and returns
// false if there is none with this id.
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

// close lets nobody wait any more, ends the waits and returns when they are
// answered.
func (ws *waits) close() {
	ws.mu.Lock()
	ws.closed = true
	ws.mu.Unlock()
	ws.cancel(func(Waiting) bool { return true }, weir.ErrClosed)
	ws.wg.Wait()
}

// before returns the waits that began before at, those of one thread together, and
// how many there are in all.
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

// Cancel ends the waits that match now, for a reason. A wait that the file system
// begins while that runs must look for the reason itself.
func (s *Server) Cancel(match func(Waiting) bool, cause error) { s.waits.cancel(match, cause) }

// later runs fn on a goroutine of its own, under a context that ends when the
// request is interrupted, when it is canceled, and at the deadline. fn answers the
// request. The error says that nobody may wait any more.
func (s *Server) later(h *fuse.Header, what Waiting, fn func(ctx context.Context)) error {
	ctx, cancel := context.WithCancelCause(s.base)
	what.Node, what.TID, what.Since = node.ID(h.Node), h.Pid, time.Now()
	id := h.ID // h is bazil's again once the request is answered
	if !s.waits.add(id, &wait{what, cancel}) {
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

// reason returns why an operation failed: what ended its context, if that is
// what it complains about.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil && Errno(err) == Errno(ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
