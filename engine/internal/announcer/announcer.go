// Package announcer knows of each torrent what there is to announce: where its trackers
// are, what we lack of it, and whether it is announced at all while nobody uses it. A
// torrent that is held goes on being announced then, without a swarm.
//
// When and where is decided in discover, for all torrents together. Pieces and peers do
// not belong here.
package announcer

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover"
	"github.com/weirfs/weir/engine/source"
)

// Options are what a Torrent is told of itself. All are required. The functions may be
// called by any goroutine.
type Options struct {
	InfoHash weir.InfoHash
	Names    func() source.Names
	// Info returns the metadata, nil while it is not known; it may read the Store.
	Info func() *weir.TorrentInfo
	// Ready reports whether Info and Held answer without making the caller wait.
	Ready func() bool
	// Held tells which of the torrent's n pieces are stored.
	Held func(ih weir.InfoHash, n int) []bool
	// Downloaded and Uploaded return the bytes that we got and gave since it was added.
	Downloaded, Uploaded func() int64
	Done                 context.Context // ends with the torrent
	// Discoverer returns nil while there is none.
	Discoverer func() *discover.Discoverer
}

// Torrent is one torrent for those who announce it. It is safe for concurrent use.
type Torrent struct {
	o Options

	declined atomic.Bool // it is not announced while nobody uses it
	outline  atomic.Pointer[outline]

	mu        sync.Mutex
	trackers  [][]string
	presences map[weir.InfoHash]*discover.Presence
}

var _ discover.Held = (*Torrent)(nil)

// New returns a Torrent that is announced when it is held.
func New(o Options) *Torrent {
	return &Torrent{o: o, presences: map[weir.InfoHash]*discover.Presence{}}
}

// AddTrackers adds trackers that are not known yet, as tiers of their own.
func (t *Torrent) AddTrackers(trackers [][]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var added [][]string
	for _, tier := range trackers {
		tier = slices.DeleteFunc(slices.Clone(tier), func(u string) bool {
			return slices.ContainsFunc(t.trackers, func(known []string) bool { return slices.Contains(known, u) })
		})
		if len(tier) > 0 {
			added = append(added, tier)
			t.trackers = append(t.trackers, tier)
		}
	}
	for _, p := range t.presences {
		p.AddTrackers(added)
	}
}

// Presence is what the trackers know of us under one of the torrent's info hashes.
func (t *Torrent) Presence(ih weir.InfoHash) *discover.Presence {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.presences[ih]
	if p == nil {
		p = discover.NewPresence(ih, t.trackers)
		t.presences[ih] = p
	}
	return p
}
