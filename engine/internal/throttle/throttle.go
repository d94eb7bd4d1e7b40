// Package throttle limits a rate of bytes that many connections share. It knows
// nothing of peers, of messages or of what the bytes are for, and starts no
// goroutine: its callers wait themselves.
//
// It hands out moments at which bytes may pass, rather than tokens from a bucket: a
// block of 16 KiB must pass a limit of 1 kB/s, a new rate must apply to those who wait
// already, and a writer must be free to send other messages while it waits.
// golang.org/x/time/rate refuses the first and does not do the second.
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

// Limiter is a rate that is shared first come, first served: connections that ask for
// one block at a time get equal shares. It is safe for concurrent use.
type Limiter struct {
	rate   atomic.Int64 // bytes per second; 0 is no limit
	total  atomic.Int64 // bytes that passed
	parent *Limiter     // limits this and others; nil if none does

	mu      sync.Mutex
	free    time.Time     // when all bytes reserved so far will have passed
	changed chan struct{} // closed when the rate changes
}

// New returns a Limiter of rate bytes per second, 0 for no limit.
func New(rate int64) *Limiter {
	l := &Limiter{changed: make(chan struct{})}
	l.rate.Store(max(0, rate))
	return l
}

// NewPart returns a Limiter of rate bytes per second for a part of what l limits, 0 for no
// limit but that.
func (l *Limiter) NewPart(rate int64) *Limiter {
	p := New(rate)
	p.parent = l
	return p
}

// Rate returns the bytes per second that may pass at most, 0 for no limit.
func (l *Limiter) Rate() int64 {
	own := l.rate.Load()
	if l.parent == nil {
		return own
	}
	all := l.parent.Rate()
	if own == 0 || all != 0 && all < own {
		return all
	}
	return own
}

func (l *Limiter) limited() bool { return l.Rate() != 0 }

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
func (l *Limiter) Passed(n int) {
	l.total.Add(int64(n))
	if l.parent != nil {
		l.parent.Passed(n)
	}
}

// Total returns the bytes that passed since the beginning.
func (l *Limiter) Total() int64 { return l.total.Load() }

// Reserve reserves n bytes. They may pass from at on, which is in the past if they may
// pass now. If changed is closed before, the reservation is void.
func (l *Limiter) Reserve(now time.Time, n int) (at time.Time, changed <-chan struct{}) {
	at, changed = l.reserve(now, n)
	if l.parent != nil {
		if later, other := l.parent.Reserve(now, n); later.After(at) {
			return later, other
		}
	}
	return at, changed
}

// reserve is Reserve without the parent.
func (l *Limiter) reserve(now time.Time, n int) (at time.Time, changed <-chan struct{}) {
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

// Backlog returns how long a reservation made now would have to wait.
func (l *Limiter) Backlog(now time.Time) (wait time.Duration) {
	if l.parent != nil {
		wait = l.parent.Backlog(now)
	}
	if l.rate.Load() == 0 {
		return wait
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(wait, l.free.Sub(now))
}

// Wait is called after n bytes have passed, and returns when the next may: when the rate
// has made up for them, or ctx or done ends. It costs next to nothing without a limit.
func (l *Limiter) Wait(ctx context.Context, done <-chan struct{}, n int) {
	l.Passed(n)
	for l.limited() {
		now := time.Now()
		at, changed := l.Reserve(now, n)
		if !at.After(now) {
			return
		}
		timer := time.NewTimer(at.Sub(now))
		select {
		case <-timer.C:
			return
		case <-changed: // the wait so far is enough
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

// Queued is one connection's reservation and what it may send now. It belongs to one
// goroutine. The zero Queued has neither.
type Queued struct {
	at      time.Time
	changed <-chan struct{} // nil while nothing is reserved
	credit  int             // bytes that may pass now
}

// grantBytes is the most that a connection reserves at a time, so that one with long
// messages gets no more than the others.
const grantBytes = 16 << 10

// Ready reports whether n bytes may pass now, and reserves what is missing. If not, call
// it again after wait, or when changed is closed.
func (t *Queued) Ready(l *Limiter, now time.Time, n int) (wait time.Duration, changed <-chan struct{}, ok bool) {
	for t.credit < n && l.limited() {
		if t.changed != nil {
			select {
			case <-t.changed:
				t.changed = nil
			default:
			}
		}
		more := min(grantBytes, n-t.credit)
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

// Used says that n bytes passed. Credit that is not used is kept.
func (t *Queued) Used(n int) { t.credit = max(0, t.credit-n) }
