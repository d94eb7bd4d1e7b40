package background

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/weirfs/weir/fs/mountpoint"
)

// stuckTick is how often the guard looks whether weir hangs in its own death.
const stuckTick = 2 * time.Second

// abortWhenStuck ends the connection of the mount at point when weir, the process
// pid, was killed and can't die; what it returns ends the watch. A thread of weir that
// tells the kernel of a change waits, where no signal reaches it, for a folder's lock;
// who looks a name up in that folder has it, and waits for weir's answer; and the
// kernel ends that wait only when the last thread of weir is gone. Nor does the
// guard's pipe end before.
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

// dying says whether a process has ended but for some of its threads, or awaits only
// that somebody asks for its exit code.
func dying(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name, in parentheses, may hold anything.
	return bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}
