package picker

import (
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// sim is a swarm without a network: peers answer requests in order at their rate
// and after their round trip, in simulated time, so that every decision of the
// picker can be measured to the microsecond and repeated.
type sim struct {
	simClock
	tb    testing.TB
	k     *Picker
	peers []*simPeer
	tick  bool
	steps int

	onPiece func(index int)
	asked   map[Block]int
}

type simPeer struct {
	Ref     // never called: the simulation looks at what is decided itself
	s       *sim
	p       *Peer
	rtt     time.Duration
	rate    float64       // bytes per second
	pulse   time.Duration // it sends at multiples of this only; at once when 0
	frozen  bool
	drops   bool // what is cancelled it drops without a word, as Transmission does
	choking bool
	corrupt bool
	asked   []Block // in the order of deciding
	pending []Block // accepted and not yet sent
	sent    int64   // bytes
	gone    bool
}

type geometry struct{ pieces, bytes int64 }

func (g geometry) NumPieces() int { return int(g.pieces) }
func (g geometry) PieceRange(i int) weir.Range {
	return weir.Range{Off: int64(i) * g.bytes, End: int64(i+1) * g.bytes}
}

func newSim(tb testing.TB, pieces, pieceBytes int64, o Options) *sim {
	g := geometry{pieces, pieceBytes}
	return &sim{tb: tb, k: New(g, make([]bool, pieces), o), simClock: simClock{now: time.Unix(1000, 0)}, asked: map[Block]int{}}
}

func (s *sim) join(rtt time.Duration, rate float64) *simPeer {
	p := &simPeer{s: s, rtt: rtt, rate: rate}
	p.p = s.k.Join(PeerOptions{Ref: p, RTT: rtt, MaxRequests: 2000, Fast: true})
	s.k.HasAll(p.p)
	s.k.Unchoked(time.Time{}, p.p)
	s.peers = append(s.peers, p)
	return p
}

// step lets the picker decide and carries it out.
func (s *sim) step() {
	actions := s.k.Pick(s.now)
	if err := s.k.promised(actions); err != nil {
		s.tb.Fatal(err)
	}
	for _, a := range actions {
		p := a.Peer.Ref.(*simPeer)
		if a.Kind == Request {
			s.asked[a.Block]++
			p.asked = append(p.asked, a.Block)
		}
		s.after(p.rtt/2, func() { p.hear(a) })
	}
	if s.steps++; s.steps%256 == 0 { // it looks at every block
		if err := s.k.check(); err != nil {
			s.tb.Fatal(err)
		}
	}
	if !s.tick {
		s.tick = true
		s.after(20*time.Millisecond, func() { s.tick = false })
	}
}

func (p *simPeer) hear(a Action) {
	if p.gone {
		return
	}
	if a.Kind == Cancel {
		if i := slices.Index(p.pending, a.Block); i > 0 || i == 0 && p.frozen { // the first one is on the line
			p.pending = slices.Delete(p.pending, i, i+1)
			if p.drops {
				return
			}
			p.s.after(p.rtt/2, func() { p.s.k.Rejected(p.p, a.Block) })
		}
		return
	}
	if p.choking { // the request and the choke have crossed
		if p.p.fast {
			p.s.after(p.rtt/2, func() { p.s.k.Rejected(p.p, a.Block) })
		}
		return
	}
	p.pending = append(p.pending, a.Block)
	if len(p.pending) == 1 {
		p.serve()
	}
}

// serve sends the first pending block.
func (p *simPeer) serve() {
	if p.frozen || p.gone || len(p.pending) == 0 {
		return
	}
	if p.pulse > 0 {
		p.servePulse()
		return
	}
	n := p.s.blockBytes(p.pending[0])
	p.s.after(time.Duration(float64(n)/p.rate*float64(time.Second)), func() {
		if p.frozen || p.gone || len(p.pending) == 0 {
			return
		}
		b := p.pending[0]
		p.pending = p.pending[1:]
		p.sent += n
		p.s.after(p.rtt/2, func() { p.s.arrive(p, b) })
		p.serve()
	})
}

// servePulse sends at the clock's next turn what the rate allows for one.
func (p *simPeer) servePulse() {
	p.s.after(p.s.now.Truncate(p.pulse).Add(p.pulse).Sub(p.s.now), func() {
		for most := p.rate * p.pulse.Seconds(); len(p.pending) > 0 && most > 0 && !p.gone && !p.frozen; p.pending = p.pending[1:] {
			b, n := p.pending[0], p.s.blockBytes(p.pending[0])
			most -= float64(n)
			p.sent += n
			p.s.after(p.rtt/2, func() { p.s.arrive(p, b) })
		}
		p.serve()
	})
}

func (s *sim) blockBytes(b Block) int64 {
	return min(weir.BlockBytes, s.k.pieces.geo.PieceRange(b.Piece).Len()-int64(b.Index)*weir.BlockBytes)
}

func (s *sim) arrive(p *simPeer, b Block) {
	if p.gone {
		return
	}
	d := s.k.Received(s.now, p.p, b, nil)
	if d.Complete == nil {
		return
	}
	sums, right := make([]uint64, len(d.Complete.blocks)), true
	for i := range d.Complete.blocks {
		if d.Complete.blocks[i].from.Ref.(*simPeer).corrupt {
			right, sums[i] = false, uint64(s.seq)+1
		}
	}
	var guilty []*Peer
	if right {
		_, guilty = s.k.Verified(d.Complete, sums)
		if s.onPiece != nil {
			s.onPiece(b.Piece)
		}
	} else {
		guilty = s.k.Failed(s.now, d.Complete, sums)
	}
	for _, g := range guilty {
		g.Ref.(*simPeer).gone = true
		s.k.Leave(g)
	}
}

// run advances time until done, at most for limit, and returns how long it took.
func (s *sim) run(limit time.Duration, done func() bool) time.Duration {
	s.tb.Helper()
	begin := s.now
	for s.step(); !done(); s.step() {
		if !s.next() {
			s.tb.Fatal("nothing more happens, and it is not done")
		}
		for s.more() {
			s.next()
		}
		if s.now.Sub(begin) > limit {
			s.tb.Fatalf("not done after %v", limit)
		}
	}
	return s.now.Sub(begin)
}

// read waits for one piece as a reader does.
func (s *sim) read(index int, limit time.Duration) time.Duration {
	s.tb.Helper()
	w := s.k.NewWant(weir.Blocked)
	s.k.Set(w, []Span{{index, index + 1}})
	d := s.run(limit, func() bool { return s.k.Held(index) })
	s.k.Close(w)
	return d
}

// stream reads pieces first … end-1 in order with a window of ahead pieces, and
// returns the longest wait for one of them.
func (s *sim) stream(first, end, ahead int, limit time.Duration, each func(index int)) (total, gap time.Duration) {
	s.tb.Helper()
	w := s.k.NewWant(weir.Window)
	begin := s.now
	for i := first; i < end; i++ {
		s.k.Set(w, []Span{{i, min(i+ahead, end)}})
		if !s.k.Held(i) {
			gap = max(gap, s.read(i, limit))
		}
		if each != nil {
			each(i)
		}
	}
	s.k.Close(w)
	return s.now.Sub(begin), gap
}

func (s *sim) sent() (n int64) {
	for _, p := range s.peers {
		n += p.sent
	}
	return n
}
