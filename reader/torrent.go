package reader

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader/internal/policy"
)

// Torrent is what the open files of one torrent have in common: the swarm they read from,
// and the sequences of files. These are dropped when nothing was open for half a minute,
// so a Torrent takes little memory. It is safe for concurrent use.
type Torrent struct {
	cache  Cache
	swarm  Swarm
	budget *Budget
	wanted wanted

	mu        sync.Mutex
	info      *weir.TorrentInfo    // nil if nothing is open, or was in the last half minute
	open      int                  // handles
	readers   map[int]*fileReaders // by file, of the open ones
	sequences []*fileSequence      // the latest one first
	listed    *policy.Order        // of info; made when it is needed
	sorting   bool                 // listed is being made
	forget    *time.Timer          // runs while nothing is open
	closed    bool

	background sync.WaitGroup // the sorting of files
}

const (
	// maxSequences is how many sequences of files are followed at once in a torrent.
	maxSequences = 4
	// forgetTime is how long sequences are kept when no file is open. Nothing is wanted
	// then.
	forgetTime = 30 * time.Second
	// reportBytes is how many bytes a handle reads between two reports to its sequence.
	reportBytes = 1 << 20
)

// NewTorrent returns a Torrent that reads from cache and swarm. Its windows use budget,
// which all torrents share.
func NewTorrent(cache Cache, swarm Swarm, budget *Budget) *Torrent {
	return &Torrent{cache: cache, swarm: swarm, budget: budget, wanted: wanted{pieces: map[int]charge{}}, readers: map[int]*fileReaders{}}
}

// Open opens the file at index file of info.Files. It does no I/O and wants
// nothing yet. The error wraps weir.ErrRefused if access says so, weir.ErrInvalid
// if there is no such file, and weir.ErrClosed after Close.
func (t *Torrent) Open(info *weir.TorrentInfo, file int, access Access) (*Handle, error) {
	if file < 0 || file >= len(info.Files) {
		return nil, weir.Errorf(weir.ErrInvalid, "open file %d: the torrent has %d", file, len(info.Files))
	}
	if access == Refused {
		return nil, fmt.Errorf("open file %d for a restricted program: %w", file, weir.ErrRefused)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, weir.ErrClosed
	}
	t.open++
	if t.info == nil {
		t.info = info
	}
	if t.forget != nil {
		t.forget.Stop()
		t.forget = nil
	}
	h := &Handle{t: t, info: t.info, index: file, file: &t.info.Files[file], access: access}
	h.follower = t.newFollower(h.file, h.idle)
	r := t.readers[file]
	if r == nil {
		r = &fileReaders{}
		r.follower = t.newFollower(h.file, r.idle)
		t.readers[file] = r
	}
	r.handles++
	r.several.Store(r.handles > 1)
	h.shared = r
	return h, nil
}

func (t *Torrent) newFollower(f *weir.FileInfo, onIdle func()) follower {
	head, _ := t.info.Pieces(f.Range())
	headHeld := f.Length > 0 && t.cache.Has(weir.PieceID{Torrent: t.info.InfoHash, Index: head})
	p := policy.NewPattern(f.Length, t.info.PieceLength, t.budget.total, headHeld)
	return follower{pattern: p, window: t.newWindow(), base: f.Offset, onIdle: onIdle}
}

func (t *Torrent) newWindow() window {
	return window{info: t.info, cache: t.cache, swarm: t.swarm, wanted: &t.wanted, share: share{b: t.budget}}
}

// Close withdraws the windows of sequences. Handles stay usable until they are closed
// themselves. It may be called more than once.
func (t *Torrent) Close() {
	t.mu.Lock()
	t.closed = true
	t.drop()
	t.mu.Unlock()
	t.background.Wait()
}

// drop forgets everything but the open handles.
func (t *Torrent) drop() {
	for _, s := range t.sequences {
		s.close()
	}
	t.sequences, t.listed = nil, nil
	if t.forget != nil {
		t.forget.Stop()
		t.forget = nil
	}
	if t.open == 0 {
		t.info = nil
	}
}

// enter is called with the first read of a file. It returns the sequence that the
// file belongs to, and what the reader has proven in it (see policy.Sequence.Proven).
func (t *Torrent) enter(file int) (s *fileSequence, bytes int64, rate float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, 0, 0
	}
	for i, s := range t.sequences {
		if s.policy.Enter(file) {
			copy(t.sequences[1:i+1], t.sequences[:i])
			t.sequences[0] = s
			bytes, rate = s.policy.Proven()
			return s, bytes, rate
		}
	}
	o := policy.TorrentOrder(t.info)
	if t.useListedOrder(file) {
		o = t.listed
	}
	var before *policy.Sequence
	if len(t.sequences) > 0 {
		before = t.sequences[0].policy
	}
	if len(t.sequences) == maxSequences {
		t.sequences[maxSequences-1].close()
		t.sequences = t.sequences[:maxSequences-1]
	}
	s = &fileSequence{t: t, policy: policy.NewSequence(o, file, before), window: t.newWindow()}
	t.sequences = slices.Insert(t.sequences, 0, s)
	return s, 0, 0
}

// useListedOrder reports whether a file that continues no sequence should begin one in the
// order of a listing. If that order is not known yet, a goroutine makes it.
func (t *Torrent) useListedOrder(file int) bool {
	if len(t.sequences) == 0 || !t.sequences[0].policy.FollowsListing(file) {
		return false
	}
	if t.listed == nil && !t.sorting {
		t.sorting = true
		info := t.info
		t.background.Go(func() {
			o := policy.ListedOrder(info)
			t.mu.Lock()
			defer t.mu.Unlock()
			t.sorting = false
			if t.info == info && !t.closed {
				t.listed = o
			}
		})
	}
	return t.listed != nil
}

// leave is called when a handle is closed. The window of its sequence stays while
// other files of it are read.
func (t *Torrent) leave(h *Handle, s *fileSequence, read int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s != nil {
		s.policy.Leave(read, h.file.Length)
	}
	if h.shared.handles--; h.shared.handles == 0 {
		delete(t.readers, h.index)
		h.shared.mu.Lock()
		h.shared.end()
		h.shared.mu.Unlock()
	}
	if t.open--; t.open > 0 {
		return
	}
	if t.closed {
		t.info = nil
		return
	}
	t.forget = time.AfterFunc(forgetTime, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.open == 0 {
			t.drop()
		}
	})
}
