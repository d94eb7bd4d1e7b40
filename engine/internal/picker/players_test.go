package picker

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

var (
	crowdMounts = flag.Int("mounts", 40, "how many mounts TestPlayers simulates")
	crowdSeed   = flag.Uint64("crowdseed", 1, "what TestPlayers draws from")
)

// players are many mounts that play the same film from one seed, which comes over them at
// once: with lines of all kinds, some that leave in the middle, some that lie, and others
// that know no plans.
type players struct {
	swarmSim
	rnd       *rand.Rand
	rate      float64 // bytes per second that are played
	buffer    int     // pieces that are here before a mount begins to play
	knows     int     // others that a mount is connected with, about
	seedKnows int     // mounts that the seed serves; these know each other
	leave     float64 // share of those that leave in the middle
	lie       float64
	foreign   float64
}

// player is a mount whose reader takes a piece after another at the rate of playing.
type player struct {
	*member
	p         *players
	came      time.Time
	began     time.Time // to play; zero before
	waits     time.Time // for a piece, since; zero if it doesn't
	stalled   time.Duration
	leavesAt  int // piece; -1 for never
	liar      bool
	connected map[*player]bool
}

// lines are what mounts send at most, in bytes per second, and how many of a hundred do.
var lines = []struct {
	share int
	up    float64
}{{15, 0.125e6}, {35, 1e6}, {40, 2.5e6}, {10, 12.5e6}}

func (p *players) line() float64 {
	n := p.rnd.IntN(100)
	for _, l := range lines {
		if n -= l.share; n < 0 {
			return l.up
		}
	}
	panic("the shares are not a hundred")
}

// rtt is between two mounts, or a mount and the seed.
func (p *players) rtt() time.Duration {
	return time.Duration(5+p.rnd.IntN(90)) * time.Millisecond
}

func (p *players) join(seed *member, all []*player) *player {
	m := &player{member: p.add(p.line(), false), p: p, came: p.now, leavesAt: -1, connected: map[*player]bool{}}
	m.planning = p.rnd.Float64() >= p.foreign
	m.liar = p.rnd.Float64() < p.lie
	if p.rnd.Float64() < p.leave {
		m.leavesAt = int(p.geo.pieces) / 2
	}
	m.played = m.play
	if len(all) < p.seedKnows {
		p.connect(seed, m.member, p.rtt())
		for _, o := range all {
			m.meet(o)
		}
	}
	for n := 0; len(m.connected) < min(p.knows/2, len(all)) && n < 4*p.knows; n++ {
		m.meet(all[p.rnd.IntN(len(all))])
	}
	return m
}

func (m *player) meet(o *player) {
	if m.connected[o] || o == m || !o.done.IsZero() || len(o.connected) > 2*m.p.knows && len(o.connected) > m.p.seedKnows {
		return
	}
	m.connected[o], o.connected[m] = true, true
	m.p.connect(m.member, o.member, m.p.rtt())
	for _, pair := range [][2]*player{{m, o}, {o, m}} {
		from, to := pair[0], pair[1]
		for _, l := range from.links {
			if l.to == to.member {
				if from.planning && from.window != nil {
					l.tell(from.k.Plan(16, 64))
				}
				for i := range from.k.HeldPieces() {
					if from.k.Held(i) {
						to.k.Has(l.peer, i)
					}
				}
			}
		}
	}
}

// begin starts a mount.
func (m *player) begin() {
	m.window, m.blocked = m.k.NewWant(weir.Window), m.k.NewWant(weir.Blocked)
	if m.liar {
		m.lieOn(0)
		m.done = m.p.now
		return
	}
	m.waits = m.p.now
	m.want()
	m.wake(time.Millisecond)
}

// lieOn claims everything, with more blocks each time, and holds nothing.
func (m *player) lieOn(blocks int) {
	var all []Begun
	for i := range min(64, int(m.p.geo.pieces)) {
		all = append(all, Begun{i, blocks})
	}
	for _, l := range m.links {
		l.peer.SetPlan(m.p.now, []Span{{0, int(m.p.geo.pieces)}}, all)
	}
	if m.p.reading() {
		m.p.after(500*time.Millisecond, func() { m.lieOn(blocks + 1) })
	}
}

func (m *player) want() {
	n := int(m.p.geo.pieces)
	m.k.Set(m.window, []Span{{m.at, min(m.at+m.p.ahead, n)}})
	if m.waits.IsZero() {
		m.k.Set(m.blocked, nil)
	} else {
		m.k.Set(m.blocked, []Span{{m.at, m.at + 1}})
		if m.began.IsZero() {
			m.k.Set(m.blocked, []Span{{m.at, m.p.buffer}})
		}
	}
	m.announce()
}

// play goes on if it waits and the piece is here.
func (m *player) play() {
	if m.waits.IsZero() || !m.done.IsZero() || !m.k.Held(m.at) {
		return
	}
	for i := range m.p.buffer {
		if m.began.IsZero() && !m.k.Held(i) {
			return
		}
	}
	if m.began.IsZero() {
		m.began, m.firstAt = m.p.now, m.p.now
	} else {
		m.stalled += m.p.now.Sub(m.waits)
	}
	m.waits = time.Time{}
	m.next()
}

// next plays a piece that is here.
func (m *player) next() {
	m.p.after(time.Duration(float64(m.p.geo.bytes)/m.p.rate*float64(time.Second)), func() {
		m.at++
		if m.at == int(m.p.geo.pieces) || m.at == m.leavesAt {
			m.end()
			return
		}
		if m.k.Held(m.at) {
			m.want()
			m.next()
			return
		}
		m.waits = m.p.now
		m.want()
		m.wake(time.Millisecond)
	})
}

// end stops reading. Who leaves is gone; the others go on to serve.
func (m *player) end() {
	m.done = m.p.now
	m.k.Set(m.window, nil)
	m.k.Set(m.blocked, nil)
	if m.at != m.leavesAt {
		m.announce()
		return
	}
	for _, l := range m.links {
		l.pending = nil
		l.gone = true
		l.to.k.Leave(l.peer)
		for _, back := range l.to.links {
			if back.to == m.member {
				back.gone, back.pending = true, nil
			}
		}
		l.to.links = slices.DeleteFunc(l.to.links, func(o *simLink) bool { return o.to == m.member })
	}
	m.links = nil
}

// playersOutcome is what came of it.
type playersOutcome struct {
	copies          float64
	stalled         float64         // of the time of playing
	start           []time.Duration // until each began to play, in order
	stalledMost     float64
	neverStalled    int
	mounts, foreign int
}

func (p *players) run(mounts int, within time.Duration, seedUp float64) (o playersOutcome) {
	seed := p.add(seedUp, true)
	var all []*player
	for i := range mounts {
		p.after(time.Duration(i)*within/time.Duration(mounts), func() {
			m := p.join(seed, all)
			all = append(all, m)
			m.begin()
		})
	}
	size := float64(p.geo.pieces * p.geo.bytes)
	limit := p.now.Add(20 * time.Duration(size/p.rate*float64(time.Second)))
	for n := 0; (n%1000 != 0 || len(all) < mounts || p.reading()) && p.next(); n++ {
		if p.now.After(limit) {
			p.tb.Errorf("not done at %v", limit)
			break
		}
	}
	o.copies = float64(seed.sent) / size
	var stalled, played float64
	for _, m := range all {
		if m.liar || m.began.IsZero() {
			continue
		}
		took := float64(m.at) * float64(p.geo.bytes) / p.rate
		stalled += m.stalled.Seconds()
		played += took
		o.stalledMost = max(o.stalledMost, m.stalled.Seconds()/took)
		o.start = append(o.start, m.began.Sub(m.came))
		if m.stalled == 0 {
			o.neverStalled++
		}
		o.mounts++
		if !m.planning {
			o.foreign++
		}
	}
	slices.Sort(o.start)
	o.stalled = stalled / played
	return o
}

// TestPlayers: mounts that come over one seed at once and play hardly stall, and the seed
// sends a few copies. docs/performance.md has what came of a hundred and of a thousand.
func TestPlayers(t *testing.T) {
	p := &players{
		swarmSim: swarmSim{tb: t, geo: geometry{96, 256 << 10}, simClock: simClock{now: time.Unix(1000, 0)}, ahead: 48, lazy: true},
		rnd:      rand.New(rand.NewPCG(*crowdSeed, 1)), rate: 0.5e6, buffer: 4, knows: 30, seedKnows: 40,
		leave: 0.1, lie: 0.02, foreign: 0.1,
	}
	o := p.run(*crowdMounts, 20*time.Second, 12.5e6)
	t.Logf("%d mounts, %d of them foreign: %.2f copies; stalled %.2f %% of playing, one of them at most %.0f %%, %d never; they began to play after %.1f s (median), %.1f s (95th percentile), %.1f s",
		o.mounts, o.foreign, o.copies, 100*o.stalled, 100*o.stalledMost, o.neverStalled, o.start[len(o.start)/2].Seconds(), o.start[len(o.start)*95/100].Seconds(), o.start[len(o.start)-1].Seconds())
	if o.copies > 2 || o.stalled > 0.01 {
		t.Errorf("%.2f copies, want 2 at most; stalled %.2f %%, want 1 %% at most", o.copies, 100*o.stalled)
	}
}
