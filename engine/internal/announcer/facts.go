package announcer

import (
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover"
)

// outline is what has to be known of the metadata to announce a torrent. It stays in
// memory when the metadata does not.
type outline struct {
	private         bool
	pieces, blank   int // blank: all padding, which nobody stores
	content, length int64
	pieceLength     int64
}

func newOutline(info *weir.TorrentInfo) *outline {
	o := &outline{
		private: info.Private, pieces: info.NumPieces(), content: info.ContentBytes(),
		length: info.Length, pieceLength: info.PieceLength,
	}
	for range info.BlankPieces {
		o.blank++
	}
	return o
}

// left returns the bytes that we lack, by the pieces that are held, and whether any is.
// With padding it is an estimate, unless all are held.
func (o *outline) left(held []bool) (left int64, some bool) {
	n, bytes := 0, int64(0)
	for i, has := range held {
		if has {
			n++
			bytes += min(o.pieceLength, o.length-int64(i)*o.pieceLength)
		}
	}
	if n+o.blank >= o.pieces {
		return 0, n > 0
	}
	if o.content < o.length {
		bytes = int64(float64(bytes) * float64(o.content) / float64(o.length))
	}
	return max(1, o.content-bytes), n > 0
}

// outlineOf returns the outline, nil while the metadata is not known. It may read the
// Store, once.
func (t *Torrent) outlineOf() *outline {
	if o := t.outline.Load(); o != nil {
		return o
	}
	info := t.o.Info()
	if info == nil {
		return nil
	}
	o := newOutline(info)
	t.outline.Store(o)
	return o
}

// Left returns the bytes that we lack. While the size is unknown it is a block, because
// zero would say that we are a seed.
func (t *Torrent) Left() int64 {
	o := t.outlineOf()
	switch {
	case o == nil:
		return weir.BlockBytes
	case !t.o.Ready():
		return max(1, o.content) // the next announce says it better
	}
	left, _ := o.left(t.o.Held(t.o.InfoHash, o.pieces))
	return left
}

// Offer says whether the torrent is announced, and taken up for peers that connect, while
// nobody uses it. That is so until Offer is called.
func (t *Torrent) Offer(on bool) {
	if t.declined.Swap(!on) != on {
		return
	}
	if on {
		t.Hold()
	} else {
		t.release()
	}
}

// Offered reports what Offer said last.
func (t *Torrent) Offered() bool { return !t.declined.Load() }

// Stays reports whether the torrent goes on being announced when its swarm ends.
func (t *Torrent) Stays() bool {
	_, there, _ := t.Facts()
	return there
}

// Facts implements discover.Held.
func (t *Torrent) Facts() (f discover.Facts, there, ready bool) {
	if t.o.Done.Err() != nil || !t.Offered() {
		return f, false, true
	}
	if !t.o.Ready() {
		return f, true, false
	}
	o := t.outlineOf()
	if o == nil {
		return f, false, true
	}
	left, some := o.left(t.o.Held(t.o.InfoHash, o.pieces))
	f = discover.Facts{
		Left: left, Downloaded: t.o.Downloaded(), Uploaded: t.o.Uploaded(), Paused: true, Private: o.private,
	}
	return f, some, true
}

// Hold has the torrent announced from now on, if it is held and nobody uses it.
func (t *Torrent) Hold() {
	d := t.o.Discoverer()
	if d == nil || !t.Offered() || t.o.Done.Err() != nil {
		return
	}
	for _, ih := range t.hashes() {
		d.Hold(t.Presence(ih), t)
	}
}

// Close ends Hold, and tells the trackers that we leave, which takes about a second at most.
func (t *Torrent) Close() {
	for _, wait := range t.release() {
		wait()
	}
}

func (t *Torrent) release() (waits []func()) {
	d := t.o.Discoverer()
	if d == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.presences {
		waits = append(waits, d.Release(p, func() discover.Facts {
			return discover.Facts{Left: t.Left(), Downloaded: t.o.Downloaded(), Uploaded: t.o.Uploaded()}
		}))
	}
	return waits
}

// hashes returns the info hashes under which the torrent is announced.
func (t *Torrent) hashes() []weir.InfoHash {
	n := t.o.Names()
	if n.Hybrid() {
		return []weir.InfoHash{t.o.InfoHash, n.Other(t.o.InfoHash)}
	}
	return []weir.InfoHash{t.o.InfoHash}
}
