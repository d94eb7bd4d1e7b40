// Package reader is one open file: it follows how the file is read, decides how
// far ahead to want (a window, published to the swarm), and answers each read
// from the cache, or else from the swarm.
//
// The decision is a pure function of past reads (policy.go). Nothing here knows
// of FUSE, of badger or of peers: the cache and the swarm are interfaces, and
// offsets are file offsets on one side and torrent coordinates on the other.
package reader

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weirfs/weir"
)

// Cache serves verified pieces that are held locally.
type Cache interface {
	// View calls use with exactly n bytes of the piece at off, if they are held,
	// and reports whether it did. The bytes are valid during the call only.
	View(id weir.PieceID, off int64, n int, use func([]byte)) (bool, error)
}

// Swarm is one torrent's swarm.
type Swarm interface {
	// ReadAt fills p from the torrent at off (torrent coordinates), waiting for
	// peers where needed. It returns nil only when p is full.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// NewWant returns an empty window.
	NewWant() Want
}

// Want is a published window: ranges that will probably be read soon, in torrent
// coordinates, the most probable first.
type Want interface {
	Set(ranges []weir.Range)
	Close()
}

// Options say what a Handle reads and from where. All but Now and MaxWindowBytes
// are required.
type Options struct {
	Info  *weir.TorrentInfo
	File  int // index into Info.Files
	Cache Cache
	Swarm Swarm
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// MaxWindowBytes bounds the read-ahead of this handle, 64 MiB by default.
	MaxWindowBytes int64
}

// Handle is one open of one file. It is safe for concurrent use.
type Handle struct {
	info  *weir.TorrentInfo
	file  *weir.FileInfo
	cache Cache
	swarm Swarm
	now   func() time.Time

	mu     sync.Mutex
	policy policy
	want   Want       // nil until the first window
	window weir.Range // as published
	closed bool
}

// Open returns a Handle. It does no I/O and wants nothing yet.
func Open(o Options) *Handle {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxWindowBytes <= 0 {
		o.MaxWindowBytes = 64 << 20
	}
	h := &Handle{
		info:  o.Info,
		file:  &o.Info.Files[o.File],
		cache: o.Cache,
		swarm: o.Swarm,
		now:   o.Now,
	}
	h.policy = policy{pieceBytes: o.Info.PieceLength, maxBytes: o.MaxWindowBytes}
	return h
}

// gather holds the bytes of views that span pieces.
var gather = sync.Pool{New: func() any { b := make([]byte, 0, 128<<10); return &b }}

// View calls use exactly once with the n bytes at off of the file if all of them
// are held locally, and reports whether it did; it never waits for the network.
// The bytes are valid during the call only. An error is the cache's.
func (h *Handle) View(off int64, n int, use func([]byte)) (bool, error) {
	r, err := h.torrentRange(off, n)
	if err != nil {
		return false, err
	}
	h.note(off, n)
	first, end := h.info.Pieces(r)
	if end-first == 1 {
		pr := h.info.PieceRange(first)
		return h.cache.View(weir.PieceID{Torrent: h.info.InfoHash, Index: first}, r.Off-pr.Off, n, use)
	}
	buf := gather.Get().(*[]byte)
	defer gather.Put(buf)
	all := (*buf)[:0]
	for i := first; i < end; i++ {
		pr := h.info.PieceRange(i)
		part := r.Intersect(pr)
		ok, err := h.cache.View(weir.PieceID{Torrent: h.info.InfoHash, Index: i}, part.Off-pr.Off, int(part.Len()),
			func(b []byte) { all = append(all, b...) })
		*buf = all[:0]
		if !ok || err != nil {
			return false, err
		}
	}
	use(all)
	return true, nil
}

// ReadAt fills p from the file at off, waiting for the swarm. It returns len(p),
// or an error and 0: ctx's when it ends, weir.ErrInvalid for a range outside of
// the file, weir.ErrClosed after Close, and what the swarm says.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	r, err := h.torrentRange(off, len(p))
	if err != nil {
		return 0, err
	}
	h.note(off, len(p))
	if err := h.swarm.ReadAt(ctx, p, r.Off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *Handle) torrentRange(off int64, n int) (weir.Range, error) {
	if off < 0 || n < 0 || off > h.file.Length || int64(n) > h.file.Length-off {
		return weir.Range{}, fmt.Errorf("read %d bytes at %d of a file of %d: %w", n, off, h.file.Length, weir.ErrInvalid)
	}
	return weir.Range{Off: h.file.Offset + off, End: h.file.Offset + off + int64(n)}, nil
}

// note tells the policy of a read and publishes the window if it moved to other
// pieces.
func (h *Handle) note(off int64, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	w := h.policy.read(h.now(), off, int64(n)).Intersect(weir.Range{Off: 0, End: h.file.Length})
	if w.Empty() {
		w = weir.Range{}
	} else {
		first, end := h.info.Pieces(weir.Range{Off: h.file.Offset + w.Off, End: h.file.Offset + w.End})
		w = weir.Range{Off: h.info.PieceRange(first).Off, End: h.info.PieceRange(end - 1).End}
	}
	if w == h.window {
		return
	}
	h.window = w
	if h.want == nil {
		h.want = h.swarm.NewWant()
	}
	if w.Empty() {
		h.want.Set(nil)
	} else {
		h.want.Set([]weir.Range{w})
	}
}

// Close takes the window back. Reads in flight are not touched: whoever started
// them ends their context. It may be called more than once.
func (h *Handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.want != nil && !h.closed {
		h.want.Close()
	}
	h.closed = true
	return nil
}
