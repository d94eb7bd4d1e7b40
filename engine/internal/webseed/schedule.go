package webseed

import (
	"cmp"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// MaxRunBytes bounds one request.
const MaxRunBytes = 16 << 20

// schedule turns the blocks that are asked for into requests of ranges of files, and
// the bytes that come into blocks again. It is pure, and for one goroutine at a time.
type schedule struct {
	info   *weir.TorrentInfo
	blocks map[int64]*block // by offset
	queue  []*block         // of which something is in no run yet, in the order of asking
	runs   []*run           // that are under way
}

// block is a block that somebody waits for.
type block struct {
	in   weir.Range // of the torrent
	next int64      // where what is in no run begins
	left int64      // bytes that have not come
	data []byte     // nil until something came
	gone bool       // it was taken back
}

// run is one request: bytes of one file.
type run struct {
	file    int
	in      weir.Range // of the torrent
	blocks  []*block   // of which it brings bytes, and has not brought all, in their order
	at      int64      // how far it has come
	first   time.Time  // when its first bytes came
	stop    func()     // ends the request
	stopped bool       // stop was called
	moved   bool       // it goes to where a redirect has led before
}

func newSchedule(info *weir.TorrentInfo) schedule {
	return schedule{info: info, blocks: map[int64]*block{}}
}

// ask adds a block, which lies in the torrent and is not all padding.
func (s *schedule) ask(in weir.Range) {
	if s.blocks[in.Off] != nil {
		return
	}
	for _, r := range s.runs {
		for _, b := range r.blocks {
			if !r.stopped && b.gone && b.in == in && b.next == in.End && r.at <= in.Off && r.in.End >= in.End {
				b.gone = false // it is on its way all the same
				s.blocks[in.Off] = b
				return
			}
		}
	}
	b := &block{in: in, next: in.Off, left: in.Len()}
	s.blocks[in.Off] = b
	s.queue = append(s.queue, b)
	s.skipPadding(b)
}

// takeBack forgets a block. It reports whether it was there, and ends the requests
// that bring nothing else any more.
func (s *schedule) takeBack(in weir.Range) bool {
	b := s.blocks[in.Off]
	if b == nil {
		return false
	}
	s.forget(b)
	for _, r := range s.runs {
		if slices.Contains(r.blocks, b) && !slices.ContainsFunc(r.blocks, func(b *block) bool { return !b.gone }) {
			r.stopped = true
			r.stop()
		}
	}
	return true
}

// all returns the blocks that have not come, in their order.
func (s *schedule) all() []weir.Range {
	all := make([]weir.Range, 0, len(s.blocks))
	for _, b := range s.blocks {
		all = append(all, b.in)
	}
	slices.SortFunc(all, func(a, b weir.Range) int { return cmp.Compare(a.Off, b.Off) })
	return all
}

func (s *schedule) forget(b *block) {
	b.gone = true
	delete(s.blocks, b.in.Off)
	if b.next < b.in.End {
		s.queue = slices.DeleteFunc(s.queue, func(q *block) bool { return q == b })
	}
}

// skipPadding moves next over what no server has: padding is zeros.
func (s *schedule) skipPadding(b *block) {
	for b.next < b.in.End {
		f := &s.info.Files[s.fileAt(b.next)]
		if !f.Padding {
			return
		}
		end := min(b.in.End, f.Range().End)
		b.left -= end - b.next
		b.next = end
	}
}

// nextRun returns the run of the block that waits longest, over the blocks behind it
// in the same file that wait too, and false if there is none or it had better wait:
// what follows a run that is under way is not asked for before that is nearly done,
// so that it becomes a long request and not many short ones.
func (s *schedule) nextRun(now time.Time, latency time.Duration) (*run, bool) {
	if len(s.queue) == 0 {
		return nil, false
	}
	held := s.following(now, latency)
	for _, b := range s.queue {
		if !held[b] {
			return s.startRun(s.fileAt(b.next), b), true
		}
	}
	return nil, false
}

func (s *schedule) fileAt(off int64) int {
	first, _ := s.info.FilesIn(weir.Range{Off: off, End: off + 1})
	return first
}

// following returns the blocks that come right behind a run in its file, end to end,
// of the runs that have more than latency to go.
func (s *schedule) following(now time.Time, latency time.Duration) map[*block]bool {
	var held map[*block]bool
	for _, r := range s.runs {
		if !r.first.IsZero() {
			rate := float64(r.at-r.in.Off) / max(now.Sub(r.first), time.Millisecond).Seconds()
			if float64(r.in.End-r.at) <= rate*latency.Seconds()+2*weir.BlockBytes {
				continue
			}
		}
		end := s.info.Files[r.file].Range().End
		for off := r.in.End; off < end; {
			b := s.blocks[off]
			if b == nil || b.next != off {
				break
			}
			if held == nil {
				held = map[*block]bool{}
			}
			held[b] = true
			off = b.in.End
		}
	}
	return held
}

// startRun begins with what is in no run yet of a block, and extends over what
// follows.
func (s *schedule) startRun(file int, b *block) *run {
	end := s.info.Files[file].Range().End
	r := &run{file: file, in: weir.Range{Off: b.next, End: b.next}, at: b.next}
	for b != nil && b.next == r.in.End && r.in.End < end && r.in.Len() < MaxRunBytes {
		r.blocks = append(r.blocks, b)
		r.in.End = min(b.in.End, end)
		b.next = r.in.End
		s.skipPadding(b)
		if b.next >= b.in.End {
			done := b
			s.queue = slices.DeleteFunc(s.queue, func(q *block) bool { return q == done })
		}
		b = s.blocks[r.in.End]
	}
	s.runs = append(s.runs, r)
	return r
}

// came takes bytes that a run brought, and returns the blocks that are complete.
func (s *schedule) came(now time.Time, r *run, data []byte) (whole []*block) {
	if r.first.IsZero() {
		r.first = now
	}
	for len(data) > 0 && len(r.blocks) > 0 {
		b := r.blocks[0]
		end := min(b.in.End, r.in.End)
		n := min(int64(len(data)), end-r.at)
		if !b.gone {
			if b.data == nil {
				b.data = make([]byte, b.in.Len())
			}
			copy(b.data[r.at-b.in.Off:], data[:n])
			if b.left -= n; b.left == 0 {
				delete(s.blocks, b.in.Off)
				whole = append(whole, b)
			}
		}
		r.at += n
		data = data[n:]
		if r.at == end {
			r.blocks = r.blocks[1:]
		}
	}
	return whole
}

// ended forgets a run and returns the blocks that it still owed.
func (s *schedule) ended(r *run) (owed []*block) {
	s.runs = slices.DeleteFunc(s.runs, func(o *run) bool { return o == r })
	for _, b := range r.blocks {
		if !b.gone {
			s.forget(b)
			owed = append(owed, b)
		}
	}
	return owed
}
