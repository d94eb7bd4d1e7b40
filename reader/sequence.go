package reader

import (
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader/internal/policy"
)

// fileSequence is a sequence of files that are read one after another, with its window and
// its clock.
type fileSequence struct {
	idleClock // of the handles in it
	t         *Torrent

	// Guarded by t.mu.
	policy    *policy.Sequence
	window    window
	withdrawn bool // because the reader has stopped
	timer     *time.Timer
}

// idleClock knows when something was read last. The handles of a sequence share it without
// a lock: a lost update does no harm.
type idleClock struct {
	last    atomic.Int64 // nanoseconds of Unix time
	gap     atomic.Int64 // nanoseconds; see policy.NextGap
	waiting atomic.Int32 // reads that wait for the swarm
}

func (c *idleClock) touch(now time.Time) {
	at := now.UnixNano()
	if last := c.last.Swap(at); last != 0 && c.waiting.Load() == 0 {
		c.gap.Store(int64(policy.NextGap(time.Duration(c.gap.Load()), time.Duration(at-last))))
	}
}

// remaining returns how long the reader may still be silent before it counts as stopped.
func (c *idleClock) remaining(now time.Time) time.Duration {
	most := policy.Grace(time.Duration(c.gap.Load()))
	if c.waiting.Load() > 0 {
		return most
	}
	return most - now.Sub(time.Unix(0, c.last.Load()))
}

// progress reports that n more bytes of a file of the sequence were read, which makes read
// bytes of this file.
func (s *fileSequence) progress(now time.Time, file int, read, n int64) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.policy.Read(now, file, read, n)
	if s.t.closed || !s.policy.Open() {
		return
	}
	if s.withdrawn || s.policy.Due() || s.window.short() {
		s.publish(now)
	}
}

func (s *fileSequence) publish(now time.Time) {
	var room [policy.MaxRanges]weir.Range
	s.window.publish(s.policy.Windows(room[:0]))
	s.withdrawn = false
	if len(s.window.published) == 0 {
		return
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(s.remaining(now), s.idle)
	} else {
		s.timer.Reset(s.remaining(now))
	}
}

func (s *fileSequence) idle() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if len(s.window.published) == 0 {
		return
	}
	if remaining := s.remaining(time.Now()); remaining > 0 {
		s.timer.Reset(remaining)
		return
	}
	s.window.withdraw()
	s.withdrawn = true
}

func (s *fileSequence) close() {
	s.window.close()
	if s.timer != nil {
		s.timer.Stop()
	}
}
