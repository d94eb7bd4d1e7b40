package cache

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/policy"
)

// pinBucket is the bucket of records that the pins lie in, by info hash.
const pinBucket = "cache.pins"

// pinBudget is how much of a budget may be pinned: the rest is for reading.
func pinBudget(limit int64) int64 { return limit / 10 * 8 }

// span is a run of pinned pieces, first … end-1.
type span struct{ first, end int }

// torrentPins are the pins of one torrent: runs in order, apart from each other,
// and what is needed to know their size.
type torrentPins struct {
	pieceLength int64
	length      int64
	spans       []span
}

func (p *torrentPins) bytes() int64 {
	var sum int64
	for _, s := range p.spans {
		sum += min(int64(s.end)*p.pieceLength, p.length) - int64(s.first)*p.pieceLength
	}
	return sum
}

func (p *torrentPins) has(index int) bool {
	_, ok := slices.BinarySearchFunc(p.spans, index, func(s span, index int) int {
		switch {
		case s.end <= index:
			return -1
		case s.first > index:
			return 1
		}
		return 0
	})
	return ok
}

// with returns the runs with first … end-1 added.
func with(spans []span, add span) []span {
	var out []span
	for _, s := range spans {
		switch {
		case s.end < add.first || s.first > add.end:
			out = append(out, s)
		default:
			add = span{min(s.first, add.first), max(s.end, add.end)}
		}
	}
	out = append(out, add)
	slices.SortFunc(out, func(a, b span) int { return a.first - b.first })
	return out
}

// without returns the runs with first … end-1 taken out.
func without(spans []span, cut span) []span {
	var out []span
	for _, s := range spans {
		if left := (span{s.first, min(s.end, cut.first)}); left.first < left.end {
			out = append(out, left)
		}
		if right := (span{max(s.first, cut.end), s.end}); right.first < right.end {
			out = append(out, right)
		}
	}
	return out
}

// encode and parseTorrentPins turn pins into a record and back: piece length (8),
// length of the torrent (8), then for each run first (4) and end (4), big endian.
func (p *torrentPins) encode() []byte {
	be := binary.BigEndian
	b := be.AppendUint64(nil, uint64(p.pieceLength))
	b = be.AppendUint64(b, uint64(p.length))
	for _, s := range p.spans {
		b = be.AppendUint32(b, uint32(s.first))
		b = be.AppendUint32(b, uint32(s.end))
	}
	return b
}

// parseTorrentPins returns an error that wraps weir.ErrCorrupt for whatever
// encode can't have made.
func parseTorrentPins(b []byte) (*torrentPins, error) {
	bad := fmt.Errorf("record of pins: %w", weir.ErrCorrupt)
	if len(b) < 16 || len(b)%8 != 0 {
		return nil, bad
	}
	be := binary.BigEndian
	p := &torrentPins{pieceLength: int64(be.Uint64(b)), length: int64(be.Uint64(b[8:]))}
	if p.pieceLength <= 0 || p.pieceLength > 1<<32 || p.length <= 0 || p.length > 1<<60 {
		return nil, bad
	}
	pieces := (p.length + p.pieceLength - 1) / p.pieceLength
	last := -1
	for b = b[16:]; len(b) > 0; b = b[8:] {
		s := span{int(be.Uint32(b)), int(be.Uint32(b[4:]))}
		if s.first <= last || s.end <= s.first || int64(s.end) > pieces {
			return nil, bad
		}
		last = s.end
		p.spans = append(p.spans, s)
	}
	return p, nil
}

// pins are all pins.
type pins struct {
	mu sync.RWMutex
	of map[weir.InfoHash]*torrentPins
}

func (p *pins) bytes() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var sum int64
	for _, t := range p.of {
		sum += t.bytes()
	}
	return sum
}

func (p *pins) each(piece func(weir.PieceID)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for hash, t := range p.of {
		for _, s := range t.spans {
			for i := s.first; i < s.end; i++ {
				piece(weir.PieceID{Torrent: hash, Index: i})
			}
		}
	}
}

func (p *pins) has(id weir.PieceID) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	t := p.of[id.Torrent]
	return t != nil && t.has(id.Index)
}

// get returns the pins of a torrent, none if it has none; they are not changed any more.
func (p *pins) get(ih weir.InfoHash) *torrentPins {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if t := p.of[ih]; t != nil {
		return t
	}
	return new(torrentPins)
}

func (p *pins) set(ih weir.InfoHash, t *torrentPins) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[ih] = t; len(t.spans) == 0 {
		delete(p.of, ih)
	}
}

func (c *Cache) loadPins() error {
	return c.EachRecord(pinBucket, func(key, value []byte) error {
		p, err := parseTorrentPins(value)
		if err != nil || len(key) != len(weir.InfoHash{}) {
			c.log.Warn("record of pins left out", "err", err)
			return nil
		}
		c.pins.of[weir.InfoHash(key)] = p
		return nil
	})
}

// Pin keeps the pieces first … end-1 of a torrent from ever being evicted, those
// that are held now and those that will be put, and reserves their bytes in the
// budget. Pins outlive the process. The error wraps weir.ErrNoSpace when four
// fifths of the budget can't hold all that is pinned; nothing is pinned then.
// Fetching what is missing is the caller's business.
func (c *Cache) Pin(ti *weir.TorrentInfo, first, end int) error {
	if first < 0 || end > ti.NumPieces() || end <= first {
		return weir.Errorf(weir.ErrInvalid, "pin pieces %d to %d of %s: there are no such pieces", first, end, ti.InfoHash)
	}
	return c.changePins(ti.InfoHash, func(p *torrentPins) {
		p.pieceLength, p.length = ti.PieceLength, ti.Length
		p.spans = with(p.spans, span{first, end})
	})
}

// Unpin lets the pieces first … end-1 go like any others. What was not pinned is
// passed over.
func (c *Cache) Unpin(ih weir.InfoHash, first, end int) error {
	return c.changePins(ih, func(p *torrentPins) { p.spans = without(p.spans, span{first, end}) })
}

func (c *Cache) changePins(ih weir.InfoHash, change func(*torrentPins)) error {
	w := &c.writer
	if err := w.acquire(); err != nil {
		return err
	}
	defer w.release()
	next := *c.pins.get(ih)
	before, total, limit := next.bytes(), c.pins.bytes(), c.held.limit.Load()
	change(&next)
	if after := next.bytes(); after > before && total-before+after > pinBudget(limit) {
		return weir.Errorf(weir.ErrNoSpace, "%d bytes would be pinned in all, more than four fifths of the cache's %d", total-before+after, limit)
	}
	var err error
	if len(next.spans) == 0 {
		err = c.DeleteRecord(pinBucket, ih[:])
	} else {
		err = c.PutRecord(pinBucket, ih[:], next.encode())
	}
	if err != nil {
		return fmt.Errorf("change pins: %w", err)
	}
	if next.bytes() < before {
		w.retire(policy.Pinned) // what is open can't be dropped
	}
	c.pins.set(ih, &next)
	return nil
}

// Pinned returns the pinned pieces of a torrent, as runs from first to end-1.
func (c *Cache) Pinned(ih weir.InfoHash) (runs [][2]int) {
	for _, s := range c.pins.get(ih).spans {
		runs = append(runs, [2]int{s.first, s.end})
	}
	return runs
}
