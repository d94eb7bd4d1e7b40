package daemon

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/catalogue"
	"github.com/weirfs/weir/engine"
)

// entry is one torrent of the mount. The torrent may be used without a lock; the other
// fields are guarded by torrents.mu.
type entry struct {
	*torrent
	rec  catalogue.Record
	pins *engine.Want // fetches what is pinned and missing; nil when nothing is
	// awaiting is set while pins wait for the metadata.
	awaiting *awaiting

	heldChangedSinceLook atomic.Bool // pieces came or went since observer looked last
	pinning              sync.Mutex  // held while pins is set; taken before torrents.mu
	pinsChanged          atomic.Bool // the pins did, or a pinned piece went
	stuck                string      // why, as of the last event; for observer only
}

// path returns where the torrent's folder is in the mount.
func (e *entry) path() string { return path.Join(string(e.rec.Dir), string(e.rec.Shown)) }

// entries are all torrents, guarded by torrents.mu. The tree of the mount knows where they
// are, and which folders there are; changes there are recorded here under the same lock.
type entries struct {
	byHash         map[weir.InfoHash]*entry
	changedFolders map[string]struct{} // their times of change are not in the catalogue yet
	lastSeq        uint64
}

func newEntries() entries {
	return entries{byHash: map[weir.InfoHash]*entry{}, changedFolders: map[string]struct{}{}}
}

func (es *entries) add(e *entry) {
	if e.rec.Seq == 0 {
		e.rec.Seq = es.lastSeq + 1
	}
	es.lastSeq = max(es.lastSeq, e.rec.Seq)
	es.byHash[e.InfoHash()] = e
	es.markChanged(string(e.rec.Dir))
}

// markChanged records that something was added to a sorting folder or removed.
func (es *entries) markChanged(dir string) { es.changedFolders[dir] = struct{}{} }

func (es *entries) remove(e *entry) {
	es.markChanged(string(e.rec.Dir))
	delete(es.byHash, e.InfoHash())
}

// moved records that a torrent is shown elsewhere.
func (es *entries) moved(e *entry, dir, shown string) {
	es.markChanged(string(e.rec.Dir))
	es.markChanged(dir)
	e.rec.Dir, e.rec.Shown = []byte(dir), []byte(shown)
}

// under returns the torrents in and beneath a sorting folder, in the order in
// which they were added; all of them for "". The caller has mu.
func (ts *torrents) under(dir string) []*entry {
	var list []*entry
	for _, ih := range ts.fs.Beneath(dir) {
		if e := ts.entries.byHash[ih]; e != nil {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.rec.Seq, b.rec.Seq) })
	return list
}

// within reports whether a path is dir or lies beneath it.
func within(p, dir string) bool {
	return dir == "" || p == dir || strings.HasPrefix(p, dir) && p[len(dir)] == '/'
}

// list returns all torrents, in the order in which they were added.
func (ts *torrents) list() []*entry {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return ts.under("")
}

// byHash returns nil if there is no such torrent.
func (ts *torrents) byHash(ih weir.InfoHash) *entry {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return ts.entries.byHash[ih]
}

// lookup returns the torrent with an info hash or the path of a folder. A folder
// wins over an info hash.
func (ts *torrents) lookup(id string) (*entry, error) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	in, at, inside := ts.fs.TorrentAt(id)
	if e := ts.entries.byHash[in]; e != nil && at == id {
		return e, nil
	}
	if ih, err := weir.ParseInfoHash(id); err == nil {
		if e := ts.entries.byHash[ih]; e != nil {
			return e, nil
		}
	}
	switch {
	case ts.fs.IsFolder(id):
		return nil, weir.Errorf(weir.ErrInvalid, "%q is a folder of torrents, not a torrent", id)
	case inside:
		return nil, weir.Errorf(weir.ErrInvalid, "%q is inside a torrent: name the torrent's folder", id)
	}
	return nil, weir.Errorf(weir.ErrNotFound, "no torrent %q: weir ls shows which there are", id)
}

// containing returns the torrent that a path is or lies in, or nil. The caller has mu.
func (ts *torrents) containing(p string) *entry {
	ih, _, ok := ts.fs.TorrentAt(p)
	if !ok {
		return nil
	}
	return ts.entries.byHash[ih]
}
