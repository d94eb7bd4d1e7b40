package reader

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
)

// follower joins a policy with the window that it decides on. Its owner guards it.
type follower struct {
	policy policy
	stream stream
	base   int64       // where the file begins in the torrent
	onIdle func()      // called by the timer, on a goroutine of its own
	timer  *time.Timer // runs while there is a window
	hidden bool        // the window was taken back because the reader has stopped
	retry  time.Time   // when to ask the budget again
	closed bool
}

// retryTime is how often a window that the budget had no room for asks again.
const retryTime = 50 * time.Millisecond

// follow takes a read; waits says that others of the same reader wait for the
// swarm now.
func (f *follower) follow(now time.Time, off, n int64, waits bool) {
	if waits {
		f.policy.meter.answered(now) // it does not pause
	}
	moved := f.policy.read(now, off, n)
	if moved || f.hidden || f.stream.short() && now.After(f.retry) {
		f.show(now)
	}
}

// show publishes what the policy wants.
func (f *follower) show(now time.Time) {
	var room [maxRuns + mostStrides]weir.Range
	ranges := f.policy.windows(room[:0])
	for i := range ranges {
		ranges[i].Off += f.base
		ranges[i].End += f.base
	}
	f.stream.show(ranges)
	f.hidden = false
	f.retry = now.Add(retryTime)
	if len(f.stream.shown) == 0 {
		return
	}
	if f.timer == nil {
		f.timer = time.AfterFunc(grace(f.policy.meter.gap), f.onIdle)
	} else {
		f.timer.Reset(grace(f.policy.meter.gap))
	}
}

// rest takes the window back when nothing was read for a while: who has stopped
// wants nothing more. The next read publishes it again.
func (f *follower) rest(now time.Time, waits bool) {
	if f.closed || len(f.stream.shown) == 0 {
		return
	}
	left := grace(f.policy.meter.gap)
	if !waits {
		left -= now.Sub(f.policy.meter.last)
	}
	if left > 0 {
		f.timer.Reset(left)
		return
	}
	f.stream.hide()
	f.hidden = true
}

// end takes the window back for good.
func (f *follower) end() {
	f.closed = true
	f.stream.close()
	if f.timer != nil {
		f.timer.Stop()
	}
}

// crowd follows a file that several programs have open. They share the kernel's
// pages, so each page is asked for once, on behalf of whoever comes by first: a
// hundred programs that read a file from end to end look like a hundred that skip
// about. Together they are sequential again.
type crowd struct {
	waiting atomic.Int32 // reads that wait for the swarm
	several atomic.Bool  // more than one handle was open

	mu sync.Mutex // only tried, never waited for, by reads
	follower

	handles int // guarded by Torrent.mu
}

// note takes a read of any handle of the file. When another one is being taken it
// does nothing: the policy can do without some, the reader need not wait.
func (c *crowd) note(now time.Time, off, n int64) {
	if !c.several.Load() || !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	if !c.closed {
		c.follow(now, off, n, c.waiting.Load() > 0)
	}
}

func (c *crowd) idle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest(time.Now(), c.waiting.Load() > 0)
}
