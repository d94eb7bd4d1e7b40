package picker

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Readers that begin at the same place want the same pieces in the same order, and each
// would take all of them from the one seed that has them. So they tell each other their
// plans: which pieces they want now, and which of these they are fetching. Where there are no
// more seeds than fellows, a piece that a fellow is fetching from a seed is left to it while it
// makes progress, and a piece that a fellow holds is taken from it: the seed sends each piece
// once. Who begins a piece that nobody has begun is known to all without a word: they take turns
// in the order of a hash of their peer ID and the piece's number (rendezvous hashing),
// which also decides between two that begin the same piece.

// Begun says that a peer is fetching a piece, and how many of its blocks it has.
type Begun struct{ Piece, Blocks int }

// claim is another peer's claim.
type claim struct {
	Begun
	since  time.Time // it was first made
	failed bool      // it was given up
}

// plan is what a peer says that it wants and is fetching.
type plan struct {
	id       [20]byte
	wanted   []Span
	claims   []claim
	progress time.Time // it had more blocks of a claimed piece than before, or all of them
	finished bool      // since it told its plan last it has got all of a claimed piece
	failures int       // claims that came to nothing, less those that came true since
	ignored  time.Time // its claims are ignored until then
}

// leftPiece is what was decided of a piece that others want too.
type leftPiece struct {
	judged  time.Time // when spared was
	spared  bool      // only fellows are asked for it
	free    time.Time // since then nobody holds it or is fetching it; zero if somebody does
	heldFor time.Time // since then a fellow holds it; zero if nobody does
}

// SetPlan says which pieces the peer wants now and which of them it is fetching.
func (p *Peer) SetPlan(now time.Time, wanted []Span, claims []Begun) {
	plan := &p.plan
	plan.wanted = append(plan.wanted[:0], wanted...)
	if plan.finished {
		plan.finished, plan.progress = false, now
	}
	before := plan.claims
	plan.claims = make([]claim, 0, len(claims))
	for _, c := range claims {
		n, more := claim{Begun: c, since: now}, true
		for _, o := range before {
			if o.Piece == c.Piece {
				n.since, n.failed, more = o.since, o.failed, c.Blocks > o.Blocks
			}
		}
		if more {
			plan.progress = now
		}
		plan.claims = append(plan.claims, n)
	}
}

// Plan returns our own plan: the pieces that our readers want now, at most maxSpans spans, and
// of these the ones that we are fetching from seeds, at most maxClaims.
func (k *Picker) Plan(maxSpans, maxClaims int) (wanted []Span, claims []Begun) {
	for _, prio := range []weir.Priority{weir.Blocked, weir.Window} {
		for _, w := range k.wants.byPriority[prio] {
			for _, s := range w.spans {
				if s.First >= s.End || len(wanted) == maxSpans {
					continue
				}
				wanted = append(wanted, s)
				for i := s.First; i < s.End && len(claims) < maxClaims; i++ {
					if p := k.pieces.open[i]; p != nil && p.claimed() && !slices.ContainsFunc(claims, func(c Begun) bool { return c.Piece == i }) {
						claims = append(claims, Begun{i, p.count - p.missing})
					}
				}
			}
		}
	}
	return wanted, claims
}

// claimed reports whether a block of the piece comes from a peer that is no fellow.
func (p *piece) claimed() bool {
	if p.onTrial() {
		return false
	}
	for i := range p.blocks {
		b := &p.blocks[i]
		if b.from != nil && !b.from.fellow() || b.reqs[0] != nil && !b.reqs[0].peer.fellow() {
			return true
		}
	}
	return false
}

func (s *plan) wants(index int) bool {
	return slices.ContainsFunc(s.wanted, func(w Span) bool { return w.contains(index) })
}

// claimOf returns the peer's claim of the piece, nil if there is none that counts.
func (s *plan) claimOf(now time.Time, index int) *claim {
	if now.Before(s.ignored) {
		return nil
	}
	for i := range s.claims {
		if c := &s.claims[i]; c.Piece == index && !c.failed {
			return c
		}
	}
	return nil
}

// believes reports whether the peer may be waited for, which is fetching the piece; share is
// how many bytes per second it should get. One whose claims come to nothing is not
// believed for a while, which doubles each time.
func (s *plan) believes(now time.Time, c *claim, p *piece, share float64) bool {
	due := claimGrace + time.Duration(claimPatience*float64(min(len(s.claims), maxClaimsWaited))*float64(p.bytes)/max(share, minShare)*float64(time.Second))
	if now.Sub(s.progress) < claimStall && now.Sub(c.since) < due {
		return true
	}
	c.failed = true
	s.ignored = now.Add(claimIgnored << min(s.failures, maxClaimFailures))
	s.failures++
	return false
}

// kept says that the peer holds a piece now, which it may have claimed.
func (s *plan) kept(index int) {
	for i := range s.claims {
		if s.claims[i].Piece == index {
			s.finished = true
			s.failures = max(0, s.failures-1)
		}
	}
}

// spares reports whether only fellows may be asked for the piece, because one of them has it
// or is fetching it.
func (s *scheduler) spares(now time.Time, p *piece) bool {
	if !s.fellows || p.onTrial() {
		return false
	}
	if sp := &p.left; now.Sub(sp.judged) >= judgeEvery {
		sp.judged = now
		sp.spared = s.judgeLeft(now, p)
	}
	return p.left.spared
}

func (s *scheduler) judgeLeft(now time.Time, p *piece) bool {
	var seeds, holders float64 // bytes per second of the seeds, and of the fellows that hold it
	sources, fellows, measured := 0, 0, false
	for _, c := range s.peers.list {
		switch {
		case c.usable(p.index) && c.fellow():
			holders += c.meter.rate
			measured = measured || c.meter.measured
			fellows++
		case c.usable(p.index):
			seeds += c.meter.rate
			sources++
		case c.fellow() && c.plan.wants(p.index):
			fellows++
		}
	}
	if fellows < sources {
		return false // there is enough for all
	}
	left := &p.left
	if holders > 0 {
		left.free = time.Time{}
		if left.heldFor.IsZero() {
			left.heldFor = now
		}
		patience := claimStall + time.Duration(holderPatience*float64(p.bytes)/holders*float64(time.Second))
		if !measured && p.priority() == weir.Blocked {
			patience = strangerPatience // they may be very slow
		}
		return seeds < seedsWorth*holders && now.Sub(left.heldFor) < patience
	}
	left.heldFor = time.Time{}
	ours := turnOf(s.opts.ID, p.index)
	share := seeds / float64(1+fellows)
	rank, taken := 0, false
	for _, c := range s.peers.list {
		if !c.fellow() || c.has(p.index) || !c.plan.wants(p.index) {
			continue
		}
		before := turnOf(c.plan.id, p.index) > ours
		if before {
			rank++
		}
		if cl := c.plan.claimOf(now, p.index); cl != nil && (before || !p.begun()) && c.plan.believes(now, cl, p, share) {
			taken = true
		}
	}
	switch {
	case taken:
		left.free = time.Time{}
		return true
	case p.begun():
		return false
	case left.free.IsZero():
		left.free = now
	}
	return now.Sub(left.free) < time.Duration(min(rank, maxTurns))*turnTime
}

// fellow reports whether the peer reads as we do: it tells its plan, and has not everything.
func (p *Peer) fellow() bool { return len(p.plan.wanted) > 0 && !p.all }

// turnOf orders the peers that want a piece, in the same way at all of them.
func turnOf(id [20]byte, index int) uint64 {
	const odd = 0xD6E8FEB86659FD93
	h := binary.BigEndian.Uint64(id[:]) ^ uint64(index)*odd
	h = (h ^ h>>32) * odd
	h ^= binary.BigEndian.Uint64(id[8:])
	h = (h ^ h>>32) * odd
	h ^= uint64(binary.BigEndian.Uint32(id[16:]))
	for range 2 {
		h = (h ^ h>>32) * odd
	}
	return h ^ h>>32
}
