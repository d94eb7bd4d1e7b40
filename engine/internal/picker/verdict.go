package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// attempt is one failed verification of a piece: who sent which block and the
// digests of the blocks, so that the guilty can be told once it succeeds.
type attempt struct {
	from    []*Peer
	digests []uint64
	broken  map[[20]byte]brokenOff // by peer ID
}

// brokenOff are the trials of one peer that it left in the middle.
type brokenOff struct {
	times int
	begun time.Time // the last trial
}

// begins notes that a peer's trial begins.
func (a *attempt) begins(now time.Time, peer *Peer) {
	if b, ok := a.broken[peer.plan.id]; ok {
		b.begun = now
		a.broken[peer.plan.id] = b
	}
}

// leaves notes that a peer left, with a part of its copy.
func (a *attempt) leaves(t *Copy) {
	if t.missing == 0 || t.missing == t.count {
		return
	}
	if a.broken == nil {
		a.broken = map[[20]byte]brokenOff{}
	}
	b := a.broken[t.solo.plan.id]
	b.times++
	a.broken[t.solo.plan.id] = b
}

// rests reports whether a peer has left in the middle so often that it has to wait
// for its next trial, longer each time.
func (a *attempt) rests(now time.Time, peer *Peer) bool {
	b := a.broken[peer.plan.id]
	return b.times >= maxBrokenOff && now.Sub(b.begun) < trialEvery<<min(b.times-maxBrokenOff+1, maxTrialDoublings)
}

// Verified says that a complete copy is right. Its buffers are the caller's from now
// on; but if another copy was right before, they are freed, and first is false. The
// guilty are peers which are proven to have sent something else for the piece before.
// digests are those of its blocks; they may be nil if Suspicious is false.
func (k *Picker) Verified(c *Copy, digests []uint64) (first bool, guilty []*Peer) {
	if k.pieces.held[c.index] {
		k.pieces.drop(c)
		return false, nil
	}
	for i := range c.blocks {
		c.blocks[i].from.proven = true
	}
	p := k.pieces.get(c.index)
	if a := p.failed; a != nil {
		for i, from := range a.from {
			if from != nil && a.digests[i] != digests[i] && !slices.Contains(guilty, from) {
				from.proven = false
				guilty = append(guilty, from)
			}
		}
	}
	k.pieces.take(c)
	k.requests.endAll(p)
	k.pieces.hold(c.index)
	return true, guilty
}

// Suspicious reports whether the piece failed before, so that Verified needs
// the digests.
func (k *Picker) Suspicious(index int) bool {
	p := k.pieces.open[index]
	return p != nil && p.failed != nil
}

// Failed says that a complete copy is wrong. The guilty are returned when only one
// peer contributed. Otherwise the piece is on trial: what each gave is kept as the
// beginning of its own copy. Nothing happens if another copy was right before.
func (k *Picker) Failed(now time.Time, c *Copy, digests []uint64) (guilty []*Peer) {
	if k.pieces.held[c.index] {
		k.pieces.drop(c)
		return nil
	}
	k.wants.rewindTo(c.index)
	if c.trial {
		k.pieces.drop(c)
		k.pieces.endTrial(c)
		c.solo.proven = false
		return []*Peer{c.solo}
	}
	from := make([]*Peer, c.count)
	only := c.blocks[0].from
	for i := range c.blocks {
		if from[i] = c.blocks[i].from; from[i] != only {
			only = nil
		}
		from[i].proven = false
	}
	c.solo = nil
	p := c.of
	switch {
	case only != nil:
		k.pieces.drop(c)
		if k.pieces.open[c.index] == p {
			k.pieces.forgetUnused(p)
		}
		return []*Peer{only}
	case k.pieces.open[c.index] != p: // it was held and lost meanwhile
		k.pieces.drop(c)
		return nil
	}
	p.failed, p.failedAt = &attempt{from: from, digests: digests}, now
	for i, peer := range from {
		if !slices.Contains(k.peers.list, peer) {
			continue // it has left
		}
		t := p.trialOf(peer)
		if t == nil {
			t = p.newTrial(peer)
		}
		k.pieces.counting(t, func() {
			t.free--
			k.pieces.put(t, i, peer, c.blocks[i].data, now)
		})
		c.blocks[i].data = nil
	}
	k.pieces.drop(c)
	return nil
}

// A piece that failed although several peers gave blocks for it is on trial: it
// is fetched again from single peers, each of which completes a copy of its own (a
// trial), so that every further failure has one guilty. What a peer gave before
// the failure is a beginning of its copy. While a read waits there are two trials
// at a time, and one more every few seconds.

// assignTrials asks for blocks of a piece on trial.
func (s *scheduler) assignTrials(now time.Time, p *piece, prio weir.Priority) (n int) {
	most := 1 + int(now.Sub(p.failedAt)/trialEvery)
	if prio == weir.Blocked {
		most++
	}
	running := 0
	for _, t := range p.trials {
		if t.chosen && (t.missing == 0 || t.solo.usable(p.index) && t.solo.silence == answering) {
			running++
		}
	}
	for ; running < most; running++ {
		t := s.nextTrial(now, p, prio)
		if t == nil {
			break
		}
		p.failed.begins(now, t.solo)
		t.chosen = true
	}
	for _, t := range p.trials {
		if !t.chosen || !t.solo.usable(p.index) {
			continue
		}
		for i := 0; i < t.count && t.free > 0 && s.roomFor(t.solo, prio) > 0; i++ {
			if !t.lacks(i) || t.solo.maySend(now, Block{t.index, i}) {
				continue
			}
			s.requests.send(now, t.solo, t, i)
			t.solo.readBehind = t.solo.readBehind || prio == weir.Blocked
			t.free--
			n++
		}
	}
	return n
}

// nextTrial returns the trial to run next: of a peer with a good name if there is
// one, and among such that which is done first. It is nil if nobody is left.
func (s *scheduler) nextTrial(now time.Time, p *piece, prio weir.Priority) *Copy {
	var best *Peer
	var bestTime time.Duration
	for _, c := range s.peers.list {
		if !c.usable(p.index) || c.silence != answering || p.failed.rests(now, c) {
			continue
		}
		lacks := p.count
		if t := p.trialOf(c); t != nil {
			if t.chosen {
				continue
			}
			lacks = t.missing
		}
		d := c.eta(prio) + time.Duration(float64(lacks)*weir.BlockBytes/c.meter.rate*float64(time.Second))
		if best == nil || c.proven && !best.proven || c.proven == best.proven && d < bestTime {
			best, bestTime = c, d
		}
	}
	if best == nil {
		return nil
	}
	if t := p.trialOf(best); t != nil {
		return t
	}
	return p.newTrial(best)
}
