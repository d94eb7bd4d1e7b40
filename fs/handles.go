package fs

import (
	"sync"
	"time"

	"bazil.org/fuse"
)

// handle is one open file: of a torrent, or a draft.
type handle struct {
	by     Opener
	opened time.Time
	draft  *draft // nil: a torrent's, which has the rest
	t      *torrent
	entry  uint32
	path   string // beneath the torrent's folder
	file   File
	size   int64
	late   late
}

// handles numbers the open files. A number is a place in a slice, so that a read
// finds its file without hashing; 0 is never used.
type handles struct {
	mu   sync.RWMutex
	open []*handle
	free []uint32
}

func (hs *handles) add(h *handle) fuse.HandleID {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if n := len(hs.free); n > 0 {
		i := hs.free[n-1]
		hs.free = hs.free[:n-1]
		hs.open[i] = h
		return fuse.HandleID(i + 1)
	}
	hs.open = append(hs.open, h)
	return fuse.HandleID(len(hs.open))
}

// get returns nil if nothing is open under id.
func (hs *handles) get(id fuse.HandleID) *handle {
	hs.mu.RLock()
	defer hs.mu.RUnlock()
	if id == 0 || id > fuse.HandleID(len(hs.open)) {
		return nil
	}
	return hs.open[id-1]
}

// take removes and returns what is open under id, nil if nothing is.
func (hs *handles) take(id fuse.HandleID) *handle {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if id == 0 || id > fuse.HandleID(len(hs.open)) || hs.open[id-1] == nil {
		return nil
	}
	h := hs.open[id-1]
	hs.open[id-1] = nil
	hs.free = append(hs.free, uint32(id-1))
	return h
}

// openOf returns the entries of t that are open, each as often as it is.
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
