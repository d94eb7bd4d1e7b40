package reader

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader/internal/policy"
)

// follower feeds reads to a pattern and publishes the windows that it returns. Its owner
// guards it.
type follower struct {
	pattern   policy.Pattern
	window    window
	base      int64       // where the file begins in the torrent
	onIdle    func()      // called by the timer, on a goroutine of its own
	timer     *time.Timer // runs while there is a window
	withdrawn bool        // because the reader has stopped
	retry     time.Time   // when to ask the budget again
	closed    bool
}

// retryTime is how often a window that the budget had no room for asks again.
const retryTime = 50 * time.Millisecond

// follow takes a read. waits says that other reads of the same reader are waiting for the
// swarm.
func (f *follower) follow(now time.Time, off, n int64, waits bool) {
	if waits {
		f.pattern.Answered(now) // it does not pause
	}
	moved := f.pattern.Read(now, off, n)
	if moved || f.withdrawn || f.window.short() && now.After(f.retry) {
		f.publish(now)
	}
}

// publish publishes the pattern's windows.
func (f *follower) publish(now time.Time) {
	var room [policy.MaxWindows]weir.Range
	ranges := f.pattern.Windows(room[:0])
	for i := range ranges {
		ranges[i].Off += f.base
		ranges[i].End += f.base
	}
	f.window.publish(ranges)
	f.withdrawn = false
	f.retry = now.Add(retryTime)
	if len(f.window.published) == 0 {
		return
	}
	if f.timer == nil {
		f.timer = time.AfterFunc(f.pattern.Grace(), f.onIdle)
	} else {
		f.timer.Reset(f.pattern.Grace())
	}
}

// withdrawIfIdle withdraws the window of a reader that has stopped: nothing was read for a
// while. The next read publishes it again.
func (f *follower) withdrawIfIdle(now time.Time, waits bool) {
	if f.closed || len(f.window.published) == 0 {
		return
	}
	left := f.pattern.Grace()
	if !waits {
		left -= now.Sub(f.pattern.LastRead())
	}
	if left > 0 {
		f.timer.Reset(left)
		return
	}
	f.window.withdraw()
	f.withdrawn = true
}

// end withdraws the window for good.
func (f *follower) end() {
	f.closed = true
	f.window.close()
	if f.timer != nil {
		f.timer.Stop()
	}
}

// fileReaders follows all handles of a file together. The kernel shares its pages between
// programs and reads each page once, for whoever needs it first. So a hundred programs
// that read a file from end to end each seem to skip about; taken together, their reads
// are sequential again.
type fileReaders struct {
	waiting atomic.Int32 // reads that wait for the swarm
	several atomic.Bool  // more than one handle was open

	mu sync.Mutex // reads use TryLock
	follower

	handles int // guarded by Torrent.mu
}

// follow takes a read of any handle of the file. It drops the read if it would have to
// wait for another: the pattern doesn't need them all. It reports whether the read goes on
// from one of another handle.
func (r *fileReaders) follow(now time.Time, off, n int64) (inOrder bool) {
	if !r.several.Load() || !r.mu.TryLock() {
		return false
	}
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.follower.follow(now, off, n, r.waiting.Load() > 0)
	return !r.pattern.Sparse()
}

func (r *fileReaders) idle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.withdrawIfIdle(time.Now(), r.waiting.Load() > 0)
}
