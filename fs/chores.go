package fs

import (
	"context"
	"time"
)

// choresAfter is the least time between two rounds.
const choresAfter = time.Second

// chores says that there is something to look after: trees that idle, drafts that
// nobody finishes, entries that are hidden.
type chores struct {
	begun chan struct{} // capacity 1
}

func newChores() chores { return chores{make(chan struct{}, 1)} }

func (c *chores) poke() { poke(c.begun) }

// doChores looks after these until ctx is done. It sleeps while there are none.
func (f *FS) doChores(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.chores.begun:
			timer.Reset(choresAfter)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		case <-timer.C:
		}
		now := time.Now()
		next := sooner(sooner(f.forgetTrees(now), f.showHidden(now)), f.forgetDrafts(now))
		if next > 0 {
			timer.Reset(max(next, choresAfter))
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
