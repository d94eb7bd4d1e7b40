// Package throttle bounds a rate of bytes that many connections share. It knows
// nothing of peers, of messages or of what the bytes are for, and starts no
// goroutine: whoever waits does so itself.
//
// It is a queue of moments rather than a bucket of tokens, because a block of
// 16 KiB must pass a limit of 1 kB/s too, because a change of the rate must reach
// those who wait already, and because a writer that waits has other things to
// send meanwhile (golang.org/x/time/rate refuses the first and does not do the second).
package throttle

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// burst is the time's worth of bytes that may go at once after a pause: enough to
// make up for a timer that fires late.
const burst = 100 * time.Millisecond

// Limiter is a rate that is shared in the order of asking: who asks for a block at
// a time gets as much as everybody else. It is safe for concurrent use.
type Limiter struct {
	rate  atomic.Int64 // bytes per second; 0 is no limit
	total atomic.Int64 // bytes that passed

	mu      sync.Mutex
	free    time.Time     // when all that was granted will have passed
	changed chan struct{} // closed when the rate changes
}

// New returns a Limiter of so many bytes per second, 0 for no limit.
func New(rate int64) *Limiter {
	l := &Limiter{changed: make(chan struct{})}
	l.rate.Store(max(0, rate))
	return l
}

// Rate returns the bytes per second, 0 for no limit.
func (l *Limiter) Rate() int64 { return l.rate.Load() }

// SetRate changes the rate, also for those who wait.
func (l *Limiter) SetRate(rate int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate.Store(max(0, rate))
	l.free = time.Time{}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Passed counts bytes that passed.
func (l *Limiter) Passed(n int) { l.total.Add(int64(n)) }

// Total returns the bytes that passed since the beginning.
func (l *Limiter) Total() int64 { return l.total.Load() }

// Reserve takes a place in the queue for n bytes. They may pass at the first
// result, which is in the past if that is now. If changed is closed before, the
// place is void.
func (l *Limiter) Reserve(now time.Time, n int) (at time.Time, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rate := l.rate.Load()
	if rate == 0 {
		return now, l.changed
	}
	if idle := now.Add(-burst); l.free.Before(idle) {
		l.free = idle
	}
	at = l.free
	l.free = l.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return at, l.changed
}

// Backlog returns how long who comes now has to wait.
func (l *Limiter) Backlog(now time.Time) time.Duration {
	if l.rate.Load() == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.free.Sub(now))
}

// Wait returns when n bytes that have passed already are paid for, or ctx or done
// end. It costs next to nothing without a limit.
func (l *Limiter) Wait(ctx context.Context, done <-chan struct{}, n int) {
	l.Passed(n)
	for l.rate.Load() != 0 {
		now := time.Now()
		at, changed := l.Reserve(now, n)
		if !at.After(now) {
			return
		}
		timer := time.NewTimer(at.Sub(now))
		select {
		case <-timer.C:
			return
		case <-changed: // paid by waiting so far
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		case <-done:
			timer.Stop()
			return
		}
	}
}

// Turn is one connection's place in the queue. It belongs to one goroutine. The
// zero Turn has none.
type Turn struct {
	at      time.Time
	changed <-chan struct{} // nil while there is no place
	credit  int             // bytes that may pass, and did not yet
}

// step is how much a connection reserves at a time, so that who sends long
// messages gets no more than others.
const step = 16 << 10

// Ready reports whether n bytes may pass now, and takes places in the queue as
// needed. Who is not ready asks again after wait, or when changed is closed.
func (t *Turn) Ready(l *Limiter, now time.Time, n int) (wait time.Duration, changed <-chan struct{}, ok bool) {
	for t.credit < n && l.rate.Load() != 0 {
		if t.changed != nil {
			select {
			case <-t.changed:
				t.changed = nil
			default:
			}
		}
		more := min(step, n-t.credit)
		if t.changed == nil {
			t.at, t.changed = l.Reserve(now, more)
		}
		if t.at.After(now) {
			return t.at.Sub(now), t.changed, false
		}
		t.credit += more
		t.changed = nil
	}
	return 0, nil, true
}

// Used says that n bytes passed. What is ready and not used stays ready.
func (t *Turn) Used(n int) { t.credit = max(0, t.credit-n) }
