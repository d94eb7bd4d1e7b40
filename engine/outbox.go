package engine

import (
	"slices"
	"sync"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/wire"
)

// Bounds on what waits to be written to one peer. Answers are kept as what was
// asked, and made when they are written.
const (
	// mostUploads is how many blocks of a peer's we queue; it is told in the
	// extension handshake (BEP 10 reqq).
	mostUploads = 512
	// mostHashAsks is how many of its requests for hashes we queue: some programs
	// ask for those of all files at once.
	mostHashAsks = 1024
	// mostRefusals is the bytes of refusals beyond which we read nothing from a peer
	// until it has taken some.
	mostRefusals = 64 << 10
	// mostControl is the bytes of our own messages (haves, mostly) that a peer may
	// leave waiting before it is dropped.
	mostControl = 4 << 20
)

// upload is one block that a peer asked for.
type upload struct{ index, begin, length int }

// answer is one thing that a peer asked for: a block unless it says otherwise.
type answer struct {
	upload
	metadata bool              // piece index of the info dictionary
	id       int               // the peer's number for ut_metadata
	hashes   *wire.HashMessage // nil if it is none
}

func (a answer) block() bool { return !a.metadata && a.hashes == nil }

// same reports whether two answers are to the same request.
func (a answer) same(b answer) bool {
	if a.hashes == nil || b.hashes == nil {
		return a == b
	}
	return *a.hashes == *b.hashes
}

// outbox is what is to be written to one peer: control messages first, then what
// it asked for, in its order. The owner fills it, the peer's writer empties it.
type outbox struct {
	wake chan struct{} // holds a token when flush found something
	done chan struct{} // closed with the box

	mu       sync.Mutex
	buf      []byte // encoded control messages
	refusals int    // bytes of them that refuse what the peer asked for
	room     sync.Cond
	answers  []answer
	blocks   int // of the answers
	metadata map[int]struct{}
	hashes   map[wire.HashMessage]struct{}
	parked   bool // the writer waits for its turn under the upload limit
	closed   bool
}

func newOutbox() *outbox {
	o := &outbox{
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		metadata: map[int]struct{}{}, hashes: map[wire.HashMessage]struct{}{},
	}
	o.room.L = &o.mu
	return o
}

// control appends a message with encode.
func (o *outbox) control(encode func([]byte) []byte) {
	o.mu.Lock()
	o.buf = encode(o.buf)
	o.mu.Unlock()
}

func (o *outbox) bare(t pp.MessageType) {
	o.control(func(b []byte) []byte { return wire.AppendBare(b, t) })
}

// refuse is control for a message that refuses what the peer asked for.
func (o *outbox) refuse(encode func([]byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.buf)
	o.buf = encode(o.buf)
	o.refusals += len(o.buf) - before
}

// reject refuses a request for a block (BEP 6).
func (o *outbox) reject(u upload) {
	o.refuse(func(b []byte) []byte { return wire.AppendRequest(b, pp.Reject, u.index, u.begin, u.length) })
}

// waitRoom waits until the peer has taken refusals of ours, or the box is closed.
func (o *outbox) waitRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.refusals > mostRefusals && !o.closed {
		o.room.Wait()
	}
}

// push queues an answer. It reports false when there are too many, or when a piece
// of metadata or hashes wait already.
func (o *outbox) push(a answer) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case a.block():
		if o.blocks >= mostUploads {
			return false
		}
		o.blocks++
	case a.metadata:
		if _, waits := o.metadata[a.index]; waits {
			return false
		}
		o.metadata[a.index] = struct{}{}
	default:
		if _, waits := o.hashes[*a.hashes]; waits || len(o.hashes) >= mostHashAsks {
			return false
		}
		o.hashes[*a.hashes] = struct{}{}
	}
	o.answers = append(o.answers, a)
	return true
}

// remove takes answer i out; mu is held.
func (o *outbox) remove(i int) {
	switch a := o.answers[i]; {
	case a.block():
		o.blocks--
	case a.metadata:
		delete(o.metadata, a.index)
	default:
		delete(o.hashes, *a.hashes)
	}
	if i == 0 {
		o.answers[0] = answer{}
		o.answers = o.answers[1:]
		return
	}
	o.answers = slices.Delete(o.answers, i, i+1)
}

// cancel takes a block out of the queue. With BEP 6 it is answered by a reject,
// unless the block is already being sent.
func (o *outbox) cancel(u upload, fast bool) {
	o.mu.Lock()
	i := slices.Index(o.answers, answer{upload: u})
	if i >= 0 {
		o.remove(i)
	}
	o.mu.Unlock()
	if i >= 0 && fast {
		o.reject(u)
	}
}

// choke drops the blocks from the queue and says so.
func (o *outbox) choke(fast bool) {
	var dropped []upload
	o.mu.Lock()
	o.answers = slices.DeleteFunc(o.answers, func(a answer) bool {
		if a.block() {
			dropped = append(dropped, a.upload)
		}
		return a.block()
	})
	o.blocks = 0
	o.mu.Unlock()
	o.bare(pp.Choke)
	if fast {
		for _, u := range dropped {
			o.reject(u)
		}
	}
}

// flush wakes the writer if there is something to write. It reports false if more
// waits than may, because the peer takes nothing.
func (o *outbox) flush() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.buf) == 0 && (len(o.answers) == 0 || o.parked) {
		return true
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return len(o.buf) <= mostControl
}

// emptied reports whether the peer has taken all control messages.
func (o *outbox) emptied() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) == 0
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.done)
		o.room.Broadcast()
	}
}

// next returns what to write next: control messages in buf, or an answer, which
// stays in the box until it is taken. It reports false when there is nothing.
func (o *outbox) next(spare []byte) (buf []byte, a answer, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parked = false
	switch {
	case o.closed:
		return nil, a, false
	case len(o.buf) > 0:
		buf, o.buf, o.refusals = o.buf, spare[:0], 0
		o.room.Broadcast()
		return buf, a, true
	case len(o.answers) > 0:
		return nil, o.answers[0], true
	}
	return nil, a, false
}

// take removes an answer that is next. It reports false if it is not any more.
func (o *outbox) take(a answer) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.answers) == 0 || !o.answers[0].same(a) {
		return false
	}
	o.remove(0)
	return true
}

// park says that the writer waits for its turn: answers alone don't wake it.
func (o *outbox) park() {
	o.mu.Lock()
	o.parked = true
	o.mu.Unlock()
}
