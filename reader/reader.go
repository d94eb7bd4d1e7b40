// Package reader is the open files of a torrent. It answers each read from the cache, or
// else from the swarm. It follows how files are read, and decides what to read ahead:
// windows, which it publishes to the swarm.
//
// The decisions are pure functions of past reads, in internal/policy: within a file, and
// across files. A window that moves uses the Budget that all share; a read of held bytes
// uses nothing but its own handle. Nothing here knows of FUSE, of badger or of peers: the
// cache and the swarm are interfaces. Offsets are file offsets on one side and torrent
// coordinates on the other.
//
// Lock order: Handle.mu, Torrent.mu, fileReaders.mu, wanted.mu, Budget.mu. A read tries
// fileReaders.mu and never waits for it, takes Torrent.mu with the first read of a file
// and about once a MiB, and those behind it when a window moves. protection.mu is taken
// with nothing behind it.
package reader

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader/internal/policy"
)

// Cache serves verified pieces that are held locally.
type Cache interface {
	// View calls use with exactly n bytes of the piece at off, if they are held,
	// and reports whether it did. The bytes are valid during the call only.
	View(id weir.PieceID, off int64, n int, use func([]byte)) (bool, error)
	// Has reports whether a piece is held. It must be quick.
	Has(id weir.PieceID) bool
}

// Swarm is one torrent's swarm.
type Swarm interface {
	// Fetch fills the parts of p that lie in the pieces of miss, waiting for peers
	// where needed. p is as long as the range of miss.
	Fetch(ctx context.Context, miss *weir.Miss, p []byte) error
	// NewWant returns an empty window.
	NewWant() Want
}

// Want is a published window: ranges that will probably be read soon, in torrent
// coordinates, the most probable first.
type Want interface {
	// Set replaces the ranges. It neither waits nor keeps the slice.
	Set(ranges []weir.Range)
	Close()
}

// Handle is one open of one file. It is safe for concurrent use. Every read
// begins with View; if that finds something missing, Fetch waits for it.
type Handle struct {
	t      *Torrent
	info   *weir.TorrentInfo
	index  int
	file   *weir.FileInfo
	access Access
	shared *fileReaders // of all handles of the file

	waiting atomic.Int32 // reads that wait for the swarm

	mu sync.Mutex
	follower
	sequence *fileSequence // set with the first read, if that is at the head
	read     int64         // bytes read
	reported int64         // of these, those reported to the sequence
}

// joinBuffer joins the bytes of a read that spans pieces. Its func is made once: one for
// each read would be an allocation.
type joinBuffer struct {
	bytes []byte
	add   func(b []byte)
}

var joinBuffers = sync.Pool{New: func() any {
	g := &joinBuffer{bytes: make([]byte, 0, policy.RequestBytes)}
	g.add = func(b []byte) { g.bytes = append(g.bytes, b...) }
	return g
}}

// View calls use exactly once with the n bytes at off of the file if all of them
// are held locally, and otherwise returns what is missing; it never waits for the
// network. The bytes are valid during the call only. The error wraps
// weir.ErrInvalid for a range outside of the file and weir.ErrRefused for one that the
// program may not read; any other is the cache's.
func (h *Handle) View(off int64, n int, use func([]byte)) (*weir.Miss, error) {
	r, err := h.torrentRange(off, n)
	if err != nil {
		return nil, err
	}
	sparse := h.follow(off, n)
	first, end := h.info.Pieces(r)
	if end-first == 1 {
		pr := h.info.PieceRange(first)
		held, err := h.t.cache.View(weir.PieceID{Torrent: h.info.InfoHash, Index: first}, r.Off-pr.Off, n, use)
		if held || err != nil {
			return nil, err
		}
		if !h.hasBlocks(first, r) {
			return &weir.Miss{Range: r, Pieces: []int{first}, Sparse: sparse}, nil
		}
	}
	g := joinBuffers.Get().(*joinBuffer)
	defer joinBuffers.Put(g)
	g.bytes = g.bytes[:0]
	var miss *weir.Miss
	for i := first; i < end; i++ {
		pr := h.info.PieceRange(i)
		part := r.Intersect(pr)
		held, err := h.t.cache.View(weir.PieceID{Torrent: h.info.InfoHash, Index: i}, part.Off-pr.Off, int(part.Len()), g.add)
		if err == nil && !held {
			held, err = h.viewBlocks(i, part, g)
		}
		if err != nil {
			return nil, err
		}
		if !held {
			if miss == nil {
				miss = &weir.Miss{Range: r, Sparse: sparse}
			}
			miss.Pieces = append(miss.Pieces, i)
			at := int(part.End - r.Off)
			g.bytes = slices.Grow(g.bytes, int(part.Len()))[:at]
		}
	}
	switch {
	case miss == nil:
		use(g.bytes)
	case len(miss.Pieces) < end-first:
		miss.Held = bytes.Clone(g.bytes)
	}
	return miss, nil
}

// blocksOf calls fn with the names of the blocks of a piece that part touches, and what of
// each it touches, until fn returns false. It reports whether it came to the end.
func (h *Handle) blocksOf(index int, part weir.Range, fn func(id weir.PieceID, in weir.Range) bool) bool {
	pr := h.info.PieceRange(index)
	for i := int((part.Off - pr.Off) / weir.BlockBytes); pr.Off+int64(i)*weir.BlockBytes < part.End; i++ {
		id, ok := h.info.BlockID(index, i)
		off := pr.Off + int64(i)*weir.BlockBytes
		in := weir.Range{Off: off, End: off + weir.BlockBytes}.Intersect(part)
		if !ok || !fn(id, weir.Range{Off: in.Off - off, End: in.End - off}) {
			return false
		}
	}
	return true
}

// hasBlocks reports whether the cache has the blocks of a piece that a read of r needs,
// without the piece.
func (h *Handle) hasBlocks(index int, r weir.Range) bool {
	return (h.info.V2 || h.info.Hybrid) && h.blocksOf(index, r.Intersect(h.info.PieceRange(index)), func(id weir.PieceID, _ weir.Range) bool { return h.t.cache.Has(id) })
}

// viewBlocks adds a part of a piece to g, if the cache has the blocks of it without the
// piece. If it returns false, g is as it was.
func (h *Handle) viewBlocks(index int, part weir.Range, g *joinBuffer) (held bool, err error) {
	if part.Empty() || !h.hasBlocks(index, part) {
		return false, nil
	}
	before := len(g.bytes)
	held = h.blocksOf(index, part, func(id weir.PieceID, in weir.Range) (ok bool) {
		ok, err = h.t.cache.View(id, in.Off, int(in.Len()), g.add)
		return ok && err == nil
	})
	if !held {
		g.bytes = g.bytes[:before]
	}
	return held, err
}

// Fetch fills p, which is as long as the range of miss, with what View found, and waits
// for the swarm to bring the rest. miss must be of this handle. The error is ctx's when it
// ends, or the swarm's; the content of p is undefined then.
func (h *Handle) Fetch(ctx context.Context, miss *weir.Miss, p []byte) error {
	copy(p, miss.Held)
	sequence := h.wait()
	defer h.done(sequence)
	return h.t.swarm.Fetch(ctx, miss, p)
}

// Ahead returns how many bytes are wanted ahead of the reader now, in whole pieces
// that are not held.
func (h *Handle) Ahead() (bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.window.published {
		bytes += r.Len()
	}
	return bytes
}

// wait marks the beginning of a wait for the swarm. It returns the handle's sequence, for
// done.
func (h *Handle) wait() *fileSequence {
	h.waiting.Add(1)
	h.shared.waiting.Add(1)
	h.mu.Lock()
	w := h.sequence
	h.mu.Unlock()
	if w != nil {
		w.waiting.Add(1)
	}
	return w
}

func (h *Handle) done(w *fileSequence) {
	now := time.Now()
	if w != nil {
		w.waiting.Add(-1)
		w.last.Store(now.UnixNano())
	}
	h.mu.Lock()
	h.pattern.Answered(now)
	h.mu.Unlock()
	h.shared.waiting.Add(-1)
	h.waiting.Add(-1)
}

func (h *Handle) torrentRange(off int64, n int) (weir.Range, error) {
	if off < 0 || n < 0 || off > h.file.Length || int64(n) > h.file.Length-off {
		return weir.Range{}, weir.Errorf(weir.ErrInvalid, "read %d bytes at %d of a file of %d", n, off, h.file.Length)
	}
	if h.access == HeadAndTail && off >= HeadTailBytes && off+int64(n) <= h.file.Length-HeadTailBytes {
		return weir.Range{}, fmt.Errorf("read at %d, which is neither in the head nor in the tail, for a restricted program: %w", off, weir.ErrRefused)
	}
	return weir.Range{Off: h.file.Offset + off, End: h.file.Offset + off + int64(n)}, nil
}

// follow takes a read, and publishes the window if it has moved. Mostly it hasn't, and the
// only lock taken is the handle's own. It reports whether the reader skips about.
func (h *Handle) follow(off int64, n int) (sparse bool) {
	if h.access != Full {
		return true // no read-ahead
	}
	now := time.Now()
	inOrder := h.shared.follow(now, off, int64(n))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if h.read == 0 && off < policy.RequestBytes {
		var bytes int64
		var rate float64
		h.sequence, bytes, rate = h.t.enter(h.index)
		h.pattern.Inherit(bytes, rate)
	}
	h.read += int64(n)
	h.follower.follow(now, off, int64(n), h.waiting.Load() > 0)
	if w := h.sequence; w != nil {
		w.touch(now)
		if h.read-h.reported >= reportBytes || h.reported == 0 || off+int64(n) == h.file.Length {
			n := h.read - h.reported
			h.reported = h.read
			w.progress(now, h.index, min(h.read, h.file.Length), n)
		}
	}
	return !inOrder && h.pattern.Sparse()
}

func (h *Handle) idle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.withdrawIfIdle(time.Now(), h.waiting.Load() > 0)
}

// Close withdraws the window. Reads in flight go on until their contexts end. It may be
// called more than once.
func (h *Handle) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.end()
	sequence, read := h.sequence, min(h.read, h.file.Length)
	h.mu.Unlock()
	h.t.leave(h, sequence, read)
	return nil
}
