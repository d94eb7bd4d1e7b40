package engine

import (
	"slices"
	"sync"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/wire"
)

// upload is one block that a peer asked for.
type upload struct{ index, begin, length int }

// mostUploads is how many requests of a peer we queue; it is told in the
// extension handshake (BEP 10 reqq).
const mostUploads = 512

// outbox is what is to be written to one peer: control messages first, then the
// blocks that it asked for, in its order. The owner fills it, the peer's writer
// empties it.
type outbox struct {
	wake chan struct{} // holds a token when flush found something
	done chan struct{} // closed with the box

	mu      sync.Mutex
	buf     []byte // encoded control messages
	uploads []upload
	parked  bool // the writer waits for its turn under the upload limit
	closed  bool
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1), done: make(chan struct{})} }

// control appends a message with encode.
func (o *outbox) control(encode func([]byte) []byte) {
	o.mu.Lock()
	o.buf = encode(o.buf)
	o.mu.Unlock()
}

func (o *outbox) bare(t pp.MessageType) {
	o.control(func(b []byte) []byte { return wire.AppendBare(b, t) })
}

// reject refuses a request (BEP 6).
func (o *outbox) reject(u upload) {
	o.control(func(b []byte) []byte { return wire.AppendRequest(b, pp.Reject, u.index, u.begin, u.length) })
}

// push queues a block. It reports false when there are too many.
func (o *outbox) push(u upload) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.uploads) >= mostUploads {
		return false
	}
	o.uploads = append(o.uploads, u)
	return true
}

// cancel takes a block out of the queue. With BEP 6 it is answered by a reject,
// unless the block is already being sent.
func (o *outbox) cancel(u upload, fast bool) {
	o.mu.Lock()
	i := slices.Index(o.uploads, u)
	if i >= 0 {
		o.uploads = slices.Delete(o.uploads, i, i+1)
	}
	o.mu.Unlock()
	if i >= 0 && fast {
		o.reject(u)
	}
}

// choke drops the queue and says so.
func (o *outbox) choke(fast bool) {
	o.mu.Lock()
	dropped := o.uploads
	o.uploads = nil
	o.mu.Unlock()
	o.bare(pp.Choke)
	if fast {
		for _, u := range dropped {
			o.reject(u)
		}
	}
}

// flush wakes the writer if there is something to write.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.buf) == 0 && (len(o.uploads) == 0 || o.parked) {
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.done)
	}
}

// next returns what to write next: control messages in buf, or a block, which
// stays in the box until it is taken. It reports false when there is nothing.
func (o *outbox) next(spare []byte) (buf []byte, u upload, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parked = false
	switch {
	case o.closed:
		return nil, u, false
	case len(o.buf) > 0:
		buf, o.buf = o.buf, spare[:0]
		return buf, u, true
	case len(o.uploads) > 0:
		return nil, o.uploads[0], true
	}
	return nil, u, false
}

// take removes a block that is next. It reports false if it is not any more.
func (o *outbox) take(u upload) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.uploads) == 0 || o.uploads[0] != u {
		return false
	}
	o.uploads = o.uploads[1:]
	return true
}

// park says that the writer waits for its turn: blocks alone don't wake it.
func (o *outbox) park() {
	o.mu.Lock()
	o.parked = true
	o.mu.Unlock()
}

// writer is the state of the goroutine that writes to a peer.
type writer struct {
	p            *peer
	turn         throttle.Turn // under the upload limit
	spare, block []byte
}

// write sends what the outbox holds until it is closed or the connection fails.
// Control messages never wait for the upload limit.
func (p *peer) write() {
	w := writer{p: p}
	idle, turn := time.NewTimer(keepAlive), time.NewTimer(keepAlive)
	defer idle.Stop()
	defer turn.Stop()
	var changed <-chan struct{} // the upload limit
	for {
		select {
		case <-p.out.done:
			return
		case <-p.out.wake:
		case <-turn.C:
		case <-changed:
		case <-idle.C:
			p.out.control(wire.AppendKeepAlive)
		}
		var wait time.Duration
		var wrote bool
		var err error
		if wait, changed, wrote, err = w.drain(); err != nil {
			p.sw.do(func() { p.sw.drop(p, err) })
			return
		}
		if wrote {
			idle.Reset(keepAlive)
		}
		turn.Stop()
		if wait > 0 {
			turn.Reset(wait)
		}
	}
}

// drain writes what may be written now. If blocks are left for later, it returns
// how long they have to wait as the upload limit stands.
func (w *writer) drain() (wait time.Duration, changed <-chan struct{}, wrote bool, err error) {
	out := w.p.out
	for {
		buf, u, ok := out.next(w.spare)
		switch {
		case !ok:
			return 0, nil, wrote, nil
		case buf != nil:
			w.spare = buf
		default:
			if wait, changed, ok = w.turn.Ready(w.p.sw.eng.up, time.Now(), u.length); !ok {
				out.park()
				return wait, changed, wrote, nil
			}
			if !out.take(u) {
				continue // cancelled just now
			}
			if buf, ok = w.p.sw.payload(w.p, u, w.block[:0]); !ok {
				continue
			}
			w.block = buf
			w.turn.Used(u.length)
		}
		_ = w.p.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.p.conn.Write(buf); err != nil {
			return 0, nil, wrote, err
		}
		w.p.quickAck.Set() // the reader waits already
		wrote = true
	}
}

// payload builds the answer to a request in buf. It reports false if there is
// nothing to send.
func (s *swarm) payload(p *peer, u upload, buf []byte) ([]byte, bool) {
	buf = wire.AppendPieceHeader(buf, u.index, u.begin, u.length)
	head := len(buf)
	buf = slices.Grow(buf, u.length)[:head+u.length]
	real := buf[head:]
	if n := s.t.Info().PieceRange(u.index).Len() - int64(u.begin); n < int64(u.length) {
		real = real[:max(0, n)]
		clear(buf[head+len(real):]) // the gap behind a file of a v2 torrent
	}
	ok := len(real) == 0 || s.mem.readAt(u.index, real, int64(u.begin))
	if !ok {
		var err error
		ok, err = s.eng.opts.Store.ReadAt(weir.PieceID{Torrent: s.t.ih, Index: u.index}, real, int64(u.begin))
		if err != nil {
			s.log.Debug("piece not read for a peer", "piece", u.index, "peer", p.addr, "err", err)
			ok = false
		}
	}
	if !ok {
		if !p.fast() {
			return nil, false
		}
		return wire.AppendRequest(buf[:0], pp.Reject, u.index, u.begin, u.length), true
	}
	s.t.counts.uploaded.Add(int64(u.length))
	s.eng.up.Passed(u.length)
	p.trade.sent.Add(int64(u.length))
	p.served.Store(true)
	return buf, true
}
