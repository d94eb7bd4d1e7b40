package kernel

import (
	"context"
	"time"

	"github.com/weirfs/weir/fs/internal/process"
)

// The kernel reads ahead in requests that nobody waits for by name: a reader
// waits for a page then, and a signal to it sends no interrupt. A fatal signal
// ends the reader but not the request, which would go on wanting bytes and keep
// the mount busy; a signal that the reader handles, as an interpreter does with
// Ctrl-C, would not even be delivered until the read is answered, and a direct
// read could not be killed. So while reads wait, weir looks whether their readers
// are gone or have such a signal pending, and ends the request. A reader that is
// still there asks again, and that request the kernel does interrupt.
const lookEvery = 50 * time.Millisecond

// watchReaders ends waits whose readers stopped waiting, until ctx is done. It
// sleeps while nobody waits.
func (s *Server) watchReaders(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.waits.begun:
		}
		ticker.Reset(lookEvery)
		for left := 1; left > 0; {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				// Those that began since the last look are mostly over before the next.
				left = s.endAbandoned(now.Add(-lookEvery / 2))
			}
		}
		ticker.Stop()
	}
}

// endAbandoned looks at the readers of waits that began before at, and returns
// how many waits there are.
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
