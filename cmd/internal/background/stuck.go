package background

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/weirfs/weir/fs/mountpoint"
)

// stuckTick is how often the guard checks whether a killed weir can't exit.
const stuckTick = 2 * time.Second

// abortWhenStuck aborts the connection of the mount at point when weir, the process
// pid, was killed and can't exit: a thread that notifies the kernel of a change waits
// uninterruptibly for a folder's lock, a lookup in that folder holds the lock and waits
// for weir's answer, and the kernel ends that wait only when the last thread of weir is
// gone. The guard's pipe stays open until then, too. The returned function ends the
// watch.
func abortWhenStuck(pid int, point string) (stop func()) {
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(stuckTick)
		defer tick.Stop()
		for was := false; ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			is := dying(pid)
			if is && was {
				_ = mountpoint.Abort(point) // once: a user may mount there anew
				return
			}
			was = is
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		watch.Wait()
	})
}

// dying reports whether a process has exited but for some of its threads, or is a
// zombie.
func dying(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name, in parentheses, may hold anything.
	return bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}
