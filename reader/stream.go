package reader

import (
	"slices"
	"sync"

	"github.com/weirfs/weir"
)

// stream publishes one window: it turns ranges into missing pieces, as many as
// the budget has room for. Its owner guards it.
type stream struct {
	info   *weir.TorrentInfo
	cache  Cache
	swarm  Swarm
	wanted *wanted
	share  share

	want  Want         // nil until the first window
	shown []weir.Range // as published, of whole pieces
	spare []weir.Range
}

// wanted counts by how many windows each piece of a torrent is wanted, so that a
// hundred readers at one place pay for it once. Only windows that move take its
// lock, and inside it the budget's.
type wanted struct {
	mu     sync.Mutex
	pieces map[int]charge
}

// charge is a piece that is wanted.
type charge struct {
	refs int
	by   *share // who pays for it; nil if that one wants it no more
}

// show publishes what is missing of ranges (torrent coordinates), the first most
// wanted, and has all of them protected. It does not keep ranges.
func (s *stream) show(ranges []weir.Range) {
	s.share.b.protection.set(s, ranges)
	s.publish(ranges)
}

// publish publishes what is missing of ranges.
func (s *stream) publish(ranges []weir.Range) {
	next := s.missing(s.spare[:0], ranges)
	if len(next) > 0 || len(s.shown) > 0 || s.share.demand > 0 {
		next = s.pay(next)
	}
	s.spare = next
	if slices.Equal(next, s.shown) {
		return
	}
	s.shown, s.spare = next, s.shown
	if s.want == nil {
		s.want = s.swarm.NewWant()
	}
	s.want.Set(next)
}

// missing appends the pieces of ranges that are not held, neighbours joined.
func (s *stream) missing(dst, ranges []weir.Range) []weir.Range {
	var bytes int64
	last := -1 // the piece that dst ends with
	for _, r := range ranges {
		first, end := s.info.Pieces(r)
		for i := first; i < end && bytes < s.share.b.total; i++ {
			if s.cache.Has(weir.PieceID{Torrent: s.info.InfoHash, Index: i}) {
				continue
			}
			pr := s.info.PieceRange(i)
			n := len(dst)
			switch {
			case pr.Empty():
				continue // all padding
			case slices.ContainsFunc(dst, func(o weir.Range) bool { return o.Off <= pr.Off && pr.End <= o.End }):
				continue // of an earlier range
			case n > 0 && last == i-1: // with what padding is between them
				dst[n-1].End = pr.End
			case n == mostRanges:
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

// pay exchanges what the last window paid for with what the next one costs, and
// cuts the next where the budget ends.
func (s *stream) pay(next []weir.Range) []weir.Range {
	s.wanted.mu.Lock()
	defer s.wanted.mu.Unlock()
	s.refund()
	var demand int64
	s.eachPiece(next, func(i int, bytes int64) bool {
		if s.wanted.pieces[i].refs == 0 {
			demand += bytes
		}
		return true
	})
	left := s.share.claim(demand)
	granted := left
	var end weir.Range // the last piece that fits
	full := s.eachPiece(next, func(i int, bytes int64) bool {
		c := s.wanted.pieces[i]
		if c.refs == 0 {
			if bytes > left {
				return false
			}
			left -= bytes
			c.by = &s.share
		}
		c.refs++
		s.wanted.pieces[i] = c
		end = s.info.PieceRange(i)
		return true
	})
	s.share.shrink(granted - left)
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

// refund gives up what is shown.
func (s *stream) refund() {
	var own, gone int64
	s.eachPiece(s.shown, func(i int, bytes int64) bool {
		c := s.wanted.pieces[i]
		if c.by == &s.share {
			own += bytes
			c.by = nil
		}
		if c.refs--; c.refs > 0 {
			s.wanted.pieces[i] = c
		} else {
			gone += bytes
			delete(s.wanted.pieces, i)
		}
		return true
	})
	s.share.refund(own, gone)
}

// eachPiece calls fn with the pieces of ranges until it returns false.
func (s *stream) eachPiece(ranges []weir.Range, fn func(i int, bytes int64) bool) bool {
	for _, r := range ranges {
		first, end := s.info.Pieces(r)
		for i := first; i < end; i++ {
			if !fn(i, s.info.PieceRange(i).Len()) {
				return false
			}
		}
	}
	return true
}

// short reports whether the budget gave less than was asked for.
func (s *stream) short() bool { return s.share.held < s.share.demand }

// hide takes the window back, which stays protected; show publishes it again.
func (s *stream) hide() { s.publish(nil) }

// close takes the window back for good.
func (s *stream) close() {
	s.show(nil)
	if s.want != nil {
		s.want.Close()
		s.want = nil
	}
}
