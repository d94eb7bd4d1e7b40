package kernel

import (
	"context"
	"time"

	"github.com/weirfs/weir/fs/internal/process"
)

// During read-ahead a program waits for a page and not for a request, so a signal to it
// sends no interrupt. A fatal signal ends the program but not the request, which would go on
// and keep the mount busy. A signal that the program handles, as an interpreter does with
// Ctrl-C, would not be delivered until the read is answered, and a direct read could not be
// killed. So while reads wait, weir checks whether their threads are gone or have such a
// signal pending, and ends the request. A program that still runs reads again, and the kernel
// does interrupt that request.
const watchEvery = 50 * time.Millisecond

// watchReaders ends waits whose threads have stopped waiting, until ctx is done. It sleeps
// while nothing waits.
func (s *Server) watchReaders(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.waits.begun:
		}
		ticker.Reset(watchEvery)
		for left := 1; left > 0; {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				// Most of those that began since the last check will be over before the next.
				left = s.endAbandoned(now.Add(-watchEvery / 2))
			}
		}
		ticker.Stop()
	}
}

// endAbandoned checks the threads of waits that began before at, and returns how many waits
// there are.
func (s *Server) endAbandoned(at time.Time) (left int) {
	old, left := s.waits.before(at)
	stopped := false
	for i, w := range old {
		if i == 0 || w.TID != old[i-1].TID {
			stopped = w.TID != 0 && process.Stopped(w.TID)
		}
		if stopped {
			w.cancel(context.Canceled)
		}
	}
	return left
}
