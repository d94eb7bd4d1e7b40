package picker

import (
	"time"

	"github.com/weirfs/weir"
)

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
		t := s.nextTrial(p, prio)
		if t == nil {
			break
		}
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
func (s *scheduler) nextTrial(p *piece, prio weir.Priority) *Copy {
	var best *Peer
	var bestTime time.Duration
	for _, c := range s.peers.list {
		if !c.usable(p.index) || c.silence != answering {
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
