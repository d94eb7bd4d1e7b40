package fs

import (
	"context"
	"slices"
	"sync"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

// waits holds the requests that wait for something, by the id under which an
// interrupt names them.
type waits struct {
	mu     sync.Mutex
	byID   map[fuse.RequestID]*wait
	closed bool
	wg     sync.WaitGroup
	begun  chan struct{} // capacity 1: a wait was added
}

// wait is one request that somebody waits for.
type wait struct {
	about
	pid    uint32 // of the thread that asked, 0 if unknown
	since  time.Time
	cancel context.CancelCauseFunc
}

// about says what is waited for; all of it may be missing.
type about struct {
	t  *torrent
	h  *handle    // the open file that is read
	in weir.Range // of its bytes
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
	select {
	case ws.begun <- struct{}{}:
	default:
	}
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
	if w.pid == 0 || !interruptedInPassing(w.pid) {
		w.cancel(context.Canceled)
	}
	return true
}

// cancelTorrent ends all waits for t.
func (ws *waits) cancelTorrent(t *torrent, cause error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.byID {
		if w.t == t {
			w.cancel(cause)
		}
	}
}

// cancelAll ends all waits that are there now.
func (ws *waits) cancelAll(cause error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.byID {
		w.cancel(cause)
	}
}

// close lets nobody wait any more, ends the waits and returns when they are
// answered.
func (ws *waits) close() {
	ws.mu.Lock()
	ws.closed = true
	ws.mu.Unlock()
	ws.cancelAll(weir.ErrClosed)
	ws.wg.Wait()
}

// before returns the waits that began before at.
func (ws *waits) before(at time.Time) (old []*wait, left int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.byID {
		if w.since.Before(at) {
			old = append(old, w)
		}
	}
	slices.SortFunc(old, func(a, b *wait) int { return int(a.pid) - int(b.pid) })
	return old, len(ws.byID)
}

// all returns the waits that there are now.
func (ws *waits) all() []*wait {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	all := make([]*wait, 0, len(ws.byID))
	for _, w := range ws.byID {
		all = append(all, w)
	}
	return all
}

// later runs fn on a goroutine of its own, under a context that ends when the
// request is interrupted, when the torrent is removed, and at the read deadline.
// fn answers the request. The error says that nobody may wait any more.
func (f *FS) later(h *fuse.Header, what about, fn func(ctx context.Context)) error {
	ctx, cancel := context.WithCancelCause(f.base)
	w := &wait{about: what, pid: h.Pid, since: time.Now(), cancel: cancel}
	id := h.ID // h is bazil's again once the request is answered
	if !f.waits.add(id, w) {
		cancel(weir.ErrClosed)
		return weir.ErrClosed
	}
	// Remove marks the torrent first and looks for its waits then, so one of the
	// two sees the other.
	if what.t != nil && what.t.removed.Load() {
		cancel(weir.ErrRemoved)
	}
	go func() {
		defer f.waits.done(id)
		defer cancel(nil)
		ctx, stop := context.WithTimeout(ctx, f.deadline)
		defer stop()
		fn(ctx)
	}()
	return nil
}

// reason returns why an operation failed: what ended its context, if that is
// what it complains about.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil && toErrno(err) == toErrno(ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
