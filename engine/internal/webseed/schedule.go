package webseed

import (
	"cmp"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

const (
	// MaxRunBytes bounds one request.
	MaxRunBytes = 16 << 20
	// Where several requests are under way for what lies end to end (width), each begins
	// when the one before it has got on, so that they end by turns. Those that begin
	// beside others have at least so many bytes, and the first is not cut below
	// longRunBytes for them.
	sideBySide   = 2
	shortestSide = 1 << 20
	longRunBytes = 8 << 20
	// The next request begins so many times latency before one is done: its connection
	// has sent nothing for a while, and TCP begins slowly.
	headStart = 3
)

// schedule turns the blocks that are asked for into requests of ranges of files, and
// the bytes that come into blocks again. It is pure, and for one goroutine at a time.
type schedule struct {
	info   *weir.TorrentInfo
	buffer func(n int) Buffer
	blocks map[int64]*block // that somebody waits for, by offset
	late   map[int64]*block // that were taken back and are in a run, by offset
	queue  queue
	runs   []*run // that are under way
	asked  uint64 // how many blocks were, so far
	width  width
}

// block is a block that somebody waits for.
type block struct {
	in    weir.Range // of the torrent
	order uint64     // of asking
	next  int64      // where what is in no run begins
	left  int64      // bytes that have not come
	data  Buffer     // of one that comes in several parts; nil until something came
	gone  bool       // it was taken back
	runs  []*run     // that are to bring bytes of it
	span  *span      // that has what is in no run
}

// run is one request: bytes of one file.
type run struct {
	file    int
	in      weir.Range // of the torrent
	parts   []int      // its bytes, by the blocks that they belong to
	blocks  []*block   // of the parts that have not come
	waited  int        // how many of these were not taken back
	at      int64      // how far it has come
	first   time.Time  // when its first part came
	stop    func()     // ends the request
	stopped bool       // stop was called
	moved   bool       // it goes to where a redirect has led before
	before  *run       // that ends where it begins, while that is under way, too
}

func newSchedule(info *weir.TorrentInfo, buffer func(n int) Buffer) schedule {
	return schedule{info: info, buffer: buffer, blocks: map[int64]*block{}, late: map[int64]*block{}, queue: newQueue(), width: newWidth()}
}

// ask adds a block, which lies in the torrent and is not all padding.
func (s *schedule) ask(in weir.Range) {
	if s.blocks[in.Off] != nil {
		return
	}
	if b := s.late[in.Off]; b != nil && b.in == in && !b.runs[0].stopped {
		b.gone = false // it is on its way all the same
		b.runs[0].waited++
		delete(s.late, in.Off)
		s.blocks[in.Off] = b
		return
	}
	s.asked++
	b := &block{in: in, order: s.asked, next: in.Off, left: in.Len()}
	s.blocks[in.Off] = b
	s.enqueue(b)
}

// enqueue adds what is in no run of a block to the queue. Padding is skipped: no
// server has it, and it is zeros.
func (s *schedule) enqueue(b *block) {
	for b.next < b.in.End {
		i := s.fileAt(b.next)
		f := &s.info.Files[i]
		end := min(b.in.End, f.Range().End)
		if !f.Padding {
			s.queue.add(b, i, end)
			return
		}
		b.left -= end - b.next
		b.next = end
	}
}

// takeBack forgets a block. It reports whether it was there, and ends the requests
// that bring nothing else any more.
func (s *schedule) takeBack(in weir.Range) bool {
	b := s.blocks[in.Off]
	if b == nil {
		return false
	}
	s.forget(b)
	if len(b.runs) == 1 && b.runs[0].in.Intersect(in) == in {
		s.late[in.Off] = b
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
	if b.span != nil {
		s.queue.remove(b)
	}
	if b.data != nil {
		b.data.Free()
		b.data = nil
	}
	for _, r := range b.runs {
		if r.waited--; r.waited == 0 && !r.stopped {
			r.stopped = true
			r.stop()
		}
	}
}

// nextRun returns the run of the block that waits longest, over the blocks behind it
// in the same file that wait too, and false if there is none or it had better wait:
// what follows a run that is under way is not asked for before that is nearly done, or
// where several are of use has got on, so that it becomes a long request and not many short ones.
func (s *schedule) nextRun(now time.Time, latency time.Duration) (*run, bool) {
	for _, sp := range s.queue.spans {
		if !s.held(now, sp, latency) {
			return s.startRun(sp), true
		}
	}
	return nil, false
}

func (s *schedule) fileAt(off int64) int {
	first, _ := s.info.FilesIn(weir.Range{Off: off, End: off + 1})
	return first
}

// held reports whether a span comes right behind a run in its file, with others that
// wait between them or not, that has more than latency to go.
func (s *schedule) held(now time.Time, sp *span, latency time.Duration) bool {
	first := s.queue.first(sp)
	r := s.runBefore(first)
	return r != nil && !r.nearlyDone(now, latency) && !(r.row() < s.width.n && r.farEnough(s.width.n, s.queue.length(first)))
}

// runBefore returns the run that ends where a span begins, in its file.
func (s *schedule) runBefore(sp *span) *run {
	for _, r := range s.runs {
		if r.file == sp.file && r.in.End == sp.in.Off {
			return r
		}
	}
	return nil
}

// row returns how many runs are under way up to this one, end to end.
func (r *run) row() (n int) {
	for ; r != nil; r = r.before {
		n++
	}
	return n
}

// farEnough reports whether another run may begin beside this one, of which so many
// may be under way, as so many bytes wait behind it: they end by turns then.
func (r *run) farEnough(width int, waiting int64) bool {
	rest := r.in.End - r.at
	return !r.first.IsZero() && rest <= r.in.Len()-r.in.Len()/int64(width) && waiting >= shortestSide
}

// nearlyDone reports whether the rest should come within headStart times latency.
func (r *run) nearlyDone(now time.Time, latency time.Duration) bool {
	if r.first.IsZero() {
		return false
	}
	rate := float64(r.at-r.in.Off) / max(now.Sub(r.first), time.Millisecond).Seconds()
	return float64(r.in.End-r.at) <= headStart*rate*latency.Seconds()+2*weir.BlockBytes
}

// startRun begins with a span, and extends over what follows.
func (s *schedule) startRun(sp *span) *run {
	r := &run{file: sp.file, in: weir.Range{Off: sp.in.Off, End: sp.in.Off}, at: sp.in.Off, before: s.runBefore(sp)}
	end := s.info.Files[sp.file].Range().End
	outstanding := s.queue.length(sp)
	for o := r.before; o != nil; o = o.before {
		outstanding += o.in.End - o.at
	}
	least := int64(longRunBytes)
	if r.before != nil {
		least = shortestSide
	}
	most := min(max(outstanding/int64(s.width.n), least), MaxRunBytes)
	for sp != nil && sp.file == r.file && r.in.Len() < most {
		for _, b := range s.queue.take(sp, most-r.in.Len()) {
			upTo := min(b.in.End, end)
			r.parts = append(r.parts, int(upTo-b.next))
			r.blocks = append(r.blocks, b)
			b.runs = append(b.runs, r)
			b.next, r.in.End = upTo, upTo
			s.enqueue(b)
		}
		sp = s.queue.starts[r.in.End]
	}
	r.waited = len(r.blocks)
	s.runs = append(s.runs, r)
	return r
}

// came takes the next part of a run. It returns the block that is complete with it, if
// one is, and its bytes.
func (s *schedule) came(now time.Time, r *run, part Buffer) (whole *block, data Buffer) {
	if r.first.IsZero() {
		r.first = now
	}
	b := r.blocks[0]
	r.blocks = r.blocks[1:]
	at, n := r.at, int64(len(part.Bytes()))
	r.at += n
	s.width.came(now, n, len(s.runs))
	s.leave(b, r)
	if b.gone {
		part.Free()
		return nil, nil
	}
	r.waited--
	b.left -= n
	if n < b.in.Len() {
		if b.data == nil {
			b.data = s.buffer(int(b.in.Len()))
			clear(b.data.Bytes())
		}
		copy(b.data.Bytes()[at-b.in.Off:], part.Bytes())
		part.Free()
		part, b.data = b.data, nil
		if b.left > 0 {
			b.data = part
			return nil, nil
		}
	}
	delete(s.blocks, b.in.Off)
	return b, part
}

// leave says that a run has nothing to do with a block any more.
func (s *schedule) leave(b *block, r *run) {
	b.runs = slices.DeleteFunc(b.runs, func(o *run) bool { return o == r })
	if s.late[b.in.Off] == b {
		delete(s.late, b.in.Off)
	}
}

// ended forgets a run and returns the blocks that it still owed.
func (s *schedule) ended(r *run) (owed []weir.Range) {
	s.runs = slices.DeleteFunc(s.runs, func(o *run) bool { return o == r })
	for _, o := range s.runs {
		if o.before == r {
			o.before = nil
		}
	}
	for _, b := range r.blocks {
		s.leave(b, r)
		if !b.gone {
			s.forget(b)
			owed = append(owed, b.in)
		}
	}
	return owed
}
