package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// A piece that failed although several peers gave blocks for it is on trial: it
// is fetched again from single peers, each of which completes a copy of its own (a
// trial), so that every further failure has one guilty. What a peer gave before
// the failure is a beginning of its copy. While a read waits there are two trials
// at a time, and one more every few seconds.

// trialEvery is how long the trials of a piece may take before there is one more.
const trialEvery = 2 * time.Second

// onTrial reports whether blocks for the piece are taken for trials only.
func (p *piece) onTrial() bool { return p.failed != nil }

// trialOf returns the copy that the peer gives, nil if there is none.
func (p *piece) trialOf(peer *Peer) *Copy {
	for _, t := range p.trials {
		if t.solo == peer {
			return t
		}
	}
	return nil
}

// newTrial begins a copy.
func (p *piece) newTrial(peer *Peer) *Copy {
	t := &Copy{index: p.index, bytes: p.bytes, count: p.count, missing: p.count, free: p.count, of: p, solo: peer, trial: true}
	p.trials = append(p.trials, t)
	return t
}

// assignTrials asks for blocks of a piece on trial.
func (k *Picker) assignTrials(now time.Time, p *piece, prio weir.Priority) (n int) {
	most := 1 + int(now.Sub(p.failedAt)/trialEvery)
	if prio == weir.Blocked {
		most++
	}
	running := 0
	for _, t := range p.trials {
		if t.chosen && (t.missing == 0 || t.solo.usable(p.index) && !t.solo.snubbed && !t.solo.slow) {
			running++
		}
	}
	for ; running < most; running++ {
		t := k.nextTrial(p, prio)
		if t == nil {
			break
		}
		t.chosen = true
	}
	for _, t := range p.trials {
		if !t.chosen || !t.solo.usable(p.index) {
			continue
		}
		for i := 0; i < t.count && t.free > 0 && k.roomFor(t.solo, prio) > 0; i++ {
			if !t.lacks(i) || t.solo.maySend(now, Block{t.index, i}) {
				continue
			}
			k.pieces.counting(t, func() { k.send(now, t.solo, t, i) })
			t.solo.readBehind = t.solo.readBehind || prio == weir.Blocked
			t.free--
			n++
		}
	}
	return n
}

// nextTrial returns the trial to run next: of a peer with a good name if there is
// one, and among such that which is done first. It is nil if nobody is left.
func (k *Picker) nextTrial(p *piece, prio weir.Priority) *Copy {
	var best *Peer
	var bestTime time.Duration
	for _, c := range k.peers {
		if !c.usable(p.index) || c.snubbed || c.slow {
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

// endTrials ends the trial of a piece when none of those who gave the blocks that failed
// is left, and nobody is trying: there is nobody to be blamed, and peers that come
// and go would never complete a copy of their own.
func (k *Picker) endTrials(p *piece) {
	if !p.onTrial() || len(p.trials) > 0 || slices.ContainsFunc(p.failed.from, func(c *Peer) bool { return slices.Contains(k.peers, c) }) {
		return
	}
	p.failed = nil
	k.rewindTo(p.index)
	k.pieces.forgetUnused(p)
}

// endRequests takes back what is asked for a piece that is right now, and forgets its
// copies but for those that are being verified.
func (k *Picker) endRequests(p *piece) {
	for _, c := range append([]*Copy{&p.Copy}, p.trials...) {
		for i := range c.blocks {
			for _, r := range c.blocks[i].reqs {
				if r == nil {
					continue
				}
				if !r.cancelled {
					k.actions = append(k.actions, Action{Cancel, r.peer, Block{c.index, r.index}})
				}
				k.takeBack(r)
			}
		}
		if c.missing > 0 {
			k.pieces.drop(c)
		}
	}
	p.trials = nil
}
