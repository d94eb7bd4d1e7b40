package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

const (
	// settle is how long a file of a watched folder must stay unchanged before it
	// is read: browsers and shares write in pieces.
	settle = 200 * time.Millisecond
	// patience is how long a file that makes no sense yet may still be being
	// written.
	patience = 30 * time.Second
)

// watchEvery is how often watched folders are listed. inotify tells at once, but not of
// what other machines write to NFS and SMB shares, not of most FUSE mounts, and of
// nothing once a folder was replaced by another one.
const watchEvery = 20 * time.Second

// watchedFile is a file of a watched folder that has changed and is not read yet.
type watchedFile struct {
	due   time.Time // when it is read, unless it changes before
	since time.Time // of the last change
}

// watch adds the .torrent and .magnet files and the shortcuts of the watched folders,
// those that are there and those that come. One that is removed changes nothing.
func (d *Daemon) watch() error {
	if len(d.opt.Watch) == 0 {
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch folders: %w", err)
	}
	pending := map[string]watchedFile{}
	var folders []*watchedFolder
	for _, dir := range d.opt.Watch {
		// First watched, then listed: nothing falls between.
		err := w.Add(dir)
		f := &watchedFolder{dir: dir}
		if err == nil {
			var changed []string
			if changed, err = f.take(lookAt(dir)); err == nil {
				f.notePending(pending, changed, time.Now())
			}
		}
		if err != nil {
			return errors.Join(fmt.Errorf("watch folder %s: %w: name a folder that you may read", dir, err), w.Close())
		}
		folders = append(folders, f)
	}
	d.behind.Go(func() {
		defer func() { _ = w.Close() }() // nothing was written
		d.followFolders(w, folders, pending)
	})
	return nil
}

// watched reports whether a file of this name is added. Hidden ones are on their
// way to another name, and texts mostly are something else in a folder of downloads.
func watched(path string) bool {
	name := filepath.Base(path)
	complete, _ := weir.SourceFile(name)
	return complete && !strings.EqualFold(filepath.Ext(name), ".txt")
}

// followFolders adds files once nobody has written to them for a moment.
func (d *Daemon) followFolders(w *fsnotify.Watcher, folders []*watchedFolder, pending map[string]watchedFile) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	every := cmp.Or(d.opt.WatchEvery, watchEvery)
	look := time.NewTicker(every)
	defer look.Stop()
	listed := make(chan listing, len(folders)) // none is listed twice at a time
	for {
		select {
		case <-d.ctx.Done():
			return
		case err := <-w.Errors:
			d.log.Warn("watched folders", "err", err)
		case ev := <-w.Events:
			if now := time.Now(); watched(ev.Name) && ev.Op&(fsnotify.Create|fsnotify.Write|fsnotify.Rename) != 0 {
				pending[ev.Name] = watchedFile{due: now.Add(settle), since: now}
			}
		case <-look.C:
			for _, f := range folders {
				f.list(listed)
			}
		case got := <-listed:
			d.lookedAt(w, got, pending)
		case <-timer.C:
			now := time.Now()
			for path, f := range pending {
				if now.Before(f.due) {
					continue
				}
				state, _ := stateOf(path)
				if d.addWatched(path, now.Sub(f.since) > patience) {
					delete(pending, path)
					noteRead(folders, path, state)
				} else {
					f.due = now.Add(10 * settle)
					pending[path] = f
				}
			}
		}
		if next, ok := nextDue(pending); ok {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

func nextDue(pending map[string]watchedFile) (next time.Time, ok bool) {
	for _, f := range pending {
		if !ok || f.due.Before(next) {
			next, ok = f.due, true
		}
	}
	return next, ok
}

// addWatched adds what a file names, and reports whether it is done with. With last
// it gives up on a file that makes no sense. Who can write to the folder is not
// always who runs weir, so a link is not followed, and the log never shows what is
// in a file that is refused.
func (d *Daemon) addWatched(path string, last bool) bool {
	b, err := source.ReadFile(path, syscall.O_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return true // gone again
	}
	last = last || errors.Is(err, weir.ErrInvalid)
	var named *source.Contents
	if err == nil {
		named, err = readDropped(b)
	}
	if errors.Is(err, source.ErrNoAddress) { // a folder of downloads has launchers of programs too
		d.log.Debug("a shortcut of a watched folder leads nowhere", "file", path)
		return last
	}
	if err != nil {
		if last {
			d.log.Error("a file of a watched folder is not added: replace it, or remove it", "file", path, "err", err)
		} else {
			d.log.Debug("a file of a watched folder makes no sense yet", "file", path, "err", err)
		}
		return last
	}
	for _, url := range named.URLs {
		d.aside("add the torrent at a URL of a watched folder", func() error {
			spec, err := d.found().Load(d.ctx, url)
			if err == nil {
				_, err = d.addSpec(d.ctx, spec, "")
			}
			return err
		})
	}
	for _, spec := range named.Specs {
		switch added, err := d.addSpec(d.ctx, spec, ""); {
		case err != nil && d.ctx.Err() == nil:
			d.log.Error("a torrent of a watched folder is not added", "file", path, "err", err)
		case err == nil && !added.Known:
			d.log.Info("added from a watched folder", "file", path, "torrent", added.InfoHash, "path", added.Path)
		}
	}
	return true
}
