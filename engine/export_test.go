package engine

import (
	"context"
	"time"

	"github.com/weirfs/weir"
)

// runOnOwner has the owner run fn and waits for it. It reports false if the owner went
// away before, and then fn does not run.
func (s *swarm) runOnOwner(fn func()) bool { return s.inbox.DoAndWait(s.ctx, fn) }

// Age makes the torrent's connections idle for so much longer.
func (t *Torrent) Age(d time.Duration) {
	sw, err := t.warm()
	if err != nil {
		return
	}
	sw.runOnOwner(func() {
		for _, p := range sw.peers {
			p.give.Age(d)
			p.conn.Joined = p.conn.Joined.Add(-d)
		}
	})
}

// AgeChoker has the choker decide as if so much time had passed.
func (t *Torrent) AgeChoker(d time.Duration) {
	sw, err := t.warm()
	if err != nil {
		return
	}
	sw.runOnOwner(func() { sw.uploads.Round(time.Now().Add(d)) })
}

// ConnSlots returns the connections that are in use, and the dials among them.
func (e *Engine) ConnSlots() (open, dialing int) {
	return e.endpoint.Usage()
}

// SetMostUncached changes the bound on pieces that the Store does not take.
func (e *Engine) SetMostUncached(bytes int64) { e.storage.MaxUncached = bytes }

// InMemory returns the bytes of verified pieces that a torrent has in memory.
func (t *Torrent) InMemory() (bytes int64) {
	sw, err := t.warm()
	if err != nil {
		return 0
	}
	sw.runOnOwner(func() { bytes = sw.pieces.held.Bytes() })
	return bytes
}

// SetUploadLimit sets that of the torrent's engine.
func (t *Torrent) SetUploadLimit(rate int64) { t.eng.SetLimits(rate, 0) }

// ErrUnlearned is the error of a read whose metadata was lost meanwhile.
var ErrUnlearned = errUnlearned

// WaitUnlearned waits for the first piece as a read does that has seen the metadata
// while the swarm does not know it.
func (t *Torrent) WaitUnlearned(ctx context.Context, info *weir.TorrentInfo) error {
	sw, err := t.warm()
	if err != nil {
		return err
	}
	return sw.reads.wait(ctx, &waiter{pieces: []int{0}, done: make(chan struct{})})
}

// ReadAt reads as the reader does: from the Store, and the rest by Fetch.
func (t *Torrent) ReadAt(ctx context.Context, p []byte, off int64) error {
	return t.readAt(ctx, p, off, false)
}

// ReadSparse is ReadAt for a reader that skips about.
func (t *Torrent) ReadSparse(ctx context.Context, p []byte, off int64) error {
	return t.readAt(ctx, p, off, true)
}

func (t *Torrent) readAt(ctx context.Context, p []byte, off int64, sparse bool) error {
	info, err := t.WaitInfo(ctx)
	if err != nil {
		return err
	}
	miss := &weir.Miss{Range: weir.Range{Off: off, End: off + int64(len(p))}, Sparse: sparse}
	clear(p) // padding is in no piece
	for i, end := info.Pieces(miss.Range); i < end; i++ {
		part, off := partOf(info, i, miss.Range, p)
		if len(part) == 0 {
			continue
		}
		held := false
		if t.eng.storeReady() {
			if held, err = t.eng.opts.Store.ReadAt(weir.PieceID{Torrent: t.ih, Index: i}, part, off); err != nil {
				return err
			}
		}
		if !held {
			miss.Pieces = append(miss.Pieces, i)
		}
	}
	return t.Fetch(ctx, miss, p)
}

// Running reports whether the torrent is warm.
func (t *Torrent) Running() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sw != nil
}

// Accounts are what an engine counts.
type Accounts struct {
	InMemory, Metadata, Claims, Uncached int64 // bytes
	Warm                                 int32
	Open, Dialing                        int
}

// Accounts returns the current figures; after Close all are zero.
func (e *Engine) Accounts() Accounts {
	a := Accounts{InMemory: e.inMemory.Load(), Metadata: e.metadataBytes.Load(), Claims: e.claims.Bytes(), Warm: e.warm.Load()}
	a.Open, a.Dialing = e.endpoint.Usage()
	a.Uncached = e.storage.UncachedBytes()
	return a
}
