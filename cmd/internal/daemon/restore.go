package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/catalogue"
	"github.com/weirfs/weir/fs"
)

// record updates the catalogue's record of a torrent.
func (ts *torrents) record(ih weir.InfoHash) error {
	return ts.catalogue.SyncTorrent(ih, func() (*catalogue.Record, error) {
		ts.mu.RLock()
		e := ts.entries.byHash[ih]
		if e == nil {
			ts.mu.RUnlock()
			return nil, nil
		}
		rec := e.rec
		ts.mu.RUnlock()
		if rec.Shape != nil {
			// Before the record, which says that it is there.
			if err := e.StoreMetadata(); err != nil {
				return nil, err
			}
		}
		return &rec, nil
	})
}

// recordFolder updates the catalogue's record of a sorting folder.
func (ts *torrents) recordFolder(dir string) error {
	return ts.catalogue.SyncFolder(dir, func() (time.Time, bool) {
		ts.mu.Lock()
		delete(ts.entries.changedFolders, dir) // before its time is read
		ts.mu.Unlock()
		if !ts.fs.IsFolder(dir) {
			return time.Time{}, false
		}
		changed, err := ts.fs.FolderChanged(dir)
		if err != nil {
			changed = time.Time{} // it is being removed, which is recorded there
		}
		return changed, true
	})
}

// recordTouched records when folders changed. Doing that with each change would cost a
// second sync each time.
func (ts *torrents) recordTouched() {
	ts.mu.RLock()
	touched := slices.Collect(maps.Keys(ts.entries.changedFolders))
	ts.mu.RUnlock()
	for _, dir := range touched {
		if err := ts.recordFolder(dir); err != nil {
			ts.log.Warn("can't record in the catalogue when a folder changed", "folder", dir, "err", err)
		}
	}
}

// forget removes a detached torrent from the catalogue, and unless keepCache its metadata
// and its pieces from the cache, even pinned ones and those that are just being stored.
func (ts *torrents) forget(ctx context.Context, e *entry, keepCache bool) error {
	ih := e.InfoHash()
	if err := ts.record(ih); err != nil {
		return err
	}
	if keepCache {
		return nil
	}
	if err := e.AwaitCommits(ctx); err != nil {
		return fmt.Errorf("drop what was held of %s: %w", ih, err)
	}
	n := 0
	if s := e.shape.Load(); s != nil {
		n = s.skeleton.NumPieces()
	}
	return ts.catalogue.Drop(ih, n, func() bool { return ts.byHash(ih) != nil })
}

// restore shows the torrents and folders of the catalogue, without a network and without
// reading metadata. Damaged records are left out and logged.
func (ts *torrents) restore() error {
	ts.setRestoring(true)
	defer ts.setRestoring(false)
	c, err := ts.catalogue.Read(ts.log)
	if err != nil {
		return fmt.Errorf("read the catalogue: %w", err)
	}
	for _, dir := range c.Folders {
		if err := ts.makeFolders(dir); err != nil {
			ts.log.Warn("a folder of the catalogue is left out", "folder", dir, "err", err)
		}
	}
	slices.SortFunc(c.Torrents, func(a, b catalogue.Torrent) int { return int(a.Record.Seq) - int(b.Record.Seq) })
	for i := range c.Torrents {
		ih, rec := c.Torrents[i].InfoHash, c.Torrents[i].Record
		if err := ts.restoreOne(ih, rec); err != nil {
			ts.log.Warn("a torrent of the catalogue is left out", "torrent", ih, "err", err)
		}
	}
	ts.restoreTimes(c.Changed)
	return nil
}

func (ts *torrents) restoreOne(ih weir.InfoHash, rec catalogue.Record) error {
	add := ts.engine.Add
	if rec.Shape != nil {
		add = ts.engine.AddStored
	}
	t, err := add(rec.Spec(ih))
	if err != nil && !errors.Is(err, weir.ErrExists) { // the command line named it too, and it is warm already
		return err
	}
	if len(rec.Files) > 0 {
		ts.serve(t, string(rec.Files), rec.Missing)
	}
	// It keeps its name, whatever else is shown now.
	_, err = ts.insert(t, rec, string(rec.Dir), fs.RawName(string(rec.Shown)))
	if err != nil {
		return errors.Join(err, ts.engine.Remove(ih))
	}
	return nil
}

func (ts *torrents) setRestoring(on bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.restoring = on
}

// restoreTimes sets the folders' times of change from the catalogue.
func (ts *torrents) restoreTimes(changed map[string]time.Time) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	clear(ts.entries.changedFolders) // restoring has marked all
	for _, dir := range append(ts.fs.Folders(), "") {
		at, ok := changed[dir]
		if !ok || ts.fs.SetFolderChanged(dir, at) != nil {
			ts.entries.markChanged(dir) // record it anew
		}
	}
}
