package sources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine/source"
)

const (
	// settle is how long a file must stay unchanged before it is read: browsers and
	// network shares write files in several steps.
	settle = 200 * time.Millisecond
	// patience is how long a malformed file may still be incomplete.
	patience = 30 * time.Second
)

// defaultEvery is how often watched folders are listed. inotify is faster, but misses what
// other machines write to NFS and SMB shares, most FUSE mounts, and folders that were
// replaced by others.
const defaultEvery = 20 * time.Second

// Options of a Watcher. Folders, Log, Add and AddURL are required.
type Options struct {
	Folders []string
	Every   time.Duration // how often they are listed, in addition to inotify; 0: 20 s
	Log     *slog.Logger
	Add     func(*source.Spec) (api.Added, error) // adds a torrent
	AddURL  func(url string)                      // adds the one at a URL, without waiting for it
}

// Watcher adds the torrents of .torrent and .magnet files and shortcuts in folders, also of
// those that appear later. Removing a file has no effect.
type Watcher struct {
	opt     Options
	log     *slog.Logger
	notify  *fsnotify.Watcher
	folders []*folder
	pending map[string]pendingFile // by path
}

// pendingFile is a file that has changed and is not read yet.
type pendingFile struct {
	due   time.Time // when it is read, unless it changes before
	since time.Time // of the last change
}

// Watch begins to watch folders, which must be there. Run reads the files, and ends
// the watching.
func Watch(o Options) (*Watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch folders: %w", err)
	}
	w := &Watcher{opt: o, log: o.Log, notify: notify, pending: map[string]pendingFile{}}
	for _, dir := range o.Folders {
		// Watch first, then list, so that nothing is missed.
		err := notify.Add(dir)
		f := &folder{dir: dir}
		if err == nil {
			var changed []string
			if changed, err = f.take(list(dir)); err == nil {
				w.queue(f, changed, time.Now())
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("watch folder %s: %w: name a folder that you may read", dir, err), notify.Close())
		}
		w.folders = append(w.folders, f)
	}
	return w, nil
}

// watched reports whether a file of this name is added. Hidden files are about to be
// renamed, and most texts in a folder of downloads are something else.
func watched(path string) bool {
	name := filepath.Base(path)
	complete, _ := weir.SourceFile(name)
	return complete && !strings.EqualFold(filepath.Ext(name), ".txt")
}

// Run adds files that have not changed for a moment, until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	defer func() { _ = w.notify.Close() }() // nothing was written
	timer := time.NewTimer(0)
	defer timer.Stop()
	tick := time.NewTicker(cmp.Or(w.opt.Every, defaultEvery))
	defer tick.Stop()
	listed := make(chan listing, len(w.folders)) // none is listed twice at a time
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-w.notify.Errors:
			w.log.Warn("watched folders", "err", err)
		case ev := <-w.notify.Events:
			if now := time.Now(); watched(ev.Name) && ev.Op&(fsnotify.Create|fsnotify.Write|fsnotify.Rename) != 0 {
				w.pending[ev.Name] = pendingFile{due: now.Add(settle), since: now}
			}
		case <-tick.C:
			for _, f := range w.folders {
				f.startListing(listed)
			}
		case l := <-listed:
			w.compare(l)
		case <-timer.C:
			w.readDue(ctx, time.Now())
		}
		if next, ok := w.nextDue(); ok {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

// readDue reads the files that are due.
func (w *Watcher) readDue(ctx context.Context, now time.Time) {
	for path, f := range w.pending {
		if now.Before(f.due) {
			continue
		}
		state, _ := stateOf(path)
		if w.read(ctx, path, now.Sub(f.since) > patience) {
			delete(w.pending, path)
			w.remember(path, state)
		} else {
			f.due = now.Add(10 * settle)
			w.pending[path] = f
		}
	}
}

func (w *Watcher) nextDue() (next time.Time, ok bool) {
	for _, f := range w.pending {
		if !ok || f.due.Before(next) {
			next, ok = f.due, true
		}
	}
	return next, ok
}

// read adds the torrents of a file, and reports whether it is done with the file. With last it
// gives up on a malformed one. Other users than weir's may write to the folder, so links are
// not followed, and the content of a refused file is never logged.
func (w *Watcher) read(ctx context.Context, path string, last bool) bool {
	b, err := source.ReadFile(path, syscall.O_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return true // gone again
	}
	last = last || errors.Is(err, weir.ErrInvalid)
	var named *source.Contents
	if err == nil {
		named, err = ReadDropped(b)
	}
	if errors.Is(err, source.ErrNoAddress) { // a folder of downloads has launchers of programs too
		w.log.Debug("a shortcut in a watched folder has no URL", "file", path)
		return last
	}
	if err != nil {
		if last {
			w.log.Error("can't add a file of a watched folder: replace or remove it", "file", path, "err", err)
		} else {
			w.log.Debug("a file of a watched folder is not complete yet", "file", path, "err", err)
		}
		return last
	}
	for _, url := range named.URLs {
		w.opt.AddURL(url)
	}
	for _, spec := range named.Specs {
		switch added, err := w.opt.Add(spec); {
		case err != nil && ctx.Err() == nil:
			w.log.Error("can't add a torrent of a watched folder", "file", path, "err", err)
		case err == nil && !added.Known:
			w.log.Info("added from a watched folder", "file", path, "torrent", added.InfoHash, "path", added.Path)
		}
	}
	return true
}
