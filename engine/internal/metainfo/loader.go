package metainfo

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

// loadedBytes bounds the metadata of cold torrents that is in memory because
// somebody looked at it; loadedFor is how long it stays after the last look.
const (
	loadedBytes = 32 << 20
	loadedFor   = time.Minute
)

// Options configure a Loader.
type Options struct {
	Store Store
	// Ready reports whether Store answers without making the caller wait. Until it does,
	// it is not asked.
	Ready func() bool
	Log   *slog.Logger
}

// Loader reads metadata from the records for all torrents of an engine, and lets it go
// again. It is safe for concurrent use.
type Loader struct {
	Options

	mu    sync.Mutex
	list  []loaded // cold torrents whose metadata somebody looked at, in the order of reading it
	bytes int64
	timer *time.Timer // drops what nobody looks at; nil while the list is empty
}

type loaded struct {
	entry *Entry
	size  int64
}

// NewLoader returns a Loader that has read nothing.
func NewLoader(o Options) *Loader { return &Loader{Options: o} }

// add records that the metadata of e was loaded, and drops that of others beyond the
// bound, the least recently used first.
func (l *Loader) add(e *Entry, size int64) {
	l.mu.Lock()
	l.list = append(l.list, loaded{e, size})
	l.bytes += size
	var gone []*Entry
	for n := 2 * len(l.list); n > 0 && l.bytes > loadedBytes && len(l.list) > 1; n-- {
		first := l.list[0]
		l.list = l.list[1:]
		if first.entry != e && first.entry.used.Swap(false) || first.entry == e {
			l.list = append(l.list, first)
			continue
		}
		l.bytes -= first.size
		gone = append(gone, first.entry)
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(loadedFor, l.expire)
	}
	l.mu.Unlock()
	for _, o := range gone {
		o.Drop()
	}
}

// expire drops what nobody has looked at since it was called last.
func (l *Loader) expire() {
	l.mu.Lock()
	var gone []*Entry
	l.list = slices.DeleteFunc(slices.Clone(l.list), func(o loaded) bool {
		if o.entry.used.Swap(false) {
			return false
		}
		gone = append(gone, o.entry)
		l.bytes -= o.size
		return true
	})
	if len(l.list) == 0 {
		l.list, l.timer = nil, nil
	} else {
		l.timer.Reset(loadedFor)
	}
	l.mu.Unlock()
	for _, o := range gone {
		o.Drop()
	}
}

// Close ends the timer. What was loaded stays with its torrents.
func (l *Loader) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.list, l.bytes = nil, 0
}
