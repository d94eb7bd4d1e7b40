package link

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir/engine/internal/discover/pex"
	"github.com/weirfs/weir/engine/internal/wire"
)

// Event is one thing that an owner has to know: a message that came over a link, that
// a link has failed, or something to do.
type Event struct {
	Do      func() // if set, nothing else is
	Link    *Link
	Err     error // why the link has failed; there is no message then
	Message wire.Message
	Pex     *pex.Message // of a message of BEP 11
	At      time.Time
}

// message reports whether the event is a message.
func (e *Event) message() bool { return e.Link != nil && e.Err == nil }

// Free gives back the block of an event that is not handled.
func (e *Event) Free() {
	if e.Message.Data != nil {
		e.Message.Data.Free()
	}
}

// bytes estimates the memory that an event takes.
func (e *Event) bytes() int {
	const fixed = 512
	return fixed + e.Message.Bytes
}

// Inbox carries events from links, and functions from anybody, to one goroutine: the
// owner. Posting never waits, except for links when the owner lags far behind.
type Inbox struct {
	wake chan struct{} // holds a token when there is something to Take

	mu     sync.Mutex
	room   sync.Cond // signalled when queue was taken
	queue  []Event
	bytes  int    // of what peers have posted to queue
	taken  uint64 // how often queue was
	users  int    // who keeps the owner from going away
	closed bool
}

// Bounds on what peers have posted and the owner has not taken. A peer that waits
// is not read from.
const (
	inboxBytes  = 16 << 20  // of all together
	postedBytes = 512 << 10 // of each, but for a single message that is longer
)

// posted is what a link has in the Inbox; guarded by its lock.
type posted struct {
	bytes int
	taken uint64 // Inbox.taken when bytes was right
}

// NewInbox returns an empty one.
func NewInbox() *Inbox {
	b := &Inbox{wake: make(chan struct{}, 1)}
	b.room.L = &b.mu
	return b
}

// Wake receives when there is something to Take.
func (b *Inbox) Wake() <-chan struct{} { return b.wake }

// Do has the owner run fn. It reports false when the owner is gone.
func (b *Inbox) Do(fn func()) bool { return b.post(Event{Do: fn}) }

// DoAndWait has the owner run fn and waits for it. It reports false if the owner went
// away before, or ctx ended, and then fn does not run.
func (b *Inbox) DoAndWait(ctx context.Context, fn func()) bool {
	var claimed atomic.Bool
	ran := make(chan struct{})
	posted := b.Do(func() {
		if claimed.CompareAndSwap(false, true) {
			fn()
			close(ran)
		}
	})
	if !posted {
		return false
	}
	select {
	case <-ran:
		return true
	case <-ctx.Done():
		if claimed.CompareAndSwap(false, true) {
			return false
		}
		<-ran
		return true
	}
}

// post reports false when the owner is gone.
func (b *Inbox) post(e Event) bool {
	b.mu.Lock()
	for e.message() && !b.closed && !b.fits(&e) {
		b.room.Wait()
	}
	if b.closed {
		b.mu.Unlock()
		return false
	}
	if e.message() {
		e.Link.posted.bytes += e.bytes()
		b.bytes += e.bytes()
	}
	b.queue = append(b.queue, e)
	first := len(b.queue) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// fits reports whether a message may be posted now; mu is held.
func (b *Inbox) fits(e *Event) bool {
	p := &e.Link.posted
	if p.taken != b.taken {
		p.bytes, p.taken = 0, b.taken
	}
	n := e.bytes()
	return (p.bytes == 0 || p.bytes+n <= postedBytes) && (b.bytes == 0 || b.bytes+n <= inboxBytes)
}

// Take returns what was posted, in order. spare is reused for what comes next.
func (b *Inbox) Take(spare []Event) []Event {
	b.mu.Lock()
	q := b.queue
	b.queue = spare[:0]
	b.bytes = 0
	b.taken++
	b.room.Broadcast()
	b.mu.Unlock()
	return q
}

// Uses returns how many rely on the owner.
func (b *Inbox) Uses() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.users
}

// Use counts who relies on the owner to be there. It reports false, and counts
// nothing, when it is gone.
func (b *Inbox) Use(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.users += n
	return true
}

// CloseIfEmpty closes the inbox unless there is something in it or somebody
// relies on it.
func (b *Inbox) CloseIfEmpty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) > 0 || b.users > 0 || b.closed {
		return false
	}
	b.closed = true
	b.room.Broadcast()
	return true
}

// Close makes every later post fail and returns what was never taken.
func (b *Inbox) Close() []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	q := b.queue
	b.queue = nil
	b.room.Broadcast()
	return q
}
