package link

import (
	"time"

	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/wire"
)

// writeStep is the bytes that a peer has writeTimeout to take: one that is slow
// stays, one that has stopped reading goes. A block goes in one.
const writeStep = 32 << 10

// spareBytes is the largest buffer that a writer keeps for the next time.
const spareBytes = 64 << 10

// writer is the state of the goroutine that writes to a peer.
type writer struct {
	l             *Link
	turn          throttle.Queued // under the upload limit
	spare, answer []byte
}

// write sends what the outbox holds until it is closed or the connection fails.
// Control messages never wait for the upload limit.
func (l *Link) write() {
	w := writer{l: l}
	idle, turn := time.NewTimer(keepAlive), time.NewTimer(keepAlive)
	defer idle.Stop()
	defer turn.Stop()
	var changed <-chan struct{} // the upload limit
	for {
		select {
		case <-l.done:
			return
		case <-l.wake:
		case <-turn.C:
		case <-changed:
		case <-idle.C:
			l.Send(wire.AppendKeepAlive)
		}
		var wait time.Duration
		var wrote bool
		var err error
		if wait, changed, wrote, err = w.drain(); err != nil {
			l.fail(err)
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

// drain writes what may be written now. If requests are left for later, it returns
// how long they have to wait as the upload limit stands.
func (w *writer) drain() (wait time.Duration, changed <-chan struct{}, wrote bool, err error) {
	out, up := w.l.outbox, w.l.Up
	for {
		buf, r, ok := out.next(w.spare)
		switch {
		case !ok:
			return 0, nil, wrote, nil
		case buf != nil:
			w.spare = nil
			if cap(buf) <= spareBytes {
				w.spare = buf
			}
		default:
			n := r.uploadBytes()
			if wait, changed, ok = w.turn.Ready(up, time.Now(), n); !ok {
				out.park()
				return wait, changed, wrote, nil
			}
			if !out.take(r) {
				continue // cancelled just now
			}
			var payload int
			if buf, payload, ok = w.l.Answerer.Answer(w.l, r, w.answer[:0]); !ok {
				continue
			}
			up.Passed(payload)
			if r.block() {
				w.l.sent.Add(int64(payload))
			}
			w.answer = nil
			if cap(buf) <= spareBytes {
				w.answer = buf
			}
			w.turn.Used(n)
		}
		if err := w.send(buf); err != nil {
			return 0, nil, wrote, err
		}
		wrote = true
	}
}

// send writes b. The peer has writeTimeout for each step.
func (w *writer) send(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeStep)
		_ = w.l.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.l.Conn.Write(b[:n]); err != nil {
			return err
		}
		w.l.quickAck.Set() // the reader waits already
		b = b[n:]
	}
	return nil
}
