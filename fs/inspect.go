package fs

import (
	"cmp"
	"path"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Who uses the mount, and where things are in it.

// Waiting returns the requests that wait for a torrent now, the longest waiting
// first.
func (f *FS) Waiting() []Wait {
	var all []Wait
	for _, w := range f.server.Waiting() {
		t, _ := f.root.torrentOf(w.Node)
		if t == nil {
			continue
		}
		wait := Wait{Torrent: t.ih, Path: f.root.torrentPath(t), Range: w.Range, PID: w.TID, Since: w.Since}
		if h := f.files.handles.get(w.Handle); h != nil && h.t == t {
			wait.Path = path.Join(wait.Path, h.path)
			wait.PID, wait.Program = h.by.PID, h.by.Program
		}
		if p, ok := f.files.processes.Of(w.TID, time.Now()); ok {
			wait.PID, wait.Program = p.PID, p.Name
		}
		all = append(all, wait)
	}
	slices.SortFunc(all, func(a, b Wait) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Range.Off, b.Range.Off)) })
	return all
}

// Handles returns the files of torrents that are open now, in the order in which
// they were opened.
func (f *FS) Handles() []HandleInfo {
	var all []HandleInfo
	for _, h := range f.files.handles.all() {
		if h.t != nil {
			all = append(all, HandleInfo{Torrent: h.t.ih, Path: path.Join(f.root.torrentPath(h.t), h.path), PID: h.by.PID, Program: h.by.Program, Opened: h.opened, Ahead: h.file.Ahead()})
		}
	}
	slices.SortFunc(all, func(a, b HandleInfo) int { return a.Opened.Compare(b.Opened) })
	return all
}

// IsFolder reports whether there is a sorting folder at dir, "" for the root.
func (f *FS) IsFolder(dir string) bool {
	f.root.mu.RLock()
	defer f.root.mu.RUnlock()
	_, err := f.root.find(dir)
	return err == nil
}

// Folders returns the paths of all sorting folders but the root, each before those in
// it.
func (f *FS) Folders() []string { return f.root.folders() }

// Beneath returns the torrents in a sorting folder and in those below it, "" for the
// root; none if it is not there.
func (f *FS) Beneath(dir string) []weir.InfoHash { return f.root.hashesBeneath(dir) }

// TorrentAt returns the torrent whose folder a path beneath the mount is or lies in, and the
// folder's path.
func (f *FS) TorrentAt(path string) (ih weir.InfoHash, at string, ok bool) {
	return f.root.torrentAt(path)
}

// Located is what a path beneath a torrent's folder leads to.
type Located struct {
	Path  string   // as it is shown, links followed; "" is the torrent's folder
	Names []string // as FileInfo.Path has them
	Files []int    // indexes into Info().Files of the file, or of those in and beneath the folder, ascending
}

// Locate finds a path beneath a torrent's folder by the names that the mount shows: escaped,
// numbered where two would be the same, links followed. It does not wait, but builds the
// tree if need be. The error wraps weir.ErrNotFound if nothing is there, or the metadata is
// unknown.
func (f *FS) Locate(ih weir.InfoHash, path string) (Located, error) {
	tor := f.root.byInfoHash(ih)
	if tor == nil {
		return Located{}, weir.Errorf(weir.ErrNotFound, "no torrent has the info hash %s", ih)
	}
	t := tor.heldTree()
	if t == nil {
		info := tor.src.Info()
		if info == nil {
			return Located{}, weir.Errorf(weir.ErrNotFound, "the metadata of torrent %s has not arrived yet", ih)
		}
		var err error
		if t, err = newTorrentTree(info); err != nil {
			return Located{}, err
		}
	}
	n, ok := t.Walk(path)
	if !ok {
		return Located{}, weir.Errorf(weir.ErrNotFound, "nothing in %q is called %q", f.root.torrentPath(tor), path)
	}
	at := Located{Names: t.InfoPath(n)}
	if n != 0 {
		at.Path = t.Path(n)
	}
	t.FilesUnder(n, func(file int) bool {
		at.Files = append(at.Files, file)
		return true
	})
	slices.Sort(at.Files)
	return at, nil
}
