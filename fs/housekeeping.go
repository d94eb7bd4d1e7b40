package fs

import (
	"context"
	"time"
)

// housekeepingAfter is the least time between two rounds.
const housekeepingAfter = time.Second

// housekeeping looks after what is due after a while: trees that idle, incoming files
// that nobody finishes, removals that were not completed. Each task says when it is
// next due, 0 for never.
type housekeeping struct {
	begun chan struct{} // capacity 1: there is something to look after
	tasks []func(now time.Time) (next time.Duration)
}

func newHousekeeping() *housekeeping { return &housekeeping{begun: make(chan struct{}, 1)} }

func (h *housekeeping) poke() {
	select {
	case h.begun <- struct{}{}:
	default:
	}
}

// run looks after everything until ctx is done. It sleeps while there is nothing.
func (h *housekeeping) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.begun:
			timer.Reset(housekeepingAfter)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		case <-timer.C:
		}
		now, next := time.Now(), time.Duration(0)
		for _, task := range h.tasks {
			next = sooner(next, task(now))
		}
		if next > 0 {
			timer.Reset(max(next, housekeepingAfter))
		} else {
			timer.Stop()
		}
	}
}

// sooner returns the shorter of two times, of which 0 stands for never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
