package reader

import (
	"slices"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader/internal/policy"
)

// window is what is wanted ahead of one reader: the missing pieces of the ranges that its
// policy returns, as many as the budget has room for. Its owner guards it.
type window struct {
	info   *weir.TorrentInfo
	cache  Cache
	swarm  Swarm
	wanted *wanted
	share  share

	want      Want         // nil until the first window
	published []weir.Range // of whole pieces
	spare     []weir.Range
}

// wanted counts the windows that want each piece of a torrent, so that a hundred readers
// of the same pieces pay for them once. Only windows that move take its lock, and the
// budget's while holding it.
type wanted struct {
	mu     sync.Mutex
	pieces map[int]charge
}

// charge is a wanted piece.
type charge struct {
	refs int
	by   *share // which pays for it; nil if that one no longer wants it
}

// publish wants the missing pieces of ranges (torrent coordinates), the first ones most,
// and protects all pieces of them. It does not keep ranges.
func (w *window) publish(ranges []weir.Range) {
	w.share.b.protection.set(w, ranges)
	w.set(ranges)
}

func (w *window) set(ranges []weir.Range) {
	next := w.missing(w.spare[:0], ranges)
	if len(next) > 0 || len(w.published) > 0 || w.share.demand > 0 {
		next = w.pay(next)
	}
	w.spare = next
	if slices.Equal(next, w.published) {
		return
	}
	w.published, w.spare = next, w.published
	if w.want == nil {
		w.want = w.swarm.NewWant()
	}
	w.want.Set(next)
}

// missing appends the pieces of ranges that are not held, neighbours joined.
func (w *window) missing(dst, ranges []weir.Range) []weir.Range {
	var bytes int64
	last := -1 // the piece that dst ends with
	for _, r := range ranges {
		first, end := w.info.Pieces(r)
		for i := first; i < end && bytes < w.share.b.total; i++ {
			if w.cache.Has(weir.PieceID{Torrent: w.info.InfoHash, Index: i}) {
				continue
			}
			pr := w.info.PieceRange(i)
			n := len(dst)
			switch {
			case pr.Empty():
				continue // all padding
			case slices.ContainsFunc(dst, func(o weir.Range) bool { return o.Off <= pr.Off && pr.End <= o.End }):
				continue // of an earlier range
			case n > 0 && last == i-1: // with what padding is between them
				dst[n-1].End = pr.End
			case n == policy.MaxRanges:
				return dst
			default:
				dst = append(dst, pr)
			}
			bytes += pr.Len()
			last = i
		}
	}
	return dst
}

// pay gives back what the published window cost and pays for the next one, which it cuts
// where the budget ends.
func (w *window) pay(next []weir.Range) []weir.Range {
	w.wanted.mu.Lock()
	defer w.wanted.mu.Unlock()
	w.refund()
	var demand int64
	w.eachPiece(next, func(i int, bytes int64) bool {
		if w.wanted.pieces[i].refs == 0 {
			demand += bytes
		}
		return true
	})
	left := w.share.claim(demand)
	granted := left
	var end weir.Range // the last piece that fits
	full := w.eachPiece(next, func(i int, bytes int64) bool {
		c := w.wanted.pieces[i]
		if c.refs == 0 {
			if bytes > left {
				return false
			}
			left -= bytes
			c.by = &w.share
		}
		c.refs++
		w.wanted.pieces[i] = c
		end = w.info.PieceRange(i)
		return true
	})
	w.share.shrink(granted - left)
	if full {
		return next
	}
	for n := range next {
		if end.Off >= next[n].Off && end.End <= next[n].End {
			next[n].End = end.End
			return next[:n+1]
		}
	}
	return next[:0]
}

// refund gives back what the published ranges cost.
func (w *window) refund() {
	var own, gone int64
	w.eachPiece(w.published, func(i int, bytes int64) bool {
		c := w.wanted.pieces[i]
		if c.by == &w.share {
			own += bytes
			c.by = nil
		}
		if c.refs--; c.refs > 0 {
			w.wanted.pieces[i] = c
		} else {
			gone += bytes
			delete(w.wanted.pieces, i)
		}
		return true
	})
	w.share.refund(own, gone)
}

// eachPiece calls fn with the pieces of ranges until it returns false.
func (w *window) eachPiece(ranges []weir.Range, fn func(i int, bytes int64) bool) bool {
	for _, r := range ranges {
		first, end := w.info.Pieces(r)
		for i := first; i < end; i++ {
			if !fn(i, w.info.PieceRange(i).Len()) {
				return false
			}
		}
	}
	return true
}

// short reports whether the budget had room for less than the window.
func (w *window) short() bool { return w.share.held < w.share.demand }

// withdraw wants nothing until the next publish. The window stays protected.
func (w *window) withdraw() { w.set(nil) }

// close withdraws the window for good.
func (w *window) close() {
	w.publish(nil)
	if w.want != nil {
		w.want.Close()
		w.want = nil
	}
}
