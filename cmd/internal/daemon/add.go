package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/fs"
)

// Add implements control.Mount: arg is what a source.Loader takes, but no path of a
// file, which would be that of another process.
func (d *Daemon) Add(ctx context.Context, arg, into string) (api.Added, error) {
	into, err := cleanFolder(into)
	if err != nil {
		return api.Added{}, err
	}
	spec, err := loadNamed(ctx, d.typed(), arg)
	if err != nil {
		return api.Added{}, err
	}
	return d.addSpec(ctx, spec, into)
}

// AddFile implements control.Mount.
func (d *Daemon) AddFile(ctx context.Context, content []byte, into string) (api.Added, error) {
	into, err := cleanFolder(into)
	if err != nil {
		return api.Added{}, err
	}
	named, err := source.ParseFile(content)
	if err != nil {
		return api.Added{}, err
	}
	spec, err := d.found().One(ctx, named)
	if err != nil {
		return api.Added{}, err
	}
	return d.addSpec(ctx, spec, into)
}

// addSpec shows a torrent in a folder, which is made if need be, and returns when
// it is in the catalogue too. One that is known already stays where it is, and
// learns what spec knows.
func (d *Daemon) addSpec(ctx context.Context, spec *source.Spec, into string) (api.Added, error) {
	e, known, err := d.show(ctx, spec, into, true)
	if err != nil {
		return api.Added{}, err
	}
	if err := d.record(e.InfoHash()); err != nil {
		return api.Added{}, fmt.Errorf("%s is shown, but will be gone after a restart: %w", e.path(), err)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return api.Added{InfoHash: e.InfoHash().String(), Path: e.path(), Known: known}, nil
}

// show is addSpec without the catalogue.
func (d *Daemon) show(ctx context.Context, spec *source.Spec, into string, warm bool) (e *entry, known bool, err error) {
	if err := d.changing.take(ctx); err != nil {
		return nil, false, err
	}
	defer d.changing.give()
	t, joined := d.engine.Torrent(spec.InfoHash)
	e = d.byHash(spec.InfoHash)
	if !joined || e != nil { // else it has learned all of spec when it was joined
		if t, err = d.engine.Add(spec); err != nil && !errors.Is(err, weir.ErrExists) {
			return nil, false, err
		}
	}
	if e != nil {
		d.learnShape(e) // as it was told to those who looked: a creation date may come too late
		d.mu.Lock()
		e.rec.learn(spec)
		d.mu.Unlock()
		return e, true, nil
	}
	if e, err = d.place(t, newRecord(spec), into, spec.DisplayName()); err != nil {
		return nil, false, errors.Join(err, d.engine.Remove(spec.InfoHash))
	}
	if warm {
		err = t.Warm()
	}
	return e, false, err
}

// place puts a torrent of the engine into the tree; raw is the name that it shall
// have. The caller has the turn to change.
func (d *Daemon) place(t *engine.Torrent, rec record, dir, raw string) (*entry, error) {
	if err := d.makeFolders(dir); err != nil {
		return nil, err
	}
	e := &entry{torrent: newTorrent(t, rec.Added, d.cache, d.readers), rec: rec}
	if rec.Shape != nil {
		e.shape.Store(newShape(rec.Shape, t.InfoHash()))
	}
	// Known before it is shown: what the cache tells of it must find it.
	d.mu.Lock()
	d.entries.byHash[t.InfoHash()] = e
	d.mu.Unlock()
	shown, err := d.fs.AddAt(dir, raw, e)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.entries.byHash, t.InfoHash())
		return nil, fmt.Errorf("show %s: %w", raw, err)
	}
	e.rec.Dir, e.rec.Shown = []byte(dir), []byte(shown)
	d.entries.add(e)
	d.log.Debug("torrent added", "torrent", t.InfoHash(), "path", e.path())
	d.tell(api.Event{Kind: api.EventAdded, InfoHash: t.InfoHash().String(), Path: e.path(), SizeBytes: e.rec.size()})
	return e, nil
}

// Remove implements control.Mount. It waits until what was held is gone.
func (d *Daemon) Remove(ctx context.Context, id string, keepCache bool) error {
	e, err := d.named(strings.Trim(id, "/"))
	if err != nil {
		return err
	}
	if err := d.hide(ctx, e.InfoHash()); err != nil {
		return err
	}
	return d.forget(e, keepCache)
}

// hide takes a torrent out of the tree and ends its swarm.
func (d *Daemon) hide(ctx context.Context, ih weir.InfoHash) error {
	if err := d.changing.take(ctx); err != nil {
		return err
	}
	defer d.changing.give()
	e := d.byHash(ih)
	if e == nil {
		return fmt.Errorf("torrent %s: %w", ih, weir.ErrNotFound)
	}
	// Reads that wait end first, then nothing is fetched any more. That the tree
	// has it no more is fine: it is there that it may have been removed.
	if err := d.fs.Remove(ih); err != nil && !errors.Is(err, weir.ErrNotFound) {
		return err
	}
	if err := d.engine.Remove(ih); err != nil {
		return err
	}
	e.files.Close()
	d.mu.Lock()
	d.removed.add(e)
	d.entries.remove(e)
	at := e.path()
	d.mu.Unlock()
	d.log.Debug("torrent removed", "torrent", ih, "path", at)
	d.tell(api.Event{Kind: api.EventRemoved, InfoHash: ih.String(), Path: at})
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
			return "", fmt.Errorf("folder %q: %q is no name for a folder: %w", dir, name, weir.ErrInvalid)
		}
	}
	return dir, nil
}

// splitPath parts a path into folder and name.
func splitPath(p string) (dir, name string) {
	dir, name = path.Split(p)
	return strings.TrimSuffix(dir, "/"), name
}
