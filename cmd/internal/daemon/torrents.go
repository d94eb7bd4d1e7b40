package daemon

import (
	"cmp"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/catalogue"
	"github.com/weirfs/weir/cmd/internal/sharing"
	"github.com/weirfs/weir/cmd/internal/sources"
	"github.com/weirfs/weir/cmd/internal/store"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/fs"
)

// torrents are the torrents and sorting folders of the mount. They are added, removed and
// moved here: in the engine, in the tree of the mount and in the catalogue.
type torrents struct {
	fs      *fs.FS
	readers *readers
	events  *events
	load    sources.Loaders
	log     *slog.Logger
	// mountpoint is the mount's path, absolute.
	mountpoint string

	// Set by Daemon.Open before any torrent is shown.
	store     *store.Store
	engine    *engine.Engine
	catalogue *catalogue.Catalogue
	sharing   *sharing.Sharing
	pinned    func(weir.InfoHash) (runs [][2]int)

	// changing is held by whoever changes which torrents are shown and where. It is
	// taken before the catalogue's lock, and that before mu.
	changing token

	mu        sync.RWMutex
	restoring bool // the catalogue is being read, so what is shown is in it
	entries   entries
	removed   totals // of torrents that are not shown any more
}

// count returns how many torrents are shown.
func (ts *torrents) count() int {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return len(ts.entries.byHash)
}

// find returns the torrents that a path names, and the rest of the path when it
// goes on inside of one.
func (ts *torrents) find(p string) (list []*entry, inside string, err error) {
	p = strings.Trim(p, "/")
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	if e := ts.containing(p); e != nil {
		return []*entry{e}, strings.Trim(strings.TrimPrefix(p, e.path()), "/"), nil
	}
	if ts.fs.IsFolder(p) {
		return ts.under(p), "", nil
	}
	if ih, err := weir.ParseInfoHash(p); err == nil && ts.entries.byHash[ih] != nil {
		return []*entry{ts.entries.byHash[ih]}, "", nil
	}
	return nil, "", weir.Errorf(weir.ErrNotFound, "nothing in the mount is called %q", p)
}

// reason says in words why a torrent makes no progress, "" if it does.
func (ts *torrents) reason(ih weir.InfoHash) string {
	e := ts.byHash(ih)
	if e == nil {
		return ""
	}
	return e.Stats().Why
}

// heldChanged is called by the cache for each piece that came or went. It informs the
// mount, and the swarm of evicted pieces.
func (ts *torrents) heldChanged(id weir.PieceID, held bool) {
	e := ts.byHash(id.Torrent)
	if e == nil {
		return // of a torrent that is not mounted now
	}
	if !held {
		e.Evicted(id.Index)
	}
	e.heldChangedSinceLook.Store(true)
	// By the shape: a cold torrent's metadata is not read for this.
	s := e.shape.Load()
	if s == nil {
		return
	}
	if piece, _, ok := s.skeleton.BlockOf(id.Index); ok {
		ts.fs.HeldChanged(id.Torrent, s.skeleton.PieceRange(piece))
	} else if id.Index < s.skeleton.NumPieces() {
		ts.fs.HeldChanged(id.Torrent, s.skeleton.PieceRange(id.Index))
	}
}

// sharedEntry is an entry for those who decide whether it is given to whoever asks.
type sharedEntry struct {
	*entry
	torrents *torrents
}

var _ sharing.Torrent = sharedEntry{}

// Exchanged implements sharing.Torrent.
func (s sharedEntry) Exchanged() (uploaded, downloaded int64) {
	stats := s.Stats()
	return stats.Uploaded, stats.Downloaded
}

// Share implements sharing.Torrent.
func (s sharedEntry) Share() (f sharing.Facts, own *catalogue.Sharing) {
	// Who has files served from where they lie wants them to be found.
	f.Pinned = len(s.torrents.pinned(s.InfoHash())) > 0 || s.store.Files(s.InfoHash()) != nil
	s.torrents.mu.RLock()
	defer s.torrents.mu.RUnlock()
	if sh := s.known(); sh != nil {
		f.Have = s.held(sh)
		f.Complete = f.Have >= sh.Length
	}
	return f, s.rec.Sharing
}

// look decides anew whether the torrent is given to whoever asks.
func (s sharedEntry) look() { s.torrents.sharing.Look(s, time.Now()) }

// settings are what holds for a torrent. The caller has torrents.mu.
func (e *entry) settings(s *sharing.Sharing) api.Sharing {
	p := s.Policy(e.rec.Sharing)
	out := api.Sharing{Seed: cmp.Or(p.Seed, sharing.SeedAll), Ratio: p.Ratio, SeedSeconds: int64(p.Time / time.Second)}
	if own := e.rec.Sharing; own != nil {
		out.UploadRate, out.DownloadRate = own.UploadRate, own.DownloadRate
	}
	return out
}

// learnShape records the sizes of a magnet's torrent once its metadata has arrived.
func (ts *torrents) learnShape(e *entry) {
	ts.mu.RLock()
	had := e.rec.Shape != nil
	ts.mu.RUnlock()
	if had {
		return
	}
	s := e.known()
	if s == nil {
		return
	}
	info := e.Info()
	if info == nil {
		return
	}
	ts.mu.Lock()
	e.rec.Shape = catalogue.NewShape(info)
	e.rec.Shape.Created = s.Created
	ts.mu.Unlock()
	ts.events.publish(ts.event(api.EventMetadata, e))
	if err := ts.record(e.InfoHash()); err != nil {
		ts.log.Warn("can't record a torrent's metadata in the catalogue", "torrent", e.InfoHash(), "err", err)
	}
}

// event returns an event about a torrent.
func (ts *torrents) event(kind api.EventKind, e *entry) api.Event {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return api.Event{Kind: kind, InfoHash: e.InfoHash().String(), Path: e.path(), SizeBytes: e.rec.Size(), HaveBytes: e.have()}
}
