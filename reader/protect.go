package reader

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
)

// protectTime is how long a window stays protected after it moved last: longer than a
// film is usually paused.
const protectTime = time.Hour

// protection knows which pieces the windows cover, held or not, so that the cache does not
// evict what will soon be read. It lasts protectTime beyond the reader's last move: a film
// that was paused goes on from the cache. Only windows that move and evictions take its
// lock, and nothing waits while holding it.
type protection struct {
	mu      sync.Mutex
	windows map[*window]*coverage // that are not empty
}

// coverage is the pieces that one window covers.
type coverage struct {
	torrent    weir.InfoHash
	pieceBytes int64
	spans      []pieceSpan // the most wanted first
	moved      time.Time
}

// pieceSpan is the pieces first … end-1.
type pieceSpan struct{ first, end int }

func (c *coverage) bytes() (sum int64) {
	for _, s := range c.spans {
		sum += int64(s.end-s.first) * c.pieceBytes
	}
	return sum
}

// set replaces what a window covers.
func (p *protection) set(w *window, ranges []weir.Range) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.windows[w]
	if len(ranges) == 0 {
		delete(p.windows, w)
		return
	}
	if c == nil {
		c = &coverage{torrent: w.info.InfoHash, pieceBytes: w.info.PieceLength}
		if p.windows == nil {
			p.windows = map[*window]*coverage{}
		}
		p.windows[w] = c
	}
	c.spans, c.moved = c.spans[:0], time.Now()
	for _, r := range ranges {
		if first, end := w.info.Pieces(r); first < end {
			c.spans = append(c.spans, pieceSpan{first, end})
		}
	}
}

// Protect returns a function that reports whether a piece is in the window of an open
// file. It protects at most this many bytes; if the windows have more, each gets an equal
// share, for the pieces that are wanted first.
func (b *Budget) Protect(most int64) func(weir.PieceID) bool {
	p := &b.protection
	p.mu.Lock()
	defer p.mu.Unlock()
	var windows []*coverage
	for _, c := range p.windows {
		if time.Since(c.moved) < protectTime {
			windows = append(windows, c)
		}
	}
	slices.SortFunc(windows, func(a, b *coverage) int { return cmp.Compare(a.bytes(), b.bytes()) })
	covered := map[weir.InfoHash][]pieceSpan{}
	for i, c := range windows {
		share := most / int64(len(windows)-i)
		for _, s := range c.spans {
			n := min(s.end-s.first, int(share/c.pieceBytes))
			if n <= 0 {
				break
			}
			covered[c.torrent] = append(covered[c.torrent], pieceSpan{s.first, s.first + n})
			share -= int64(n) * c.pieceBytes
			most -= int64(n) * c.pieceBytes
		}
	}
	return func(id weir.PieceID) bool {
		return slices.ContainsFunc(covered[id.Torrent], func(s pieceSpan) bool { return s.first <= id.Index && id.Index < s.end })
	}
}
