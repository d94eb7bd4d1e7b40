package choker_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/internal/choker"
)

// slot is what an observer has seen of a peer.
type slot struct {
	since    time.Time // that it has a slot, or waits for one
	served   bool      // had one before
	ranked   bool      // has it for what it gives
	extended bool      // has been let finish, or lost its rank
}

// observer holds a choker's choices against what choker.go promises. It sees what
// a peer could see: who has a slot, since when, and who gives how much.
type observer struct {
	tb    testing.TB
	slots map[*choker.Peer]*slot
	round time.Time // the latest
}

func (o *observer) joined(p *choker.Peer, now time.Time) { o.slots[p] = &slot{since: now} }

// moment is what the promises are about: a decision, and what was before it.
type moment struct {
	now     time.Time
	f       choker.Facts
	peers   []*choker.Peer
	had     map[*choker.Peer]bool
	changes []choker.Change
	slots   int
}

// decided looks at one decision.
func (o *observer) decided(m moment) {
	o.tb.Helper()
	taken, given := o.split(m)
	round := m.now.Sub(o.round) >= choker.Round
	if !round && len(taken) > 0 {
		o.tb.Fatalf("%d slots are taken back between rounds", len(taken))
	}
	if round {
		o.round = m.now
		o.ranks(m, taken)
	}
	o.order(m, given)
	for _, c := range m.changes {
		s := o.slots[c.Peer]
		s.since, s.extended = m.now, false
		if c.Unchoke {
			s.served = true
			s.ranked = s.ranked && round // by ranks, which are of this round
		} else {
			s.ranked = false
		}
	}
}

// split returns who lost its slot though it wants it, and who got one. Slots are
// taken back first, none is free beside one who waits, and none is given beyond
// their number.
func (o *observer) split(m moment) (taken, given []*choker.Peer) {
	o.tb.Helper()
	before, after, waiting := 0, 0, 0
	for _, p := range m.peers {
		if m.had[p] && p.Interested {
			before++
		}
		if p.Unchoked() {
			after++
		} else if p.Interested {
			waiting++
		}
	}
	for _, c := range m.changes {
		switch {
		case c.Unchoke:
			given = append(given, c.Peer)
		case len(given) > 0:
			o.tb.Fatal("a slot is given before others are taken back")
		case c.Peer.Interested:
			taken = append(taken, c.Peer)
		}
	}
	if waiting > 0 && after < m.slots {
		o.tb.Fatalf("%d of %d slots are taken while %d wait", after, m.slots, waiting)
	}
	if len(given) > 0 && after > max(m.slots, before) || len(given) > len(taken)+max(0, m.slots-before) {
		o.tb.Fatalf("%d slots are given and %d taken back, %d of %d were taken", len(given), len(taken), before, m.slots)
	}
	return taken, given
}

// ranks looks at a round: who gives most has a slot, who is to go is who was served
// longest, and not more go than there is reason for.
func (o *observer) ranks(m moment, taken []*choker.Peer) {
	o.tb.Helper()
	best := o.best(m)
	var around []*choker.Peer // had a slot and no rank, the longest served first
	before, entering := 0, 0
	for _, p := range m.peers {
		s := o.slots[p]
		if was := s.ranked; was && !slices.Contains(best, p) {
			s.extended = true
		}
		s.ranked = slices.Contains(best, p) && p.Unchoked()
		had := m.had[p] && p.Interested
		if had {
			before++
			if !slices.Contains(best, p) {
				around = append(around, p)
			}
		} else if s.ranked {
			entering++
		}
	}
	slices.SortStableFunc(around, func(a, b *choker.Peer) int { return o.slots[a].since.Compare(o.slots[b].since) })
	for _, p := range best {
		if !p.Unchoked() && slices.ContainsFunc(around, func(q *choker.Peer) bool {
			return q.Unchoked() && m.now.Sub(o.slots[q].since) >= choker.Round
		}) {
			o.tb.Fatalf("peer %v gives %v and waits for one of no rank", p.Ref, p.Gives)
		}
		if m.had[p] && !p.Unchoked() {
			o.tb.Fatalf("peer %v gives %v and lost its slot", p.Ref, p.Gives)
		}
	}
	if n := len(holders(m.peers)); n > m.slots && slices.ContainsFunc(around, func(p *choker.Peer) bool {
		return p.Unchoked() && m.now.Sub(o.slots[p].since) >= choker.Round
	}) {
		o.tb.Fatalf("%d slots are taken after a round, of %d", n, m.slots)
	}
	// Those who must go for others to have their place, and for a number of slots
	// that has become smaller; the rest went because their turn was over.
	forced := max(0, before+entering-m.slots)
	for _, p := range taken {
		s := o.slots[p]
		held := m.now.Sub(s.since)
		if held < choker.Round {
			o.tb.Fatalf("peer %v had its slot for %v", p.Ref, held)
		}
		if longer := slices.IndexFunc(around, func(q *choker.Peer) bool {
			return q.Unchoked() && o.slots[q].since.Before(s.since) && !nearlyDone(q)
		}); longer >= 0 {
			o.tb.Fatalf("peer %v goes, and %v, which was served longer, stays", p.Ref, around[longer].Ref)
		}
	}
	early := 0
	for _, p := range taken {
		if m.now.Sub(o.slots[p].since) < choker.Turn {
			early++
		}
	}
	if early > forced {
		o.tb.Fatalf("%d turns end early, for %d that have a right to the slots", early, forced)
	}
	third := (len(around) - min(forced, len(around)) + 2) / 3
	if len(taken) > forced+third {
		o.tb.Fatalf("%d of %d turns end at a time, %d for others' ranks", len(taken), len(around), forced)
	}
	o.turns(m, around, len(taken), forced, third)
}

func holders(peers []*choker.Peer) (all []*choker.Peer) {
	for _, p := range peers {
		if p.Unchoked() {
			all = append(all, p)
		}
	}
	return all
}

// turns looks at whose turn is over: it goes on when nobody waits, when others
// went first, or once when the peer is nearly done.
func (o *observer) turns(m moment, around []*choker.Peer, taken, forced, third int) {
	o.tb.Helper()
	waiting := 0
	for _, p := range m.peers {
		if p.Interested && !p.Unchoked() && !slices.ContainsFunc(m.changes, func(c choker.Change) bool { return c.Peer == p }) {
			waiting++
		}
	}
	for _, p := range around {
		s := o.slots[p]
		if !p.Unchoked() || m.now.Sub(s.since) < choker.Turn {
			continue
		}
		if waiting == 0 || taken >= forced+third {
			continue
		}
		if s.extended || !nearlyDone(p) {
			o.tb.Fatalf("peer %v has had its slot for %v while %d wait, and %d others went", p.Ref, m.now.Sub(s.since), waiting, taken)
		}
		s.extended = true
	}
}

// nearlyDone reports whether one round more makes a peer a seed.
func nearlyDone(p *choker.Peer) bool {
	return p.Needs > 0 && float64(p.Needs) <= p.Takes*choker.Round.Seconds()
}

// best returns who is to have a slot for what it gives: one slot less than there
// are. Who has such a slot is preferred to those who give up to a quarter more.
func (o *observer) best(m moment) []*choker.Peer {
	if !m.f.Fetching {
		return nil
	}
	var all []*choker.Peer
	for _, p := range m.peers {
		if p.Interested && p.Gives > 0 {
			all = append(all, p)
		}
	}
	worth := func(p *choker.Peer) float64 {
		if o.slots[p].ranked && m.had[p] {
			return 1.25 * p.Gives
		}
		return p.Gives
	}
	slices.SortStableFunc(all, func(a, b *choker.Peer) int {
		switch wa, wb := worth(a), worth(b); {
		case wa > wb:
			return -1
		case wa < wb:
			return 1
		}
		return 0
	})
	return all[:min(len(all), m.slots-1)]
}

// order looks at who was given a slot for its turn: the one that has waited longest,
// and a newcomer as if it had waited three times as long.
func (o *observer) order(m moment, given []*choker.Peer) {
	o.tb.Helper()
	weight := func(p *choker.Peer) time.Duration {
		d := m.now.Sub(o.slots[p].since)
		if !o.slots[p].served {
			d *= 3
		}
		return d
	}
	for _, p := range given {
		if o.slots[p].ranked && o.round.Equal(m.now) {
			continue
		}
		for _, q := range m.peers {
			if q.Interested && !q.Unchoked() && !m.had[q] && weight(q) > weight(p) {
				o.tb.Fatalf("peer %v has waited for %v (as it counts), %v got the slot after %v", q.Ref, weight(q), p.Ref, weight(p))
			}
		}
	}
}

// TestPromises: swarms of many kinds, in which peers come, go, give, take and lose
// interest, and limits change. The bench's observer judges each decision.
func TestPromises(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		limits := []float64{0, 0, 1e3, 20e3, 50e3, 1e6}
		b := newBench(t, choker.Facts{Fetching: r.IntN(3) > 0, UploadLimit: limits[r.IntN(len(limits))]})
		crowd := 4 + r.IntN(40)
		busy := r.IntN(20) // how often something happens
		gives := func() float64 {
			if r.IntN(2) == 0 {
				return 0
			}
			return r.Float64() * 1e5
		}
		for range r.IntN(crowd) {
			b.join(gives())
		}
		b.run(4*time.Minute, func() {
			b.facts.UploadRate = r.Float64() * max(1e6, b.facts.UploadLimit)
			for range r.IntN(busy/4 + 1) {
				if len(b.peers) < 1 {
					b.join(gives())
				}
				i := r.IntN(len(b.peers))
				switch p := b.peers[i]; r.IntN(10) {
				case 0, 1:
					if len(b.peers) < crowd {
						b.join(gives())
					}
				case 2:
					b.leave(i)
				case 3:
					p.Interested = !p.Interested
				case 4, 5:
					p.Gives = gives()
				case 6, 7:
					p.Takes, p.Needs = 1e5, r.Int64N(2e6)
				case 8:
					if r.IntN(10) == 0 {
						b.facts.UploadLimit = limits[r.IntN(len(limits))]
					}
				case 9:
					if r.IntN(10) == 0 {
						b.facts.Fetching = !b.facts.Fetching
					}
				}
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestTimes: ten and thirty seconds are what BEP 3 says and what peers count on.
func TestTimes(t *testing.T) {
	b := newBench(t, choker.Facts{UploadLimit: 1, UploadRate: 1}) // two slots, and no more
	for range 3 {
		b.join(0)
	}
	var changes []time.Duration
	begin := b.now
	b.run(95*sec, func() {
		if b.last[b.peers[2]].Equal(b.now) || b.last[b.peers[0]].Equal(b.now) && b.turns[b.peers[0]] > 1 || b.last[b.peers[1]].Equal(b.now) && b.turns[b.peers[1]] > 1 {
			changes = append(changes, b.now.Sub(begin))
		}
	})
	// One of the two goes after its turn, the other a round later, and so on.
	if want := []time.Duration{30 * sec, 40 * sec, 60 * sec, 70 * sec, 90 * sec}; !slices.Equal(changes, want) {
		t.Errorf("slots change hands at %v, want %v", changes, want)
	}
	if choker.Round != 10*sec || choker.Turn != 30*sec {
		t.Errorf("a round of %v and turns of %v", choker.Round, choker.Turn)
	}
}

// TestTrialsPause: a slot more that brings nothing is taken back after a round, and
// the next is tried five minutes later.
func TestTrialsPause(t *testing.T) {
	b := newBench(t, choker.Facts{UploadRate: 1e6})
	for range 40 {
		b.join(0)
	}
	var tried, lasted []time.Duration
	begin, was := b.now, 8
	b.run(20*time.Minute, func() {
		if n := b.c.Slots(0); n > was {
			tried = append(tried, b.now.Sub(begin))
		} else if n < was {
			lasted = append(lasted, b.now.Sub(begin)-tried[len(tried)-1])
		}
		was = b.c.Slots(0)
	})
	if len(tried) != 4 {
		t.Fatalf("tried at %v", tried)
	}
	for i := range tried {
		if lasted[i] != choker.Round {
			t.Errorf("trial %d lasted %v", i, lasted[i])
		}
		if i > 0 && tried[i]-tried[i-1] != 5*time.Minute+choker.Round {
			t.Errorf("trials %v apart", tried[i]-tried[i-1])
		}
	}
}
