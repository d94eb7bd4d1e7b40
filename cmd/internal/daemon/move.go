package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/fs"
)

// Move implements control.Mount: as mv does, into a folder that is there, or to a
// new name.
func (d *Daemon) Move(ctx context.Context, from, to string) (string, error) {
	from, to = strings.Trim(from, "/"), strings.Trim(to, "/")
	if from == "" {
		return "", fmt.Errorf("the mount's root can't be moved: %w", weir.ErrInvalid)
	}
	d.mu.RLock()
	_, into := d.entries.folders[to]
	_, folder := d.entries.folders[from]
	d.mu.RUnlock()
	dir, name := splitPath(to)
	if into || to == "" {
		dir, name = to, path.Base(from)
	}
	if folder {
		to = path.Join(dir, name)
		return to, d.moveFolder(ctx, from, to)
	}
	e, err := d.named(from)
	if err != nil {
		return "", err
	}
	to = path.Join(dir, name)
	d.mu.RLock()
	there := d.entries.byPath[to]
	d.mu.RUnlock()
	if there != nil && there != e {
		return "", fmt.Errorf("move %q: the torrent %q is there: %w", from, to, weir.ErrExists)
	}
	return d.move(ctx, e.InfoHash(), dir, fs.RawName(name))
}

// move shows a torrent in another folder, which is made if need be, under another
// name; it returns its path.
func (d *Daemon) move(ctx context.Context, ih weir.InfoHash, dir, raw string) (string, error) {
	dir, err := cleanFolder(dir)
	if err != nil {
		return "", err
	}
	if err := d.changing.take(ctx); err != nil {
		return "", err
	}
	e := d.byHash(ih)
	if e == nil {
		err = fmt.Errorf("torrent %s: %w", ih, weir.ErrNotFound)
	} else if err = d.makeFolders(dir); err == nil {
		err = d.moveEntry(e, dir, raw)
	}
	d.changing.give()
	if err != nil {
		return "", err
	}
	if err := d.record(ih); err != nil {
		return "", err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return e.path(), nil
}

// moveEntry is move for who has the turn to change, without the catalogue.
func (d *Daemon) moveEntry(e *entry, dir, raw string) error {
	shown, err := d.fs.Move(e.InfoHash(), dir, raw)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries.place(e, dir, shown)
	d.tell(api.Event{Kind: api.EventMoved, InfoHash: e.InfoHash().String(), Path: e.path()})
	return nil
}

// moveFolder gives a sorting folder, with all that is in it, another path.
func (d *Daemon) moveFolder(ctx context.Context, from, to string) error {
	to, err := cleanFolder(to)
	if err != nil {
		return err
	}
	if err := d.changing.take(ctx); err != nil {
		return err
	}
	changed, err := d.moveFolderNow(from, to)
	d.changing.give()
	errs := []error{err}
	for _, ih := range changed.torrents {
		errs = append(errs, d.record(ih))
	}
	for _, dir := range changed.folders {
		errs = append(errs, d.recordFolder(dir))
	}
	return errors.Join(errs...)
}

// changes are what has to be brought to the catalogue.
type changes struct {
	torrents []weir.InfoHash
	folders  []string
}

func (d *Daemon) moveFolderNow(from, to string) (changes, error) {
	var c changes
	if within(to, from) {
		return c, fmt.Errorf("%q can't be moved into itself, %q: %w", from, to, weir.ErrInvalid)
	}
	d.mu.RLock()
	_, there := d.entries.folders[from]
	_, taken := d.entries.folders[to]
	taken = taken || d.entries.byPath[to] != nil
	torrents := d.entries.under(from)
	var folders []string
	for dir := range d.entries.folders {
		if within(dir, from) {
			folders = append(folders, dir)
		}
	}
	d.mu.RUnlock()
	switch {
	case !there:
		return c, fmt.Errorf("no folder %q: %w", from, weir.ErrNotFound)
	case taken:
		return c, fmt.Errorf("%q is there already: choose another name: %w", to, weir.ErrExists)
	}
	if above, _ := splitPath(to); above != "" {
		if err := d.makeFolders(above); err != nil {
			return c, err
		}
	}
	if err := d.fs.MoveFolder(from, to); err != nil {
		return c, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	aboveFrom, _ := splitPath(from)
	aboveTo, _ := splitPath(to)
	d.entries.touch(aboveFrom)
	d.entries.touch(aboveTo)
	for _, dir := range folders {
		moved := to + strings.TrimPrefix(dir, from)
		delete(d.entries.folders, dir)
		d.entries.folders[moved] = struct{}{}
		c.folders = append(c.folders, dir, moved)
	}
	for _, e := range torrents {
		d.entries.place(e, to+strings.TrimPrefix(string(e.rec.Dir), from), string(e.rec.Shown))
		c.torrents = append(c.torrents, e.InfoHash())
		d.tell(api.Event{Kind: api.EventMoved, InfoHash: e.InfoHash().String(), Path: e.path()})
	}
	return c, nil
}

// makeFolders makes a sorting folder with those above it, as far as they are not
// there, in the tree and in the catalogue. The caller has the turn to change.
func (d *Daemon) makeFolders(dir string) error {
	if dir == "" {
		return nil
	}
	d.mu.RLock()
	_, there := d.entries.folders[dir]
	inside := d.entries.around(dir)
	d.mu.RUnlock()
	if there {
		return nil
	}
	if inside != nil {
		return fmt.Errorf("folder %q: %s is a torrent: choose another: %w", dir, inside.path(), weir.ErrInvalid)
	}
	above, _ := splitPath(dir)
	if err := d.makeFolders(above); err != nil {
		return err
	}
	if err := d.fs.MakeFolder(dir); err != nil {
		return err
	}
	d.mu.Lock()
	d.entries.folders[dir] = struct{}{}
	d.entries.touch(above)
	restoring := d.restoring
	d.mu.Unlock()
	if restoring {
		return nil
	}
	return d.recordFolder(dir)
}

// makeFolder makes one sorting folder.
func (d *Daemon) makeFolder(ctx context.Context, dir string) error {
	dir, err := cleanFolder(dir)
	if err != nil {
		return err
	}
	if err := d.changing.take(ctx); err != nil {
		return err
	}
	defer d.changing.give()
	d.mu.RLock()
	_, there := d.entries.folders[dir]
	d.mu.RUnlock()
	if there || dir == "" {
		return fmt.Errorf("folder %q: %w", dir, weir.ErrExists)
	}
	return d.makeFolders(dir)
}

// removeFolder removes an empty sorting folder. The error wraps weir.ErrInUse when
// there is something in it.
func (d *Daemon) removeFolder(ctx context.Context, dir string) error {
	if err := d.changing.take(ctx); err != nil {
		return err
	}
	defer d.changing.give()
	d.mu.RLock()
	_, there := d.entries.folders[dir]
	full := len(d.entries.under(dir)) > 0 || slices.ContainsFunc(d.entries.folderList(), func(f string) bool { return f != dir && within(f, dir) })
	d.mu.RUnlock()
	switch {
	case !there:
		return fmt.Errorf("no folder %q: %w", dir, weir.ErrNotFound)
	case full:
		return fmt.Errorf("folder %q is not empty: move or remove what is in it first: %w", dir, weir.ErrInUse)
	}
	if err := d.fs.RemoveFolder(dir); err != nil && !errors.Is(err, weir.ErrNotFound) {
		return err
	}
	d.mu.Lock()
	delete(d.entries.folders, dir)
	above, _ := splitPath(dir)
	d.entries.touch(above)
	d.mu.Unlock()
	return d.recordFolder(dir)
}

// folderList returns the sorting folders, in no order.
func (es *entries) folderList() []string {
	list := make([]string, 0, len(es.folders))
	for dir := range es.folders {
		list = append(list, dir)
	}
	return list
}
