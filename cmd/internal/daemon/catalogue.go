package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/fs"
)

// record brings what the catalogue has of a torrent to what is shown now: it is
// written, with its metadata, or taken out. Call it after each change, in any
// order.
func (d *Daemon) record(ih weir.InfoHash) error {
	if d.opt.Ephemeral {
		return nil
	}
	// Not for the caller's context: what is shown shall be kept, even if who asked
	// for it has lost patience.
	if err := d.recording.take(context.WithoutCancel(d.ctx)); err != nil {
		return err
	}
	defer d.recording.give()
	d.mu.Lock()
	e := d.entries.byHash[ih]
	var rec record
	if e != nil {
		rec = e.rec
	}
	d.mu.Unlock()
	if e == nil {
		return d.cache.DeleteRecord(torrentsBucket, ih[:])
	}
	if rec.Shape != nil {
		// Before the record, which says that it is there.
		if err := e.Keep(); err != nil {
			return err
		}
	}
	b, err := rec.encode()
	if err != nil {
		return err
	}
	return d.cache.PutRecord(torrentsBucket, ih[:], b)
}

// recordFolder does so for a sorting folder.
func (d *Daemon) recordFolder(dir string) error {
	if d.opt.Ephemeral {
		return nil
	}
	if err := d.recording.take(context.WithoutCancel(d.ctx)); err != nil {
		return err
	}
	defer d.recording.give()
	d.mu.Lock()
	_, there := d.entries.folders[dir]
	delete(d.entries.touched, dir) // before its time is looked at
	d.mu.Unlock()
	key := []byte(dir)
	if dir == "" {
		key, there = []byte(rootKey), true
	}
	if !there {
		return d.cache.DeleteRecord(foldersBucket, key)
	}
	changed, err := d.fs.FolderChanged(dir)
	if err != nil {
		return nil // it is going, and who does that writes it down
	}
	return d.cache.PutRecord(foldersBucket, key, []byte(changed.UTC().Format(time.RFC3339Nano)))
}

// recordTouched writes when folders changed, where that is not in the catalogue yet.
// Not at each change: with many of them that would be a second sync for each.
func (d *Daemon) recordTouched() {
	d.mu.RLock()
	touched := slices.Collect(maps.Keys(d.entries.touched))
	d.mu.RUnlock()
	for _, dir := range touched {
		if err := d.recordFolder(dir); err != nil {
			d.log.Warn("when a folder changed is not in the catalogue", "folder", dir, "err", err)
		}
	}
}

func (d *Daemon) setRestoring(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restoring = on
}

// restoreTimes gives folders the times that the catalogue has of them.
func (d *Daemon) restoreTimes(changed map[string]time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.entries.touched) // by the restoring
	for _, dir := range append(d.entries.folderList(), "") {
		at, ok := changed[dir]
		if !ok || d.fs.SetFolderChanged(dir, at) != nil {
			d.entries.touch(dir) // from now on
		}
	}
}

// forget takes a torrent that was hidden out of the catalogue, and unless keepCache
// drops what is held of it, pinned or not, and its metadata.
func (d *Daemon) forget(e *entry, keepCache bool) error {
	ih := e.InfoHash()
	if err := d.record(ih); err != nil {
		return err
	}
	if keepCache {
		return nil
	}
	if err := d.recording.take(context.WithoutCancel(d.ctx)); err != nil {
		return err
	}
	defer d.recording.give()
	if d.byHash(ih) != nil {
		return nil // it was added again meanwhile
	}
	var errs []error
	if s := e.shape.Load(); s != nil {
		n := s.skeleton.NumPieces()
		held := d.cache.Held(ih, n)
		var pieces []int
		for i, h := range held {
			if h {
				pieces = append(pieces, i)
			}
		}
		errs = append(errs, d.cache.Unpin(ih, 0, n), d.cache.Evict(ih, pieces))
	}
	errs = append(errs, d.cache.DeleteRecord(engine.MetadataBucket, ih[:]))
	errs = append(errs, d.dropLayers(ih))
	return errors.Join(errs...)
}

// dropLayers removes the piece layers that the engine kept of a v2 torrent: their
// keys begin with its info hash.
func (d *Daemon) dropLayers(ih weir.InfoHash) error {
	return d.cache.EachRecord(engine.LayersBucket, func(key, _ []byte) error {
		if !bytes.HasPrefix(key, ih[:]) {
			return nil
		}
		return d.cache.DeleteRecord(engine.LayersBucket, key)
	})
}

// restore shows what the catalogue has, without a network and without reading
// metadata. What is damaged is left out, with a word in the log.
func (d *Daemon) restore() error {
	if d.opt.Ephemeral {
		return nil
	}
	d.setRestoring(true)
	defer d.setRestoring(false)
	var folders []string
	changed := map[string]time.Time{}
	err := d.cache.EachRecord(foldersBucket, func(key, value []byte) error {
		dir := string(key)
		if dir == rootKey {
			dir = ""
		} else {
			folders = append(folders, dir)
		}
		if at, err := time.Parse(time.RFC3339Nano, string(value)); err == nil { // none of it is missed
			changed[dir] = at
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the catalogue: %w", err)
	}
	type kept struct {
		ih  weir.InfoHash
		rec record
	}
	var torrents []kept
	err = d.cache.EachRecord(torrentsBucket, func(key, value []byte) error {
		ih, rec, err := parseRecord(key, value)
		if err != nil {
			d.log.Warn("a torrent of the catalogue is left out", "err", err)
			return nil
		}
		torrents = append(torrents, kept{ih, rec})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the catalogue: %w", err)
	}
	for _, dir := range folders {
		if err := d.makeFolders(dir); err != nil {
			d.log.Warn("a folder of the catalogue is left out", "folder", dir, "err", err)
		}
	}
	slices.SortFunc(torrents, func(a, b kept) int { return int(a.rec.Seq) - int(b.rec.Seq) })
	for i := range torrents {
		ih, rec := torrents[i].ih, torrents[i].rec
		if err := d.restoreOne(ih, rec); err != nil {
			d.log.Warn("a torrent of the catalogue is left out", "torrent", ih, "err", err)
		}
	}
	d.restoreTimes(changed)
	return nil
}

func (d *Daemon) restoreOne(ih weir.InfoHash, rec record) error {
	add := d.engine.Add
	if rec.Shape != nil {
		add = d.engine.AddKept
	}
	t, err := add(rec.spec(ih))
	if err != nil && !errors.Is(err, weir.ErrExists) { // warm already, as the command line named it too
		return err
	}
	// The name that it had stays, whatever else is shown now.
	e, err := d.place(t, rec, string(rec.Dir), fs.RawName(string(rec.Shown)))
	if err != nil {
		return errors.Join(err, d.engine.Remove(ih))
	}
	d.mu.Lock()
	d.awaitPins(e)
	d.mu.Unlock()
	if len(d.cache.Pinned(ih)) > 0 {
		e.pinsChanged.Store(true)
	}
	return nil
}
