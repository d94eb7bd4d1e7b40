package sources

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// folder is a watched folder, and the files seen there last. Only Run's goroutine uses it.
type folder struct {
	dir     string
	self    os.FileInfo          // nil while the folder is missing
	files   map[string]fileState // by name
	busy    bool                 // it is being listed
	missing bool                 // and that is logged
}

// fileState changes when a file does.
type fileState struct {
	size  int64
	mtime time.Time
}

// listing is the result of listing a folder.
type listing struct {
	of    *folder
	self  os.FileInfo
	files map[string]fileState
	err   error
}

// startListing lists the folder on a goroutine of its own and sends the result to listed,
// which has room for it. Nothing waits for the goroutine: a network share whose server is
// gone may block it for ever.
func (f *folder) startListing(listed chan<- listing) {
	if f.busy {
		return
	}
	f.busy = true
	go func() {
		l := list(f.dir)
		l.of = f
		listed <- l
	}()
}

// list lists the files of a folder that are to be added.
func list(dir string) listing {
	self, err := os.Stat(dir)
	if err != nil {
		return listing{err: err}
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return listing{err: err}
	}
	l := listing{self: self, files: make(map[string]fileState)}
	for _, e := range there {
		if !watched(e.Name()) {
			continue
		}
		if state, err := stateOf(filepath.Join(dir, e.Name())); err == nil { // else it is gone again
			l.files[e.Name()] = state
		}
	}
	return l
}

func stateOf(path string) (fileState, error) {
	info, err := os.Lstat(path) // links are not followed
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.Size(), info.ModTime()}, nil
}

// remember records the state of a file that was read, so that the next listing does not find
// it changed.
func (w *Watcher) remember(path string, state fileState) {
	for _, f := range w.folders {
		if f.dir == filepath.Dir(path) && f.files != nil {
			f.files[filepath.Base(path)] = state
		}
	}
}

// take returns the names of files that are new or have changed since the last listing.
func (f *folder) take(l listing) (changed []string, err error) {
	f.busy = false
	if l.err != nil {
		f.self = nil
		return nil, l.err
	}
	for name, state := range l.files {
		if old, ok := f.files[name]; !ok || old != state {
			changed = append(changed, name)
		}
	}
	f.self, f.files = l.self, l.files
	return changed, nil
}

// queue marks files of a folder as due to be read.
func (w *Watcher) queue(f *folder, names []string, now time.Time) {
	for _, name := range names {
		path := filepath.Join(f.dir, name)
		if _, ok := w.pending[path]; !ok {
			w.pending[path] = pendingFile{due: now, since: now}
		}
	}
}

// compare takes a listing and queues what has changed. A folder that was replaced by
// another is watched anew.
func (w *Watcher) compare(l listing) {
	f := l.of
	before := f.self
	changed, err := f.take(l)
	if err != nil {
		if !f.missing {
			w.log.Warn("a watched folder can't be read; weir keeps trying", "folder", f.dir, "err", err)
		}
		f.missing = true
		return
	}
	f.missing = false
	if before == nil || !os.SameFile(before, f.self) {
		// The watch of the old folder may be gone already.
		if err := w.notify.Remove(f.dir); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
			w.log.Debug("watched folder", "folder", f.dir, "err", err)
		}
		if err := w.notify.Add(f.dir); err != nil {
			w.log.Debug("no inotify for a watched folder: it is only listed from time to time", "folder", f.dir, "err", err)
		}
	}
	w.queue(f, changed, time.Now())
}
