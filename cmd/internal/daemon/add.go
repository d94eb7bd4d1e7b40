package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/catalogue"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/fs"
)

// Add implements control.Mount. arg is what a source.Loader takes, except for a path, which
// would be one of another process.
func (ts *torrents) Add(ctx context.Context, arg, into string) (api.Added, error) {
	into, err := cleanFolder(into)
	if err != nil {
		return api.Added{}, err
	}
	spec, err := ts.load.LoadNamed(ctx, arg)
	if err != nil {
		return api.Added{}, err
	}
	return ts.addSpec(ctx, spec, into)
}

// AddFile implements control.Mount.
func (ts *torrents) AddFile(ctx context.Context, content []byte, into string) (api.Added, error) {
	into, err := cleanFolder(into)
	if err != nil {
		return api.Added{}, err
	}
	named, err := source.ParseFile(content)
	if err != nil {
		return api.Added{}, err
	}
	spec, err := ts.load.Found().One(ctx, named)
	if err != nil {
		return api.Added{}, err
	}
	return ts.addSpec(ctx, spec, into)
}

// addURL loads what a file names by its URL, and shows it in a folder.
func (ts *torrents) addURL(ctx context.Context, url, into string) error {
	spec, err := ts.load.Found().Load(ctx, url)
	if err == nil {
		_, err = ts.addSpec(ctx, spec, into)
	}
	return err
}

// addSpec shows a torrent in a folder, creating the folder if needed, and returns once
// it is in the catalogue. A known torrent stays where it is, and gains the trackers and
// peers of spec.
func (ts *torrents) addSpec(ctx context.Context, spec *source.Spec, into string) (api.Added, error) {
	e, known, err := ts.show(ctx, spec, into, true)
	if err != nil {
		return api.Added{}, err
	}
	if err := ts.record(e.InfoHash()); err != nil {
		return api.Added{}, fmt.Errorf("%s is shown, but will be gone after a restart: %w", e.path(), err)
	}
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return api.Added{InfoHash: e.InfoHash().String(), Path: e.path(), Known: known}, nil
}

// show is addSpec without the catalogue.
func (ts *torrents) show(ctx context.Context, spec *source.Spec, into string, warm bool) (e *entry, known bool, err error) {
	if err := ts.changing.acquire(ctx); err != nil {
		return nil, false, err
	}
	defer ts.changing.release()
	t, joined := ts.engine.Torrent(spec.InfoHash)
	e = ts.byHash(spec.InfoHash)
	if !joined || e != nil { // else joining it took everything from spec
		if t, err = ts.engine.Add(spec); err != nil && !errors.Is(err, weir.ErrExists) {
			return nil, false, err
		}
	}
	if e != nil {
		ts.learnShape(e) // before learn: the creation date that was shown stays
		ts.mu.Lock()
		e.rec.Learn(spec)
		ts.mu.Unlock()
		return e, true, nil
	}
	if e, err = ts.insert(t, catalogue.NewRecord(spec), into, spec.DisplayName()); err != nil {
		return nil, false, errors.Join(err, ts.engine.Remove(spec.InfoHash))
	}
	if warm {
		err = t.Warm()
	}
	return e, false, err
}

// insert puts a torrent of the engine into the tree, under the name raw if that is free.
// The caller holds changing.
func (ts *torrents) insert(t *engine.Torrent, rec catalogue.Record, dir, raw string) (e *entry, err error) {
	if err := ts.makeFolders(dir); err != nil {
		return nil, err
	}
	e = &entry{torrent: newTorrent(t, rec.Added, ts.store, ts.readers), rec: rec}
	if rec.Shape != nil {
		e.shape.Store(newShape(rec.Shape, t.InfoHash()))
	}
	defer func() {
		if err == nil {
			ts.sharing.Add(sharedEntry{e, ts}) // without mu
		}
	}()
	// Under one lock: a program that sees it, and a change of the cache, must find it.
	ts.mu.Lock()
	defer ts.mu.Unlock()
	shown, err := ts.fs.AddAt(dir, raw, e)
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", raw, err)
	}
	e.rec.Dir, e.rec.Shown = []byte(dir), []byte(shown)
	ts.entries.add(e)
	ts.log.Debug("torrent added", "torrent", t.InfoHash(), "path", e.path())
	ts.events.publish(api.Event{Kind: api.EventAdded, InfoHash: t.InfoHash().String(), Path: e.path(), SizeBytes: e.rec.Size()})
	if own := e.rec.Sharing; own != nil {
		t.SetLimits(own.UploadRate, own.DownloadRate)
	}
	return e, nil
}

// SetSharing implements control.Mount.
func (ts *torrents) SetSharing(id string, change api.SharingChange) (api.Sharing, error) {
	e, err := ts.lookup(strings.Trim(id, "/"))
	if err != nil {
		return api.Sharing{}, err
	}
	spec := &source.Spec{InfoHash: e.InfoHash()}
	for _, arg := range change.AddTrackers {
		u, err := source.ParseTracker(arg)
		if err != nil {
			return api.Sharing{}, err
		}
		spec.Trackers = append(spec.Trackers, []string{u})
	}
	ts.mu.Lock()
	own, err := changed(e.rec.Sharing, change)
	if err == nil {
		e.rec.Sharing = own
		e.rec.Learn(spec)
	}
	ts.mu.Unlock()
	if err != nil {
		return api.Sharing{}, err
	}
	if _, err := ts.engine.Add(spec); err != nil && !errors.Is(err, weir.ErrExists) {
		return api.Sharing{}, err
	}
	e.SetLimits(own.UploadRate, own.DownloadRate)
	sharedEntry{e, ts}.look()
	if err := ts.record(e.InfoHash()); err != nil {
		return api.Sharing{}, fmt.Errorf("set for now, but not after a restart: %w", err)
	}
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return e.settings(ts.sharing), nil
}

// changed returns a torrent's settings with a change.
func changed(old *catalogue.Sharing, c api.SharingChange) (*catalogue.Sharing, error) {
	var s catalogue.Sharing
	if old != nil {
		s = *old
	}
	if c.Seed != nil {
		if s.Seed = *c.Seed; s.Seed == "default" {
			s.Seed = ""
		}
	}
	if c.Ratio != nil {
		if s.Ratio = c.Ratio; *c.Ratio < 0 {
			s.Ratio = nil
		}
	}
	if c.SeedSeconds != nil {
		s.SeedTime = nil
		if n := min(*c.SeedSeconds, int64(100*365*24*time.Hour/time.Second)); n >= 0 {
			d := time.Duration(n) * time.Second
			s.SeedTime = &d
		}
	}
	if c.UploadRate != nil {
		s.UploadRate = *c.UploadRate
	}
	if c.DownloadRate != nil {
		s.DownloadRate = *c.DownloadRate
	}
	return &s, s.Check()
}

// Remove implements control.Mount. It waits until what was held is gone.
func (ts *torrents) Remove(ctx context.Context, id string, keepCache bool) error {
	e, err := ts.lookup(strings.Trim(id, "/"))
	if err != nil {
		return err
	}
	if err := ts.detach(ctx, e.InfoHash()); err != nil {
		return err
	}
	return ts.forget(context.WithoutCancel(ctx), e, keepCache) // it has left the tree: finish this
}

// detach takes a torrent out of the tree and ends its swarm.
func (ts *torrents) detach(ctx context.Context, ih weir.InfoHash) error {
	if err := ts.changing.acquire(ctx); err != nil {
		return err
	}
	defer ts.changing.release()
	e := ts.byHash(ih)
	if e == nil {
		return weir.Errorf(weir.ErrNotFound, "no torrent has the info hash %s", ih)
	}
	// Waiting reads end first, then all fetching. The tree may have lost it already: it
	// is removed there by rmdir.
	if err := ts.fs.Remove(ih); err != nil && !errors.Is(err, weir.ErrNotFound) {
		return err
	}
	if err := ts.engine.Remove(ih); err != nil {
		return err
	}
	e.files.Close()
	ts.store.Withdraw(ih)
	ts.mu.Lock()
	ts.removed.add(e, ts.sharing.Of(ih))
	ts.sharing.Remove(ih)
	ts.entries.remove(e)
	at := e.path()
	ts.mu.Unlock()
	ts.log.Debug("torrent removed", "torrent", ih, "path", at)
	ts.events.publish(api.Event{Kind: api.EventRemoved, InfoHash: ih.String(), Path: at})
	return nil
}

// cleanFolder returns the path of a sorting folder as weir writes it: no slash at
// either end, "" for the root. The error wraps weir.ErrInvalid.
func cleanFolder(dir string) (string, error) {
	dir = strings.Trim(dir, "/")
	if dir == "" {
		return "", nil
	}
	for name := range strings.SplitSeq(dir, "/") {
		if name != fs.SafeName(fs.RawName(name)) || strings.IndexByte(name, 0) >= 0 {
			return "", weir.Errorf(weir.ErrInvalid, "folder %q: %q is no name for a folder", dir, name)
		}
	}
	return dir, nil
}

// splitPath splits a path into folder and name.
func splitPath(p string) (dir, name string) {
	dir, name = path.Split(p)
	return strings.TrimSuffix(dir, "/"), name
}
