package picker

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Readers that begin at the same place want the same pieces in the same order, and each
// would take all of them from the one seed that has them. So they tell each other their
// plans: which pieces they want now, and which of these they are fetching from seeds.
// Where there are no more seeds than fellows, peers that read the same and say so, a piece
// that a fellow is fetching from a seed is left to it while it makes progress, and a piece
// that a fellow holds is taken from it: the seeds send each piece once, in the order of
// reading. Who begins a piece that nobody has begun is known to all without a word: they take
// turns in the order of a hash of their peer ID and the piece's number (rendezvous hashing),
// which also decides between two that have begun the same piece.

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
	progress progress
	finished int       // blocks of pieces that it has got whole since it told its plan last
	failures int       // claims that came to nothing, less those that came true since
	ignored  time.Time // its claims are ignored until then
}

// progress is how the blocks become more that a peer says it has of the pieces that it claims.
type progress struct {
	at     time.Time // of the last one
	since  time.Time // blocks are counted from here
	blocks int
	rate   float64 // blocks per second, 0 if not known
}

// more says that the peer has n blocks more than it said last.
func (g *progress) more(now time.Time, n int) {
	if n > 0 {
		g.at = now
		g.blocks += n
	}
	d := now.Sub(g.since)
	if d < progressTime {
		return
	}
	if d < 4*progressTime {
		sample := float64(g.blocks) / d.Seconds()
		if g.rate == 0 {
			g.rate = sample
		}
		g.rate += (sample - g.rate) / 2
	}
	g.since, g.blocks = now, 0
}

// SetPlan says which pieces the peer wants now and which of them it is fetching.
func (p *Peer) SetPlan(now time.Time, wanted []Span, claims []Begun) {
	plan := &p.plan
	plan.wanted = append(plan.wanted[:0], wanted...)
	before, more := plan.claims, plan.finished
	plan.finished = 0
	plan.claims = make([]claim, 0, len(claims))
	for _, c := range claims {
		n := claim{Begun: c, since: now}
		for _, o := range before {
			if o.Piece == c.Piece {
				n.since, n.failed = o.since, o.failed
				more -= o.Blocks
			}
		}
		more += c.Blocks
		plan.claims = append(plan.claims, n)
	}
	if len(before) == 0 && len(claims) > 0 {
		plan.progress.at, plan.progress.since, plan.progress.blocks = now, now, 0
	}
	plan.progress.more(now, max(0, more))
}

// Plan returns our own plan: the pieces that our readers want now, at most maxSpans spans, and
// of these the ones that we are fetching from seeds, in order, at most maxClaims.
func (k *Picker) Plan(maxSpans, maxClaims int) (wanted []Span, claims []Begun) {
	for _, prio := range []weir.Priority{weir.Blocked, weir.Window} {
		for _, w := range k.wants.byPriority[prio] {
			for _, s := range Subtract(w.spans, wanted) {
				if len(wanted) < maxSpans {
					wanted = append(wanted, s)
				}
			}
		}
	}
	for c := range k.pieces.underWay {
		if !c.trial && c.priority() >= weir.Window && c.of.claimed() {
			claims = append(claims, Begun{c.index, c.count - c.missing})
		}
	}
	slices.SortFunc(claims, func(a, b Begun) int { return a.Piece - b.Piece })
	return wanted, claims[:min(len(claims), maxClaims)]
}

// claimed reports whether a block of the piece comes from a peer that is no fellow.
func (p *piece) claimed() bool {
	if p.onTrial() || !p.wantedWhole() {
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

// wants reports whether the peer wants the piece, or will want it soon if it reads on.
func (s *plan) wants(index int) bool {
	for i, w := range s.wanted {
		end := w.End
		if i == len(s.wanted)-1 {
			end += w.End - w.First
		}
		if w.First <= index && index < end {
			return true
		}
	}
	return false
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

// broken reports whether a claim of a piece of so many blocks makes no progress or takes too
// long. share is how many blocks per second it should get.
func (s *plan) broken(now time.Time, c *claim, blocks int, share float64) bool {
	if now.Sub(s.progress.at) >= claimStall {
		return true
	}
	due := time.Duration(claimPatience * float64(min(len(s.claims), maxClaimsWaited)) * float64(blocks) / max(share, minShare) * float64(time.Second))
	return now.Sub(c.since) >= claimGrace+due
}

// slow reports whether a claim of a piece of so many blocks makes so little progress that
// another peer had better fetch it. fastest is how many blocks per second the fastest
// fetch, 0 if that is not known.
func (s *plan) slow(now time.Time, c *claim, blocks int, fastest float64) bool {
	if fastest == 0 || s.progress.rate == 0 || now.Sub(c.since) < slowGrace {
		return false
	}
	left := float64(blocks - c.Blocks)
	return left/max(s.progress.rate, 1) >= slowClaim*float64(blocks)/fastest+slowGrace.Seconds()
}

// fail books a claim that came to nothing. One whose claims do so again and again is not
// believed for a while, which doubles each time.
func (s *plan) fail(now time.Time, c *claim) {
	c.failed = true
	if s.failures++; s.failures >= claimFailures {
		s.ignored = now.Add(claimIgnored << min(s.failures-claimFailures, maxClaimFailures))
	}
}

// kept says that the peer holds a piece of so many blocks now, which it may have claimed.
func (s *plan) kept(index, blocks int) {
	for i := range s.claims {
		if c := &s.claims[i]; c.Piece == index {
			s.finished += max(0, blocks-c.Blocks)
			c.Blocks = blocks
			s.failures = max(0, s.failures-1)
		}
	}
}

// leftPiece is what was decided of a piece that others want too.
type leftPiece struct {
	judged  time.Time // when spared was
	spared  bool      // only fellows are asked for it
	free    time.Time // since then nobody holds it or is fetching it; zero if somebody does
	heldFor time.Time // since then a fellow holds it; zero if nobody does
}

// spares reports whether only fellows may be asked for the piece, because one of them has it
// or is fetching it.
func (s *scheduler) spares(now time.Time, p *piece) bool {
	if !s.fellows || p.onTrial() || !p.wantedWhole() {
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
	if holders == 0 {
		left.heldFor = time.Time{}
	} else if left.heldFor.IsZero() {
		left.heldFor = now
	}
	if holders > 0 {
		var enough bool
		if !measured && p.priority() == weir.Blocked { // they may be very slow
			last := left.heldFor
			if p.touched.After(last) {
				last = p.touched
			}
			enough = now.Sub(last) < strangerPatience
		} else {
			patience := claimStall + time.Duration(holderPatience*float64(p.bytes)/holders*float64(time.Second))
			enough = seeds < seedsWorth*holders && now.Sub(left.heldFor) < patience
		}
		if enough {
			left.free = time.Time{}
			return true
		}
		// They are too slow for all: one more fetches it from the seeds, or whoever waits for it.
		if p.priority() == weir.Blocked && now.Sub(left.heldFor) >= readPatience {
			return false
		}
	}
	fetching := p.claimed()
	crowd := s.crowdNow(now)
	ours := turnOf(s.opts.ID, p.index)
	share := seeds / float64(1+fellows) / weir.BlockBytes
	rank, taken := 0, false
	for _, c := range s.peers.list {
		if !c.fellow() || c.has(p.index) || !c.plan.wants(p.index) {
			continue
		}
		before := turnOf(c.plan.id, p.index) > ours
		if before {
			rank++
		}
		cl := c.plan.claimOf(now, p.index)
		if cl == nil || fetching && !p.yields(cl, before) {
			continue
		}
		switch {
		case c.plan.broken(now, cl, p.count, share):
			c.plan.fail(now, cl)
		case c.plan.slow(now, cl, p.count, crowd.fastest):
			cl.failed = true
		default:
			taken = true
		}
	}
	switch {
	case taken, !fetching && holders == 0 && p.index >= crowd.front && p.priority() < weir.Blocked:
		left.free = time.Time{}
		return true
	case fetching:
		return false
	case left.free.IsZero():
		left.free = now
	}
	return now.Sub(left.free) < time.Duration(min(rank, maxTurns))*turnTime
}

// yields reports whether the piece, which is begun, is left to another that claims it, whose
// turn is before ours or is not. Who has much more of it goes on.
func (p *piece) yields(c *claim, before bool) bool {
	switch ahead := c.Blocks - (p.count - p.missing); {
	case ahead > p.count/2:
		return true
	case -ahead > p.count/2:
		return false
	}
	return before
}

// crowdFacts is what is known of all fellows together.
type crowdFacts struct {
	at      time.Time // when it was found out
	fastest float64   // how many blocks per second of what it claims the fastest gets
	front   int       // pieces from here on are not begun yet
}

// crowdNow returns what is known of all fellows. It is found out anew once in a while.
func (s *scheduler) crowdNow(now time.Time) *crowdFacts {
	f := &s.crowd
	if now.Sub(f.at) < judgeEvery {
		return f
	}
	*f = crowdFacts{at: now}
	all := 0.0 // blocks per second that seeds send
	for _, c := range s.peers.list {
		rate := c.plan.progress.rate
		switch {
		case !c.fellow() && c.meter.measured && c.inFlight > 0:
			rate = c.meter.rate / weir.BlockBytes
		case !c.fellow(), now.Before(c.plan.ignored), now.Sub(c.plan.progress.at) >= claimStall:
			continue
		}
		if all += rate; c.fellow() {
			f.fastest = max(f.fastest, rate)
		}
	}
	f.front = s.frontOf(int64(all * weir.BlockBytes * frontTime.Seconds()))
	return f
}

// frontOf returns the number of the first piece that is not begun yet, where so many bytes
// may be fetched from seeds at a time.
func (s *scheduler) frontOf(bytes int64) int {
	bytes = max(bytes, minFrontBytes)
	pieces := 0
	for _, prio := range []weir.Priority{weir.Blocked, weir.Window} {
		for _, w := range s.wants.byPriority[prio] {
			for _, span := range w.spans {
				for i := span.First; i < span.End; i++ {
					p := s.pieces.open[i]
					if p == nil || p.missing == 0 || s.fellowHas(i) {
						continue
					}
					if pieces, bytes = pieces+1, bytes-p.bytes; pieces >= minFront && bytes <= 0 {
						return i + 1
					}
				}
			}
		}
	}
	return math.MaxInt
}

func (s *scheduler) fellowHas(index int) bool {
	return slices.ContainsFunc(s.peers.list, func(c *Peer) bool { return c.fellow() && c.has(index) })
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
