package fs

import (
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
)

// handle is one open file: of a torrent, or an incoming one.
type handle struct {
	by       Opener
	opened   time.Time
	incoming *incomingFile // nil: a file of a torrent, for which the rest is set
	t        *torrent
	entry    uint32
	path     string // beneath the torrent's folder
	file     File
	size     int64
	timeout  repeatedTimeout
}

// handles numbers the open files. A number is an index in a slice plus one, so that a read
// finds its file without hashing; 0 is never used.
type handles struct {
	mu   sync.RWMutex
	open []*handle
	free []uint32
}

func (hs *handles) add(h *handle) node.Handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if n := len(hs.free); n > 0 {
		i := hs.free[n-1]
		hs.free = hs.free[:n-1]
		hs.open[i] = h
		return node.Handle(i + 1)
	}
	hs.open = append(hs.open, h)
	return node.Handle(len(hs.open))
}

// get returns nil if no file is open under id.
func (hs *handles) get(id node.Handle) *handle {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	if id == 0 || id > node.Handle(len(hs.open)) {
		return nil
	}
	return hs.open[id-1]
}

// take removes and returns the file that is open under id, or nil.
func (hs *handles) take(id node.Handle) *handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if id == 0 || id > node.Handle(len(hs.open)) || hs.open[id-1] == nil {
		return nil
	}
	h := hs.open[id-1]
	hs.open[id-1] = nil
	hs.free = append(hs.free, uint32(id-1))
	return h
}

// openOf returns the open entries of t, once for each time that they are open.
func (hs *handles) openOf(t *torrent) []uint32 {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	var entries []uint32
	for _, h := range hs.open {
		if h != nil && h.t == t {
			entries = append(entries, h.entry)
		}
	}
	return entries
}

// all returns everything that is open.
func (hs *handles) all() []*handle {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	var open []*handle
	for _, h := range hs.open {
		if h != nil {
			open = append(open, h)
		}
	}
	return open
}

// takeAll removes and returns everything that is open.
func (hs *handles) takeAll() []*handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var left []*handle
	for _, h := range hs.open {
		if h != nil {
			left = append(left, h)
		}
	}
	hs.open, hs.free = nil, nil
	return left
}

// repeatWithin is how soon the kernel repeats a read that failed.
const repeatWithin = time.Second

// repeatedTimeout remembers the last reads of a file that timed out. When read-ahead fails,
// the kernel asks for its first page again for the same thread, which would then wait for
// twice the deadline.
type repeatedTimeout struct {
	mu  sync.Mutex
	tid uint32     // of the thread that asked
	in  weir.Range // of the file, that it asked for
	at  time.Time
}

// set records that a read of r by thread tid timed out.
func (l *repeatedTimeout) set(tid uint32, r weir.Range, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tid == tid && now.Sub(l.at) < repeatWithin { // one of several requests of one read-ahead
		r = weir.Range{Off: min(r.Off, l.in.Off), End: max(r.End, l.in.End)}
	}
	l.tid, l.in, l.at = tid, r, now
}

// again reports, once, whether r repeats a read that timed out just now.
func (l *repeatedTimeout) again(tid uint32, r weir.Range, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tid != tid || now.Sub(l.at) >= repeatWithin || l.in.Empty() || r.Off < l.in.Off || r.End > l.in.End {
		return false
	}
	l.in = weir.Range{}
	return true
}
