package daemon

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/fs"
)

// Move implements control.Mount: like mv, into an existing folder or to a new name.
func (ts *torrents) Move(ctx context.Context, from, to string) (string, error) {
	from, to = strings.Trim(from, "/"), strings.Trim(to, "/")
	if from == "" {
		return "", weir.Errorf(weir.ErrInvalid, "the mount's root can't be moved")
	}
	dir, name := splitPath(to)
	if ts.fs.IsFolder(to) {
		dir, name = to, path.Base(from)
	}
	if ts.fs.IsFolder(from) {
		to = path.Join(dir, name)
		return to, ts.moveFolder(ctx, from, to)
	}
	e, err := ts.lookup(from)
	if err != nil {
		return "", err
	}
	to = path.Join(dir, name)
	if there, at, ok := ts.fs.TorrentAt(to); ok && at == to && there != e.InfoHash() {
		return "", weir.Errorf(weir.ErrExists, "move %q: there is a torrent %q already", from, to)
	}
	return ts.move(ctx, e.InfoHash(), dir, fs.RawName(name))
}

// move shows a torrent in another folder, which is made if need be, under another
// name; it returns its path.
func (ts *torrents) move(ctx context.Context, ih weir.InfoHash, dir, raw string) (string, error) {
	dir, err := cleanFolder(dir)
	if err != nil {
		return "", err
	}
	if err := ts.changing.acquire(ctx); err != nil {
		return "", err
	}
	e := ts.byHash(ih)
	if e == nil {
		err = weir.Errorf(weir.ErrNotFound, "no torrent has the info hash %s", ih)
	} else if err = ts.makeFolders(dir); err == nil {
		err = ts.moveEntry(e, dir, raw)
	}
	ts.changing.release()
	if err != nil {
		return "", err
	}
	if err := ts.record(ih); err != nil {
		return "", err
	}
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return e.path(), nil
}

// moveEntry is move without the catalogue. The caller holds changing.
func (ts *torrents) moveEntry(e *entry, dir, raw string) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	shown, err := ts.fs.Move(e.InfoHash(), dir, raw)
	if err != nil {
		return err
	}
	ts.entries.moved(e, dir, shown)
	ts.events.publish(api.Event{Kind: api.EventMoved, InfoHash: e.InfoHash().String(), Path: e.path()})
	return nil
}

// moveFolder gives a sorting folder, with all that is in it, another path.
func (ts *torrents) moveFolder(ctx context.Context, from, to string) error {
	to, err := cleanFolder(to)
	if err != nil {
		return err
	}
	if err := ts.changing.acquire(ctx); err != nil {
		return err
	}
	changed, err := ts.moveFolderNow(from, to)
	ts.changing.release()
	errs := []error{err}
	for _, ih := range changed.torrents {
		errs = append(errs, ts.record(ih))
	}
	for _, dir := range changed.folders {
		errs = append(errs, ts.recordFolder(dir))
	}
	return errors.Join(errs...)
}

// changes are what has to be recorded in the catalogue.
type changes struct {
	torrents []weir.InfoHash
	folders  []string
}

func (ts *torrents) moveFolderNow(from, to string) (changes, error) {
	var c changes
	if within(to, from) {
		return c, weir.Errorf(weir.ErrInvalid, "%q can't be moved into itself, %q", from, to)
	}
	_, at, taken := ts.fs.TorrentAt(to)
	taken = taken && at == to || ts.fs.IsFolder(to)
	switch {
	case !ts.fs.IsFolder(from):
		return c, weir.Errorf(weir.ErrNotFound, "there is no folder %q", from)
	case taken:
		return c, weir.Errorf(weir.ErrExists, "%q is there already: choose another name", to)
	}
	if above, _ := splitPath(to); above != "" {
		if err := ts.makeFolders(above); err != nil {
			return c, err
		}
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	torrents, folders := ts.under(from), ts.fs.Folders()
	if err := ts.fs.MoveFolder(from, to); err != nil {
		return c, err
	}
	aboveFrom, _ := splitPath(from)
	aboveTo, _ := splitPath(to)
	ts.entries.markChanged(aboveFrom)
	ts.entries.markChanged(aboveTo)
	for _, dir := range folders {
		if within(dir, from) {
			c.folders = append(c.folders, dir, to+strings.TrimPrefix(dir, from))
		}
	}
	for _, e := range torrents {
		ts.entries.moved(e, to+strings.TrimPrefix(string(e.rec.Dir), from), string(e.rec.Shown))
		c.torrents = append(c.torrents, e.InfoHash())
		ts.events.publish(api.Event{Kind: api.EventMoved, InfoHash: e.InfoHash().String(), Path: e.path()})
	}
	return c, nil
}

// makeFolders makes a sorting folder with those above it, as far as they are not
// there, in the tree and in the catalogue. The caller holds changing.
func (ts *torrents) makeFolders(dir string) error {
	if ts.fs.IsFolder(dir) {
		return nil
	}
	if _, at, ok := ts.fs.TorrentAt(dir); ok {
		return weir.Errorf(weir.ErrInvalid, "folder %q: %s is a torrent: choose another", dir, at)
	}
	above, _ := splitPath(dir)
	if err := ts.makeFolders(above); err != nil {
		return err
	}
	if err := ts.fs.MakeFolder(dir); err != nil {
		return err
	}
	ts.mu.Lock()
	ts.entries.markChanged(above)
	restoring := ts.restoring
	ts.mu.Unlock()
	if restoring {
		return nil
	}
	return ts.recordFolder(dir)
}

// makeFolder makes one sorting folder.
func (ts *torrents) makeFolder(ctx context.Context, dir string) error {
	dir, err := cleanFolder(dir)
	if err != nil {
		return err
	}
	if err := ts.changing.acquire(ctx); err != nil {
		return err
	}
	defer ts.changing.release()
	if ts.fs.IsFolder(dir) {
		return weir.Errorf(weir.ErrExists, "folder %q exists already", dir)
	}
	return ts.makeFolders(dir)
}

// removeFolder removes an empty sorting folder. The error wraps weir.ErrInUse when
// there is something in it.
func (ts *torrents) removeFolder(ctx context.Context, dir string) error {
	if err := ts.changing.acquire(ctx); err != nil {
		return err
	}
	defer ts.changing.release()
	switch err := ts.fs.RemoveFolder(dir); {
	case errors.Is(err, weir.ErrInUse):
		return weir.Errorf(weir.ErrInUse, "folder %q is not empty: move or remove what is in it first", dir)
	case err != nil:
		return err
	}
	ts.mu.Lock()
	above, _ := splitPath(dir)
	ts.entries.markChanged(above)
	ts.mu.Unlock()
	return ts.recordFolder(dir)
}
