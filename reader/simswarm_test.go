package reader_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader"
)

// simSwarm is a swarm without a network, in the time of a synctest bubble: all
// its peers together are one link with a rate and a round trip. Like the engine it
// asks for blocks, first for what reads wait for, then for windows by turns, keeps
// a tenth of a second of requests queued, and cancels what nobody wants. It is its
// own cache: a piece is held when all of it has arrived.
type simSwarm struct {
	info *weir.TorrentInfo
	rate float64 // bytes per second
	rtt  time.Duration

	mu       sync.Mutex
	pieces   map[int]*simPiece
	wants    []*simWant
	turn     int
	blocked  []int // pieces, the longest waiting first
	flight   []simRequest
	free     time.Time // when the link has delivered what is in flight
	fetched  int64
	arrived  []simRequest
	asked    time.Time // when a request was sent last
	touched  map[int]bool
	mostWant int64 // bytes of all windows, at most
	wake     chan struct{}
	stop     chan struct{}
	ended    chan struct{}
}

type simPiece struct {
	blocks  int
	asked   []bool
	got     int
	waiting int
	done    chan struct{} // closed when held
}

type simRequest struct {
	piece, block int
	bytes        int64
	sent, at     time.Time // at: the last byte arrives
}

type simWant struct {
	s      *simSwarm
	ranges []weir.Range
}

// seconds is how long the link takes for n bytes.
func (s *simSwarm) seconds(n int64) time.Duration {
	return time.Duration(float64(n) / s.rate * float64(time.Second))
}

const (
	simQueue = 100 * time.Millisecond
	// simBlock is what is asked for at a time: four blocks, to be quicker.
	simBlock = 4 * weir.BlockBytes
)

func newSimSwarm(tb testing.TB, info *weir.TorrentInfo, rate float64, rtt time.Duration) *simSwarm {
	s := &simSwarm{
		info: info, rate: rate, rtt: rtt, pieces: map[int]*simPiece{}, touched: map[int]bool{}, free: time.Now(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	go s.run()
	tb.Cleanup(func() { close(s.stop); <-s.ended })
	return s
}

func (s *simSwarm) piece(i int) *simPiece {
	p := s.pieces[i]
	if p == nil {
		n := int((s.info.PieceRange(i).Len() + simBlock - 1) / simBlock)
		p = &simPiece{blocks: n, asked: make([]bool, n), done: make(chan struct{})}
		s.pieces[i] = p
	}
	return p
}

func (p *simPiece) held() bool { return p.got == p.blocks }

func (s *simSwarm) run() {
	defer close(s.ended)
	timer := time.NewTimer(time.Hour)
	for {
		time.Sleep(simStep * 3 / 8) // until all that happens at this moment is done; in step with no file
		select {
		case <-s.wake:
		default:
		}
		s.mu.Lock()
		now := time.Now()
		s.arrive(now)
		s.fill(now)
		next := time.Hour
		if len(s.flight) > 0 {
			next = s.flight[0].at.Sub(now)
		}
		s.mu.Unlock()
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.stop:
			timer.Stop()
			return
		}
	}
}

func (s *simSwarm) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *simSwarm) arrive(now time.Time) {
	for len(s.flight) > 0 && !s.flight[0].at.After(now) {
		r := s.flight[0]
		s.flight = s.flight[1:]
		s.fetched += r.bytes
		s.arrived = append(s.arrived, r)
		p := s.piece(r.piece)
		if p.got++; p.held() {
			close(p.done)
			s.blocked = slices.DeleteFunc(s.blocked, func(i int) bool { return i == r.piece })
		}
	}
}

func (s *simSwarm) fill(now time.Time) {
	for s.free.Sub(now) < s.rtt+simQueue {
		piece := s.next()
		if piece < 0 {
			return
		}
		p := s.piece(piece)
		block := slices.Index(p.asked, false)
		p.asked[block] = true
		n := min(simBlock, s.info.PieceRange(piece).Len()-int64(block)*simBlock)
		at := now.Add(s.rtt)
		if at.Before(s.free) {
			at = s.free
		}
		s.free = at.Add(s.seconds(n))
		s.flight = append(s.flight, simRequest{piece, block, n, now, s.free})
		s.asked = now
	}
}

// next returns the piece of which a block shall be asked for, -1 for none.
func (s *simSwarm) next() int {
	open := func(i int) bool { return slices.Contains(s.piece(i).asked, false) }
	for _, i := range s.blocked {
		if open(i) {
			return i
		}
	}
	s.turn++
	for n := range s.wants {
		for _, r := range s.wants[(s.turn+n)%len(s.wants)].ranges {
			first, end := s.info.Pieces(r)
			for i := first; i < end; i++ {
				if open(i) {
					return i
				}
			}
		}
	}
	return -1
}

// cancel cancels requests that nobody wants any more and that were not answered.
func (s *simSwarm) cancel() {
	now := time.Now()
	wanted := func(i int) bool {
		return s.piece(i).waiting > 0 || slices.ContainsFunc(s.wants, func(w *simWant) bool {
			return slices.ContainsFunc(w.ranges, func(r weir.Range) bool { return !r.Intersect(s.info.PieceRange(i)).Empty() })
		})
	}
	kept := s.flight[:0]
	s.free = now
	for _, r := range s.flight {
		if begins := r.at.Add(-s.seconds(r.bytes)); begins.After(now.Add(s.rtt/2)) && !wanted(r.piece) {
			s.piece(r.piece).asked[r.block] = false
			continue
		}
		at := r.sent.Add(s.rtt)
		if at.Before(s.free) {
			at = s.free
		}
		r.at = at.Add(s.seconds(r.bytes))
		s.free = r.at
		kept = append(kept, r)
	}
	s.flight = kept
}

func (s *simSwarm) Has(id weir.PieceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pieces[id.Index]
	return p != nil && p.held()
}

var simBytes = make([]byte, 128<<10)

func (s *simSwarm) View(id weir.PieceID, _ int64, n int, use func([]byte)) (bool, error) {
	if !s.Has(id) {
		return false, nil
	}
	s.mu.Lock()
	s.touched[id.Index] = true
	s.mu.Unlock()
	use(simBytes[:n])
	return true, nil
}

func (s *simSwarm) Fetch(ctx context.Context, miss *weir.Miss, _ []byte) error {
	for _, i := range miss.Pieces {
		s.mu.Lock()
		s.touched[i] = true
		pc := s.piece(i)
		if pc.waiting++; pc.waiting == 1 && !pc.held() {
			s.blocked = append(s.blocked, i)
		}
		s.mu.Unlock()
	}
	s.poke()
	for _, i := range miss.Pieces {
		s.mu.Lock()
		pc := s.piece(i)
		s.mu.Unlock()
		select {
		case <-pc.done:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if pc.waiting--; pc.waiting == 0 {
			s.blocked = slices.DeleteFunc(s.blocked, func(b int) bool { return b == i })
		}
		s.mu.Unlock()
	}
	return ctx.Err()
}

func (s *simSwarm) NewWant() reader.Want {
	w := &simWant{s: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wants = append(s.wants, w)
	return w
}

func (w *simWant) Set(ranges []weir.Range) {
	s := w.s
	s.mu.Lock()
	w.ranges = slices.Clone(ranges)
	var bytes int64
	for _, o := range s.wants {
		for _, r := range o.ranges {
			bytes += r.Len()
		}
	}
	s.mostWant = max(s.mostWant, bytes)
	s.arrive(time.Now())
	s.cancel()
	s.mu.Unlock()
	s.poke()
}

func (w *simWant) Close() {
	w.Set(nil)
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.wants = slices.DeleteFunc(w.s.wants, func(o *simWant) bool { return o == w })
}

// needed returns the bytes of the pieces that were read.
func (s *simSwarm) needed() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.touched {
		n += s.info.PieceRange(i).Len()
	}
	return n
}
