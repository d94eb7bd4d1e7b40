package picker

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// swarmSim is a swarm of pickers in simulated time: each member reads the torrent in
// order, and serves the others what it holds.
type swarmSim struct {
	simClock
	tb      testing.TB
	geo     geometry
	members []*member
	ahead   int  // pieces of a window
	lazy    bool // plans that are heard are looked at when it is time anyway
}

// member is one client. Its line up is shared by those who ask it, in turns.
type member struct {
	s       *swarmSim
	k       *Picker // nil of a seed
	id      uint64
	up      float64 // bytes per second
	links   []*simLink
	turn    int
	sending bool
	sent    int64
	woken   bool // a step is due

	planning  bool
	announced time.Time
	claimed   int

	window, blocked *Want
	at              int    // piece that is read
	played          func() // called when a piece has come, instead of read
	done            time.Time
	firstAt         time.Time
}

// simLink is one direction of a connection: from serves to.
type simLink struct {
	Ref      // never called: the simulation looks at what is decided itself
	from, to *member
	peer     *Peer // from, as to's picker knows it
	rtt      time.Duration
	pending  []Block
	share    float64 // of the turns of from's line that it gets, beside others
	credit   float64
	frozen   bool // from's packets are lost
	gone     bool // one of them left
}

func (s *swarmSim) add(up float64, seed bool) *member {
	m := &member{s: s, up: up, id: uint64(len(s.members)+1) * 0x9E3779B97F4A7C15}
	if !seed {
		m.k = New(s.geo, make([]bool, s.geo.pieces), Options{ID: idOf(m.id)})
	}
	s.members = append(s.members, m)
	return m
}

func idOf(n uint64) (id [20]byte) {
	binary.BigEndian.PutUint64(id[:], n)
	return id
}

func (s *swarmSim) connect(a, b *member, rtt time.Duration) {
	for _, d := range [][2]*member{{a, b}, {b, a}} {
		from, to := d[0], d[1]
		if to.k == nil {
			continue
		}
		l := &simLink{from: from, to: to, rtt: rtt, share: 1}
		l.peer = to.k.Join(PeerOptions{Ref: l, RTT: rtt, MaxRequests: 2000, Fast: true, ID: idOf(from.id)})
		if from.k == nil {
			to.k.HasAll(l.peer)
		}
		to.k.Unchoked(s.now, l.peer)
		from.links = append(from.links, l)
	}
}

// wake lets the member decide, soon: what arrives at once is looked at together.
func (m *member) wake(d time.Duration) {
	if m.woken || m.k == nil {
		return
	}
	m.woken = true
	m.s.after(d, func() { m.woken = false; m.step() })
}

func (m *member) step() {
	s := m.s
	for _, a := range m.k.Pick(s.now) {
		l := a.Peer.Ref.(*simLink)
		s.after(l.rtt/2, func() { l.hear(a) })
	}
	if _, claims := m.k.Plan(16, 64); len(claims) != m.claimed || s.now.Sub(m.announced) > 250*time.Millisecond {
		m.claimed = len(claims)
		m.announce()
	}
	if m.done.IsZero() {
		m.wake(20 * time.Millisecond)
	}
}

func (l *simLink) hear(a Action) {
	if l.gone {
		return
	}
	if a.Kind == Cancel {
		if i := slices.Index(l.pending, a.Block); i >= 0 {
			l.pending = slices.Delete(l.pending, i, i+1)
			l.from.s.after(l.rtt/2, func() {
				if !l.gone {
					l.to.k.Rejected(l.peer, a.Block)
				}
			})
		}
		return
	}
	l.pending = append(l.pending, a.Block)
	l.from.serve()
}

func (m *member) serve() {
	if m.sending {
		return
	}
	for idle := 0; idle < len(m.links); {
		m.turn = (m.turn + 1) % len(m.links)
		l := m.links[m.turn]
		if len(l.pending) == 0 || l.frozen {
			idle++
			continue
		}
		idle = 0
		if l.credit += l.share; l.credit < 1 {
			continue
		}
		l.credit--
		b := l.pending[0]
		l.pending = l.pending[1:]
		m.sending = true
		n := min(weir.BlockBytes, m.s.geo.PieceRange(b.Piece).Len()-int64(b.Index)*weir.BlockBytes)
		m.s.after(time.Duration(float64(n)/m.up*float64(time.Second)), func() {
			m.sending = false
			m.sent += n
			m.s.after(l.rtt/2, func() { l.to.arrive(l, b) })
			m.serve()
		})
		return
	}
}

func (m *member) arrive(l *simLink, b Block) {
	if l.gone {
		return
	}
	s := m.s
	d := m.k.Received(s.now, l.peer, b, nil)
	if d.Complete != nil {
		m.k.Verified(d.Complete, make([]uint64, len(d.Complete.blocks)))
		for _, out := range m.links {
			s.after(out.rtt/2, func() {
				if out.gone {
					return
				}
				out.to.k.Has(out.peer, b.Piece)
				out.to.wake(time.Millisecond)
			})
		}
		if m.played != nil {
			m.played()
		} else {
			m.read()
		}
	}
	m.wake(time.Millisecond)
}

// read goes on to the next piece that is not held.
func (m *member) read() {
	n := int(m.s.geo.pieces)
	for m.at < n && m.k.Held(m.at) {
		m.at++
		if m.at == 1 {
			m.firstAt = m.s.now
		}
	}
	if m.at == n {
		if m.done.IsZero() {
			m.done = m.s.now
		}
		m.k.Set(m.window, nil)
		m.k.Set(m.blocked, nil)
		return
	}
	m.k.Set(m.window, []Span{{m.at, min(m.at+m.s.ahead, n)}})
	m.k.Set(m.blocked, []Span{{m.at, m.at + 1}})
	m.announce()
}

// announce tells the others what is fetched now.
func (m *member) announce() {
	if !m.planning {
		return
	}
	wanted, claims := m.k.Plan(16, 64)
	m.announced = m.s.now
	for _, l := range m.links {
		l.tell(wanted, claims)
	}
}

// tell brings a plan over the connection.
func (l *simLink) tell(wanted []Span, claims []Begun) {
	l.from.s.after(l.rtt/2, func() {
		if l.gone {
			return
		}
		l.peer.SetPlan(l.from.s.now, wanted, claims)
		if !l.from.s.lazy {
			l.to.wake(time.Millisecond)
		}
	})
}

func (s *swarmSim) run(limit time.Duration) {
	begin := s.now
	for _, m := range s.members {
		if m.k != nil {
			m.window, m.blocked = m.k.NewWant(weir.Window), m.k.NewWant(weir.Blocked)
			m.read()
			m.wake(time.Millisecond)
		}
	}
	for n := 0; (n%1000 != 0 || s.reading()) && s.next(); n++ {
		if s.now.Sub(begin) > limit {
			s.tb.Errorf("not done after %v", limit)
			return
		}
	}
}

// reading reports whether anybody still does.
func (s *swarmSim) reading() bool {
	return slices.ContainsFunc(s.members, func(m *member) bool { return m.k != nil && m.done.IsZero() })
}

// crowdCase is a flash crowd: members read the same from one seed of 12.5 MB/s that is
// 50 ms away.
type crowdCase struct {
	pieces, bytes int64
	ahead         int           // pieces
	up            float64       // bytes per second, of each member
	rtt           time.Duration // between members
	unfair        bool          // some get more of the seed's line than others, and for two seconds and a half at a time one gets nothing
}

// outcome is how long the slowest took, until everybody had a piece, and how often the
// seed sent the whole.
type outcome struct {
	slowest, first time.Duration
	copies         float64
}

// measure lets members read that tell their plans, and others that don't.
func (c crowdCase) measure(tb testing.TB, planning, others int) outcome {
	tb.Helper()
	s := &swarmSim{tb: tb, geo: geometry{c.pieces, c.bytes}, simClock: simClock{now: time.Unix(1000, 0)}, ahead: c.ahead}
	seed := s.add(12.5e6, true)
	for i := range planning + others {
		m := s.add(c.up, false)
		m.planning = i < planning
		for _, o := range s.members[1 : len(s.members)-1] {
			s.connect(o, m, c.rtt)
		}
		s.connect(seed, m, 50*time.Millisecond)
	}
	if c.unfair {
		s.lose(seed)
	}
	begin := s.now
	s.run(20 * time.Minute)
	o := outcome{copies: float64(seed.sent) / float64(c.pieces*c.bytes)}
	for _, m := range s.members[1:] {
		o.slowest = max(o.slowest, m.done.Sub(begin))
		o.first = max(o.first, m.firstAt.Sub(begin))
	}
	return o
}

// lose makes the seed's line as TCP shares one that loses packets.
func (s *swarmSim) lose(seed *member) {
	for i, l := range seed.links {
		l.share = 1 / float64(1+i)
	}
	n := 0
	var next func()
	next = func() {
		l := seed.links[n%len(seed.links)]
		n += 3
		l.frozen = true
		s.after(2500*time.Millisecond, func() {
			l.frozen = false
			seed.serve()
			if s.reading() {
				next()
			}
		})
	}
	if len(seed.links) > 1 {
		next()
	}
}

// TestFlashCrowd: those who read the same from one seed take as long as one alone, as
// far as their own lines allow; without plans each of eight takes eight times as long.
func TestFlashCrowd(t *testing.T) {
	near := crowdCase{pieces: 32, bytes: 4 << 20, ahead: 16, up: 125e6, rtt: time.Millisecond}
	for name, c := range map[string]struct {
		change           func(c *crowdCase)
		planning, others int
		slowest, copies  float64 // bounds, of one alone
	}{
		"Near":           {func(*crowdCase) {}, 8, 0, 1.1, 1.1},
		"ManyNear":       {func(*crowdCase) {}, 16, 0, 1.2, 1.1},
		"Two":            {func(*crowdCase) {}, 2, 0, 1.1, 1.1},
		"SmallPieces":    {func(c *crowdCase) { c.pieces, c.bytes, c.ahead = 128, 1<<20, 64 }, 8, 0, 1.1, 1.1},
		"ShortWindow":    {func(c *crowdCase) { c.ahead = 8 }, 8, 0, 1.1, 1.1},
		"Far":            {func(c *crowdCase) { c.pieces, c.up, c.rtt = 64, 12.5e6, 50*time.Millisecond }, 8, 0, 1.5, 1.4},
		"SlowUplinks":    {func(c *crowdCase) { c.up, c.rtt = 4e6, 50*time.Millisecond }, 8, 0, 3.2, 2.8},
		"SlowestUplinks": {func(c *crowdCase) { c.up = 1e6 }, 8, 0, 6.2, 6.2},
		"Unfair":         {func(c *crowdCase) { c.unfair = true }, 8, 0, 1.25, 1.2},
		"HalfPlan":       {func(*crowdCase) {}, 4, 4, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := near
			c.change(&one)
			alone, all := one.measure(t, 1, 0), one.measure(t, c.planning, c.others)
			slowest := all.slowest.Seconds() / alone.slowest.Seconds()
			t.Logf("slowest %.2f of one alone (%.1f s), everybody has a piece after %.2f s (%.2f), %.2f copies", slowest, alone.slowest.Seconds(), all.first.Seconds(), alone.first.Seconds(), all.copies)
			if most := alone.first*5 + time.Second; c.planning == 8 && one.rtt == near.rtt && one.up == near.up && all.first > most {
				t.Errorf("everybody has a piece after %v, want %v at most", all.first, most)
			}
			if slowest > c.slowest || all.copies > c.copies {
				t.Errorf("slowest %.2f of one alone, want %.2f; %.2f copies, want %.2f", slowest, c.slowest, all.copies, c.copies)
			}
		})
	}
}

// TestPlansThatLie: who claims everything, makes progress by its own word, and never
// holds a piece, holds a reader up for seconds, and less often each time.
func TestPlansThatLie(t *testing.T) {
	c := crowdCase{pieces: 64, bytes: 4 << 20, ahead: 16, up: 125e6, rtt: time.Millisecond}
	alone := c.measure(t, 1, 0)
	for name, progress := range map[string]int{"Progress": 1, "None": 0} {
		t.Run(name, func(t *testing.T) {
			s := &swarmSim{tb: t, geo: geometry{c.pieces, c.bytes}, simClock: simClock{now: time.Unix(1000, 0)}, ahead: c.ahead}
			seed, liar, m := s.add(12.5e6, true), s.add(125e6, false), s.add(125e6, false)
			s.connect(seed, m, 50*time.Millisecond)
			s.connect(liar, m, time.Millisecond)
			in := liar.links[0]
			blocks := 0
			var lie func()
			lie = func() {
				blocks += progress
				var all []Begun
				for i := range int(c.pieces) {
					all = append(all, Begun{i, blocks})
				}
				in.peer.SetPlan(s.now, []Span{{0, int(c.pieces)}}, all)
				if m.done.IsZero() {
					s.after(250*time.Millisecond, lie)
				}
			}
			lie()
			begin := s.now
			liar.done = begin // it reads nothing
			s.run(20 * time.Minute)
			took := m.done.Sub(begin)
			t.Logf("%.1f s, alone %.1f", took.Seconds(), alone.slowest.Seconds())
			if most := alone.slowest + 20*time.Second; took > most {
				t.Errorf("took %v, want %v at most", took, most)
			}
		})
	}
}

// TestPlansAndEnoughSeeds: where there are as many seeds as readers and more, nobody waits for
// another.
func TestPlansAndEnoughSeeds(t *testing.T) {
	s := &swarmSim{tb: t, geo: geometry{64, 1 << 20}, simClock: simClock{now: time.Unix(1000, 0)}, ahead: 16}
	var seeds, readers []*member
	for range 3 {
		seeds = append(seeds, s.add(4e6, true))
	}
	for range 2 {
		m := s.add(0.1e6, false) // what it holds comes slowly
		m.planning = true
		for _, o := range seeds {
			s.connect(o, m, 50*time.Millisecond)
		}
		for _, o := range readers {
			s.connect(o, m, 50*time.Millisecond)
		}
		readers = append(readers, m)
	}
	begin := s.now
	s.run(time.Minute)
	for _, m := range readers {
		if took, most := m.done.Sub(begin), 14*time.Second; took > most { // 128 MiB at 12 MB/s take 11.2 s
			t.Errorf("took %v, want %v at most", took, most)
		}
	}
}

// TestPlansOfTheSlow: a read of a piece that a fellow holds, whose line is slow, is held up
// for a moment, and not at all once its rate is known.
func TestPlansOfTheSlow(t *testing.T) {
	s := &swarmSim{tb: t, geo: geometry{8, 4 << 20}, simClock: simClock{now: time.Unix(1000, 0)}, ahead: 1}
	seed, slow, m := s.add(12.5e6, true), s.add(0.1e6, false), s.add(12.5e6, false)
	s.connect(seed, m, 50*time.Millisecond)
	s.connect(slow, m, 50*time.Millisecond)
	in := slow.links[0]
	for i := range 8 {
		m.k.Has(in.peer, i)
	}
	m.k.HasNot(in.peer, 7)
	in.peer.SetPlan(s.now, []Span{{0, 8}}, nil)
	slow.done = s.now // it reads nothing
	begin := s.now
	s.run(time.Minute)
	if took, most := m.done.Sub(begin), 6*time.Second; took > most { // 32 MiB at 12.5 MB/s take 2.7 s
		t.Errorf("took %v, want %v at most", took, most)
	}
}
