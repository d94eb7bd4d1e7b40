package engine

import (
	"sync"
	"time"

	"github.com/weirfs/weir/engine/internal/discover/pex"
	"github.com/weirfs/weir/engine/internal/wire"
)

// event is one thing that the owner of a swarm has to know: a message from a
// peer, or something to do.
type event struct {
	fn   func() // if set, nothing else is
	peer *peer
	msg  wire.Message
	pex  *pex.Message // of a message of BEP 11
	at   time.Time
}

// bytes estimates the memory that an event takes.
func (e *event) bytes() int {
	const fixed = 512
	return fixed + e.msg.Bytes
}

// mailbox carries events to the owner of a swarm. Posting never waits, except
// for peers when the owner lags far behind.
type mailbox struct {
	wake chan struct{} // holds a token when there is something to take

	mu     sync.Mutex
	room   sync.Cond // signalled when queue was taken
	queue  []event
	bytes  int    // of what peers have posted to queue
	taken  uint64 // how often queue was
	users  int    // who keeps the owner from going away
	closed bool
}

// Bounds on what peers have posted and the owner has not taken. A peer that waits
// is not read from.
const (
	mailboxBytes = 16 << 20  // of all together
	postedBytes  = 512 << 10 // of each, but for a single message that is longer
)

// posted is what a peer has in the mailbox; guarded by its lock.
type posted struct {
	bytes int
	taken uint64 // mailbox.taken when bytes was right
}

func newMailbox() *mailbox {
	m := &mailbox{wake: make(chan struct{}, 1)}
	m.room.L = &m.mu
	return m
}

// post reports false when the owner is gone.
func (m *mailbox) post(e event) bool {
	m.mu.Lock()
	for e.peer != nil && !m.closed && !m.fits(&e) {
		m.room.Wait()
	}
	if m.closed {
		m.mu.Unlock()
		return false
	}
	if e.peer != nil {
		e.peer.posted.bytes += e.bytes()
		m.bytes += e.bytes()
	}
	m.queue = append(m.queue, e)
	first := len(m.queue) == 1
	m.mu.Unlock()
	if first {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// fits reports whether a peer's event may be posted now; mu is held.
func (m *mailbox) fits(e *event) bool {
	p := &e.peer.posted
	if p.taken != m.taken {
		p.bytes, p.taken = 0, m.taken
	}
	n := e.bytes()
	return (p.bytes == 0 || p.bytes+n <= postedBytes) && (m.bytes == 0 || m.bytes+n <= mailboxBytes)
}

// take returns what was posted, in order. spare is reused for what comes next.
func (m *mailbox) take(spare []event) []event {
	m.mu.Lock()
	q := m.queue
	m.queue = spare[:0]
	m.bytes = 0
	m.taken++
	m.room.Broadcast()
	m.mu.Unlock()
	return q
}

// uses returns how many rely on the owner.
func (m *mailbox) uses() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.users
}

// use counts who relies on the owner to be there. It reports false, and counts
// nothing, when it is gone.
func (m *mailbox) use(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.users += n
	return true
}

// closeIfEmpty closes the box unless there is something in it or somebody
// relies on it.
func (m *mailbox) closeIfEmpty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) > 0 || m.users > 0 || m.closed {
		return false
	}
	m.closed = true
	m.room.Broadcast()
	return true
}

// close makes every later post fail and returns what was never taken.
func (m *mailbox) close() []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	q := m.queue
	m.queue = nil
	m.room.Broadcast()
	return q
}
