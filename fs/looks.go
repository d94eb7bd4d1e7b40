package fs

import (
	"sync"
	"time"

	"github.com/weirfs/weir"
)

// A look into the folder of a magnet waits for its metadata. Programs that walk
// through a mount (du, find, indexers) look into every folder, so they must not wait
// long for one that nobody has, and not each time.
const (
	// lookShare is which part of a read's deadline a look may wait.
	lookShare = 3
	// lateLookFor is how long looks fail at once after one that waited in vain.
	lateLookFor = time.Minute
)

// lateLook remembers the last look into a torrent that waited in vain.
type lateLook struct {
	mu    sync.Mutex
	until time.Time // looks fail at once
	peers int       // that were connected then, or fewer since
}

// note says that a look waited in vain.
func (l *lateLook) note(peers int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until, l.peers = now.Add(lateLookFor), peers
}

// again reports whether another look would wait in vain: the last one did just now,
// and no peer has come since.
func (l *lateLook) again(peers func() int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !now.Before(l.until) {
		return false
	}
	n := peers()
	if n > l.peers {
		l.until = time.Time{}
		return false
	}
	l.peers = n
	return true
}

// peers returns how many peers of the torrent are connected.
func (t *torrent) peers() int { return t.src.Status(weir.Range{}).Peers }
