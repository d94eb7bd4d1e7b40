package fs

import (
	"context"
	"time"
)

// housekeepingAfter is the least time between two rounds.
const housekeepingAfter = time.Second

// housekeeping runs tasks that are due after a while: idle trees, incoming files that are
// never finished, removals that were not completed. Each task returns when it is next due,
// 0 for never.
type housekeeping struct {
	wakeup chan struct{} // capacity 1: a task has something to do
	tasks  []func(now time.Time) (next time.Duration)
}

func newHousekeeping() *housekeeping { return &housekeeping{wakeup: make(chan struct{}, 1)} }

func (h *housekeeping) wake() {
	select {
	case h.wakeup <- struct{}{}:
	default:
	}
}

// run runs the tasks until ctx is done. It sleeps while none is due.
func (h *housekeeping) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wakeup:
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
