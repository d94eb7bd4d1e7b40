package reader

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
)

// Torrent is what the open files of one torrent have in common: the swarm they
// read from, and the order in which files are opened. It is cheap to keep: what it
// knows is dropped when nothing was open for half a minute. It is safe for
// concurrent use.
type Torrent struct {
	cache  Cache
	swarm  Swarm
	budget *Budget
	wanted wanted

	mu      sync.Mutex
	info    *weir.TorrentInfo // nil while nothing is open, nor was shortly before
	open    int               // handles
	crowds  map[int]*crowd    // of files that are open
	walks   []*walking        // the one that went on last first
	listed  *order            // of info, once somebody needed it
	sorting bool              // listed is being made
	forget  *time.Timer       // runs while nothing is open
	closed  bool

	background sync.WaitGroup // the sorting of files
}

// walking is a walk with its window and its clock.
type walking struct {
	pace // of the handles in it
	t    *Torrent

	// Guarded by t.mu.
	walk   walk
	stream stream
	hidden bool // the window was taken back because the reader has stopped
	timer  *time.Timer
}

// pace tells when something was read last. It is shared by the handles of a walk
// without a lock: a value that is lost does no harm.
type pace struct {
	last    atomic.Int64 // nanoseconds of Unix time
	gap     atomic.Int64 // nanoseconds; see nextGap
	waiting atomic.Int32 // reads that wait for the swarm
}

func (p *pace) touch(now time.Time) {
	at := now.UnixNano()
	if last := p.last.Swap(at); last != 0 && p.waiting.Load() == 0 {
		p.gap.Store(int64(nextGap(time.Duration(p.gap.Load()), time.Duration(at-last))))
	}
}

// left returns for how long the reader may still be silent.
func (p *pace) left(now time.Time) time.Duration {
	most := grace(time.Duration(p.gap.Load()))
	if p.waiting.Load() > 0 {
		return most
	}
	return most - now.Sub(time.Unix(0, p.last.Load()))
}

const (
	// mostWalks is how many walks through a torrent are followed at once.
	mostWalks = 4
	// forgetTime is for how long it is remembered how files were read one after
	// another. Nothing is wanted meanwhile.
	forgetTime = 30 * time.Second
	// reportBytes is how often a handle tells its walk.
	reportBytes = 1 << 20
)

// NewTorrent returns a Torrent that reads through cache from swarm, with windows
// out of budget, which all torrents share.
func NewTorrent(cache Cache, swarm Swarm, budget *Budget) *Torrent {
	return &Torrent{cache: cache, swarm: swarm, budget: budget, wanted: wanted{pieces: map[int]charge{}}, crowds: map[int]*crowd{}}
}

// Open opens the file at index file of info.Files. It does no I/O and wants
// nothing yet. The error wraps weir.ErrRefused if access says so, weir.ErrInvalid
// if there is no such file, and weir.ErrClosed after Close.
func (t *Torrent) Open(info *weir.TorrentInfo, file int, access Access) (*Handle, error) {
	if file < 0 || file >= len(info.Files) {
		return nil, weir.Errorf(weir.ErrInvalid, "open file %d: the torrent has %d", file, len(info.Files))
	}
	if access == Refused {
		return nil, fmt.Errorf("open file %d for a quiet reader: %w", file, weir.ErrRefused)
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
	h.follower = t.follow(h.file, h.idle)
	c := t.crowds[file]
	if c == nil {
		c = &crowd{}
		c.follower = t.follow(h.file, c.idle)
		t.crowds[file] = c
	}
	c.handles++
	c.several.Store(c.handles > 1)
	h.crowd = c
	return h, nil
}

func (t *Torrent) follow(f *weir.FileInfo, onIdle func()) follower {
	p := newPolicy(f.Length, t.info.PieceLength, t.budget.total)
	head, _ := t.info.Pieces(weir.Range{Off: f.Offset, End: f.Offset + f.Length})
	p.looked = f.Length > 0 && t.cache.Has(weir.PieceID{Torrent: t.info.InfoHash, Index: head})
	return follower{policy: p, stream: t.newStream(), base: f.Offset, onIdle: onIdle}
}

func (t *Torrent) newStream() stream {
	return stream{info: t.info, cache: t.cache, swarm: t.swarm, wanted: &t.wanted, share: share{b: t.budget}}
}

// Close takes back what was wanted over the borders of files. Handles stay
// usable until they are closed themselves. It may be called more than once.
func (t *Torrent) Close() {
	t.mu.Lock()
	t.closed = true
	t.drop()
	t.mu.Unlock()
	t.background.Wait()
}

// drop forgets everything but the open handles.
func (t *Torrent) drop() {
	for _, w := range t.walks {
		w.close()
	}
	t.walks, t.listed = nil, nil
	if t.forget != nil {
		t.forget.Stop()
		t.forget = nil
	}
	if t.open == 0 {
		t.info = nil
	}
}

// enter is called with the first read of a file. It returns the walk that the
// file belongs to, and if that is well under way how much was read in it so far and
// how fast.
func (t *Torrent) enter(file int) (w *walking, bytes int64, rate float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, 0, 0
	}
	for i, w := range t.walks {
		if !w.walk.enter(file) {
			continue
		}
		copy(t.walks[1:i+1], t.walks[:i])
		t.walks[0] = w
		if _, all := w.walk.depth(); all && w.walk.open() {
			return w, w.walk.bytes, w.walk.meter.rate
		}
		return w, 0, 0
	}
	o := torrentOrder(t.info)
	if t.rises(file) {
		o = t.listed
	}
	w = &walking{t: t, walk: *newWalk(o, file), stream: t.newStream()}
	if len(t.walks) > 0 {
		w.walk.rise = t.walks[0].walk.rise
	}
	if len(t.walks) == mostWalks {
		t.walks[mostWalks-1].close()
		t.walks = t.walks[:mostWalks-1]
	}
	t.walks = append(t.walks, nil)
	copy(t.walks[1:], t.walks)
	t.walks[0] = w
	return w, 0, 0
}

// rises reports whether a file that continues no walk had better be looked at in
// the order of the listing, and has that made if need be, on a goroutine.
func (t *Torrent) rises(file int) bool {
	if len(t.walks) == 0 || !t.walks[0].walk.rises(t.info, file) {
		return false
	}
	if t.listed == nil && !t.sorting {
		t.sorting = true
		info := t.info
		t.background.Go(func() {
			o := listedOrder(info)
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

// progress says that n more bytes of a file of the walk were read, so many of it
// in all.
func (w *walking) progress(now time.Time, file int, read, n int64) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	w.walk.read(now, file, read, n)
	if w.t.closed || !w.walk.open() {
		return
	}
	if w.hidden || w.walk.due() || w.stream.short() {
		w.show(now)
	}
}

func (w *walking) show(now time.Time) {
	var room [mostRanges]weir.Range
	w.stream.show(w.walk.windows(room[:0]))
	w.hidden = false
	if len(w.stream.shown) == 0 {
		return
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(w.left(now), w.idle)
	} else {
		w.timer.Reset(w.left(now))
	}
}

// idle takes the window back when nothing was read for a while.
func (w *walking) idle() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if len(w.stream.shown) == 0 {
		return
	}
	if left := w.left(time.Now()); left > 0 {
		w.timer.Reset(left)
		return
	}
	w.stream.hide()
	w.hidden = true
}

func (w *walking) close() {
	w.stream.close()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// leave is called when a handle is closed. The window of its walk stays while
// somebody reads on.
func (t *Torrent) leave(h *Handle, w *walking, read int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w != nil {
		w.walk.leave(read, h.file.Length)
	}
	if h.crowd.handles--; h.crowd.handles == 0 {
		delete(t.crowds, h.index)
		h.crowd.mu.Lock()
		h.crowd.end()
		h.crowd.mu.Unlock()
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
