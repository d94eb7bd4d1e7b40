package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/inplace"
	"github.com/weirfs/weir/engine/source"
)

// Serve implements control.Mount: it shows a torrent whose content lies in files of this
// machine, which are served in place. Without a torrent it says whether it could.
func (ts *torrents) Serve(ctx context.Context, files string, r api.ServeRequest, into string) (api.Added, error) {
	into, err := cleanFolder(into)
	if err != nil {
		return api.Added{}, err
	}
	if err := ts.readable(files); err != nil {
		return api.Added{}, err
	}
	if len(r.Torrent) == 0 {
		return api.Added{}, nil
	}
	spec, err := source.ParseTorrent(r.Torrent)
	if err != nil {
		return api.Added{}, err
	}
	if n := (spec.Info.NumPieces() + 7) / 8; len(r.Missing) > n {
		return api.Added{}, weir.Errorf(weir.ErrInvalid, "missing: %d bytes for %d pieces, want %d at most", len(r.Missing), spec.Info.NumPieces(), n)
	}
	e, known, err := ts.show(ctx, spec, into, false)
	if err != nil {
		return api.Added{}, err
	}
	ts.serve(e.torrent.Torrent, files, r.Missing)
	ts.mu.Lock()
	e.rec.Files, e.rec.Missing = []byte(files), r.Missing
	ts.mu.Unlock()
	e.Rescan()
	e.heldChangedSinceLook.Store(true)
	ts.fs.HeldChanged(e.InfoHash(), weir.Range{End: spec.Info.Length})
	if err := e.Warm(); err != nil {
		return api.Added{}, err
	}
	if err := ts.record(e.InfoHash()); err != nil {
		return api.Added{}, fmt.Errorf("%s is served, but will be gone after a restart: %w", e.path(), err)
	}
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return api.Added{InfoHash: e.InfoHash().String(), Path: e.path(), Known: known}, nil
}

// readable reports why files can't be served from a path, nil if they can.
func (ts *torrents) readable(root string) error {
	if !filepath.IsAbs(root) {
		return weir.Errorf(weir.ErrInvalid, "files %q: want an absolute path", root)
	}
	if rel, err := filepath.Rel(ts.mountpoint, root); err == nil && filepath.IsLocal(rel) {
		return weir.Errorf(weir.ErrInvalid, "%s lies in the mount itself", root)
	}
	f, err := os.Open(root)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return weir.Errorf(weir.ErrRefused, "the mount may not read %s: mount with --serve-from %s, so that its sandbox lets it, or with --sandbox=false", root, root)
	case err != nil:
		return err
	}
	return f.Close()
}

// serve has a torrent read from files.
func (ts *torrents) serve(t *engine.Torrent, root string, missing inplace.Bits) {
	ih := t.InfoHash()
	ts.store.Serve(ih, inplace.Options{
		Root: root, Info: t.Info, Check: t.CheckPiece, Missing: missing,
		Lost: func(index int) { ts.heldChanged(weir.PieceID{Torrent: ih, Index: index}, false) },
	})
}

// lookAtFiles looks again at files that are served in place and had changed.
func (ts *torrents) lookAtFiles() {
	for _, ih := range ts.store.Served() {
		content, e := ts.store.Files(ih), ts.byHash(ih)
		if content == nil || e == nil {
			continue
		}
		found := content.Look()
		if len(found) == 0 {
			continue
		}
		e.Rescan()
		for _, index := range found {
			ts.heldChanged(weir.PieceID{Torrent: ih, Index: index}, true)
		}
	}
}

// Served returns the folders and files that are served in place.
func (d *Daemon) Served() []string {
	var roots []string
	for _, e := range d.torrents.list() {
		if files := d.store.Files(e.InfoHash()); files != nil {
			roots = append(roots, files.Root())
		}
	}
	return roots
}

// describeFiles says where a torrent's files are served from, and what is wrong with them.
func (v *view) describeFiles(out *api.PathStatus, e *entry) {
	files := e.store.Files(e.InfoHash())
	if files == nil {
		return
	}
	out.InPlace = files.Root()
	for _, p := range files.Problems() {
		out.Changed = append(out.Changed, api.ChangedFile{Path: p.Path, Why: p.Why})
	}
}
