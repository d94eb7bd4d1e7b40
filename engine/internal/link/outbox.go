package link

import (
	"slices"
	"sync"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/metadata"
	"github.com/weirfs/weir/engine/internal/wire"
)

// Bounds on what waits to be written to one peer. Requests wait as they came,
// and their answers are made when they are written.
const (
	// MostBlocks is how many requests of a peer for blocks we queue; it is told in the
	// extension handshake (BEP 10 reqq).
	MostBlocks = 512
	// mostHashRequests is how many of them for hashes we queue: some programs
	// ask for those of all files at once.
	mostHashRequests = 1024
	// mostRefusalBytes is the bytes of refusals beyond which we read nothing from a peer
	// until it has taken some.
	mostRefusalBytes = 64 << 10
	// mostControlBytes is the bytes of our own messages (haves, mostly) that a peer may
	// leave waiting before it is dropped.
	mostControlBytes = 4 << 20
)

// Block is a stretch of a piece that a peer asked for.
type Block struct{ Index, Begin, Length int }

// Request is one thing that a peer asked for: a block unless it says otherwise.
type Request struct {
	Block
	Metadata bool              // piece Index of the info dictionary
	ID       int               // the peer's number for ut_metadata
	Hashes   *wire.HashMessage // nil if it is none
}

func (r Request) block() bool { return !r.Metadata && r.Hashes == nil }

// uploadBytes is what the answer counts under the upload limit.
func (r Request) uploadBytes() int {
	switch {
	case r.Hashes != nil:
		return min(max(r.Hashes.Length, 0), wire.MaxHashes) * 32
	case r.Metadata:
		return metadata.PieceBytes
	}
	return r.Length
}

// same reports whether two requests ask for the same.
func (r Request) same(o Request) bool {
	if r.Hashes == nil || o.Hashes == nil {
		return r == o
	}
	return *r.Hashes == *o.Hashes
}

// outbox is what is to be written to one peer: control messages first, then what
// it asked for, in its order. The owner fills it, the peer's writer empties it.
type outbox struct {
	fast bool          // the peer speaks BEP 6
	wake chan struct{} // holds a token when Flush found something
	done chan struct{} // closed with the box

	mu       sync.Mutex
	buf      []byte // encoded control messages
	refusals int    // bytes of them that refuse what the peer asked for
	room     sync.Cond
	requests []Request
	blocks   int // of the requests
	metadata map[int]struct{}
	hashes   map[wire.HashMessage]struct{}
	parked   bool // the writer waits for its turn under the upload limit
	closed   bool
}

func newOutbox(fast bool) *outbox {
	o := &outbox{
		fast: fast,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		metadata: map[int]struct{}{}, hashes: map[wire.HashMessage]struct{}{},
	}
	o.room.L = &o.mu
	return o
}

// Send queues a message, which encode appends. Flush sees to it that it goes out.
func (o *outbox) Send(encode func([]byte) []byte) {
	o.mu.Lock()
	o.buf = encode(o.buf)
	o.mu.Unlock()
}

// SendBare queues a message that is nothing but its type.
func (o *outbox) SendBare(t pp.MessageType) {
	o.Send(func(b []byte) []byte { return wire.AppendBare(b, t) })
}

// Refuse is Send for a message that refuses what the peer asked for.
func (o *outbox) Refuse(encode func([]byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.buf)
	o.buf = encode(o.buf)
	o.refusals += len(o.buf) - before
}

// Reject refuses a request for a block (BEP 6).
func (o *outbox) Reject(b Block) {
	o.Refuse(func(buf []byte) []byte { return wire.AppendRequest(buf, pp.Reject, b.Index, b.Begin, b.Length) })
}

// waitRoom waits until the peer has taken refusals of ours, or the box is closed.
func (o *outbox) waitRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.refusals > mostRefusalBytes && !o.closed {
		o.room.Wait()
	}
}

// Queue queues a request. It reports false when there are too many, or when a piece
// of metadata or hashes wait already.
func (o *outbox) Queue(r Request) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case r.block():
		if o.blocks >= MostBlocks {
			return false
		}
		o.blocks++
	case r.Metadata:
		if _, waits := o.metadata[r.Index]; waits {
			return false
		}
		o.metadata[r.Index] = struct{}{}
	default:
		if _, waits := o.hashes[*r.Hashes]; waits || len(o.hashes) >= mostHashRequests {
			return false
		}
		o.hashes[*r.Hashes] = struct{}{}
	}
	o.requests = append(o.requests, r)
	return true
}

// remove takes request i out; mu is held.
func (o *outbox) remove(i int) {
	switch r := o.requests[i]; {
	case r.block():
		o.blocks--
	case r.Metadata:
		delete(o.metadata, r.Index)
	default:
		delete(o.hashes, *r.Hashes)
	}
	if i == 0 {
		o.requests[0] = Request{}
		o.requests = o.requests[1:]
		return
	}
	o.requests = slices.Delete(o.requests, i, i+1)
}

// Cancel takes a block out of the queue. With BEP 6 it is answered by a reject,
// unless the block is already being sent.
func (o *outbox) Cancel(b Block) {
	o.mu.Lock()
	i := slices.Index(o.requests, Request{Block: b})
	if i >= 0 {
		o.remove(i)
	}
	o.mu.Unlock()
	if i >= 0 && o.fast {
		o.Reject(b)
	}
}

// Choke drops the blocks from the queue and says so.
func (o *outbox) Choke() {
	var dropped []Block
	o.mu.Lock()
	o.requests = slices.DeleteFunc(o.requests, func(r Request) bool {
		if r.block() {
			dropped = append(dropped, r.Block)
		}
		return r.block()
	})
	o.blocks = 0
	o.mu.Unlock()
	o.SendBare(pp.Choke)
	if o.fast {
		for _, b := range dropped {
			o.Reject(b)
		}
	}
}

// Flush wakes the writer if there is something to write. It reports false if more
// waits than may, because the peer takes nothing.
func (o *outbox) Flush() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.buf) == 0 && (len(o.requests) == 0 || o.parked) {
		return true
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return len(o.buf) <= mostControlBytes
}

// Drained reports whether the peer has taken all control messages.
func (o *outbox) Drained() bool {
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

// next returns what to write next: control messages in buf, or a request to answer, which
// stays in the box until it is taken. It reports false when there is nothing.
func (o *outbox) next(spare []byte) (buf []byte, r Request, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parked = false
	switch {
	case o.closed:
		return nil, r, false
	case len(o.buf) > 0:
		buf, o.buf, o.refusals = o.buf, spare[:0], 0
		o.room.Broadcast()
		return buf, r, true
	case len(o.requests) > 0:
		return nil, o.requests[0], true
	}
	return nil, r, false
}

// take removes a request that is next. It reports false if it is not any more.
func (o *outbox) take(r Request) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.requests) == 0 || !o.requests[0].same(r) {
		return false
	}
	o.remove(0)
	return true
}

// park says that the writer waits for its turn: requests alone don't wake it.
func (o *outbox) park() {
	o.mu.Lock()
	o.parked = true
	o.mu.Unlock()
}
