package fs

import (
	"sync"
	"time"

	"github.com/weirfs/weir"
)

// againWithin is in which time the kernel repeats a read that failed.
const againWithin = time.Second

// late remembers the last reads of a file that passed the deadline. When
// read-ahead fails, the kernel asks for the first page of it once more on behalf
// of the same thread: without this, that thread would wait for twice the deadline.
type late struct {
	mu  sync.Mutex
	pid uint32     // of the thread that asked
	in  weir.Range // in file coordinates, what it asked for
	at  time.Time
}

// note says that thread pid asked for r in vain.
func (l *late) note(pid uint32, r weir.Range, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pid == pid && now.Sub(l.at) < againWithin { // one of several requests of one read-ahead
		r = weir.Range{Off: min(r.Off, l.in.Off), End: max(r.End, l.in.End)}
	}
	l.pid, l.in, l.at = pid, r, now
}

// again reports, once, whether r repeats a read that was late just now.
func (l *late) again(pid uint32, r weir.Range, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pid != pid || now.Sub(l.at) >= againWithin || l.in.Empty() || r.Off < l.in.Off || r.End > l.in.End {
		return false
	}
	l.in = weir.Range{}
	return true
}
