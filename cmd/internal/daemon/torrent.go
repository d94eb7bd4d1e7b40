package daemon

import (
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/catalogue"
	"github.com/weirfs/weir/cmd/internal/store"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/reader"
)

// torrent shows one of the engine's torrents to fs. The store says what is held, and files
// are read through reader.
type torrent struct {
	*engine.Torrent
	added   time.Time
	store   *store.Store
	readers *readers
	files   *reader.Torrent // that are open
	// shape is known without loading the metadata; nil before the first metadata.
	shape atomic.Pointer[shape]
}

var _ fs.Torrent = (*torrent)(nil)

func newTorrent(t *engine.Torrent, added time.Time, st *store.Store, r *readers) *torrent {
	return &torrent{Torrent: t, added: added, store: st, readers: r, files: reader.NewTorrent(st, swarm{t}, r.budget)}
}

// shape is the sizes of a torrent.
type shape struct {
	fs.Outline  // without Held
	pieceLength int64
	skeleton    *weir.TorrentInfo // pieces of equal length, padding included, no files
	blank       int64             // bytes of pieces that are all padding
}

func newShape(s *catalogue.Shape, ih weir.InfoHash) *shape {
	return &shape{
		Outline: fs.Outline{Length: s.Size, Files: s.Files, Created: s.Created}, pieceLength: s.PieceLength,
		skeleton: &weir.TorrentInfo{InfoHash: ih, PieceLength: s.PieceLength, Length: s.Length}, blank: s.Blank,
	}
}

// known returns the shape, also if the metadata has only just arrived.
func (t *torrent) known() *shape {
	if s := t.shape.Load(); s != nil {
		return s
	}
	info := t.Info()
	if info == nil {
		return nil
	}
	t.shape.CompareAndSwap(nil, newShape(catalogue.NewShape(info), t.InfoHash()))
	return t.shape.Load()
}

// Added implements fs.Torrent.
func (t *torrent) Added() time.Time { return t.added }

// Outline implements fs.Torrent.
func (t *torrent) Outline() (fs.Outline, bool) {
	s := t.known()
	if s == nil {
		return fs.Outline{}, false
	}
	o := s.Outline
	o.Held = t.held(s)
	return o, true
}

// held returns how many bytes of the files are held. Of a torrent with padding,
// whose pieces hold less than their length, it is an estimate while the metadata is
// not in memory and some are missing.
func (t *torrent) held(s *shape) int64 {
	all := weir.Range{End: s.skeleton.Length}
	covered := t.store.HeldBytes(s.skeleton, all)
	switch {
	case s.Length == all.End:
		return covered
	case covered+s.blank >= all.End:
		return s.Length
	}
	if info := t.LoadedInfo(); info != nil {
		return t.store.HeldBytes(info, all)
	}
	return s.content(covered)
}

// content estimates the bytes of files in so many bytes of pieces.
func (s *shape) content(bytes int64) int64 {
	if s.Length == s.skeleton.Length || bytes <= 0 {
		return bytes
	}
	return int64(float64(s.Length) * min(1, float64(bytes)/float64(s.skeleton.Length-s.blank)))
}

// HeldBytes implements fs.Torrent.
func (t *torrent) HeldBytes(r weir.Range) int64 {
	info := t.Info()
	if info == nil {
		return 0
	}
	return t.store.HeldBytes(info, r)
}

// Status implements fs.Torrent.
func (t *torrent) Status(weir.Range) fs.Status {
	s := t.Stats()
	return fs.Status{Peers: s.Peers, Seeds: s.Seeds, Availability: s.Availability, State: string(t.state(s)), Wait: s.Why, WebSeeds: webSeedLines(s.WebSeeds)}
}

// OpenFile implements fs.Torrent.
func (t *torrent) OpenFile(index int, by fs.Opener) (fs.File, error) {
	info := t.Info()
	if info == nil {
		return nil, weir.Errorf(weir.ErrNotFound, "open file %d: the metadata has not arrived yet", index)
	}
	return t.readers.open(t.files, info, index, by)
}

// swarm shows one of the engine's torrents to reader.
type swarm struct{ *engine.Torrent }

func (s swarm) NewWant() reader.Want { return s.Torrent.NewWant() }
