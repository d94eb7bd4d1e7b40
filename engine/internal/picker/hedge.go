package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// hedge asks a second peer for blocks that a read waits for and that are late
// by the first one's own measure. Of a peer that fell silent it does so for the
// read-ahead too, while there is a read that waits: it will come to that next, and
// would wait for the same silence piece by piece.
func (s *scheduler) hedge(now time.Time) {
	if len(s.wants.byPriority[weir.Blocked]) == 0 {
		return
	}
	s.sumReclaimable(now)
	for _, w := range s.wants.byPriority[weir.Blocked] {
		more := true
		w.each(func(index int) bool {
			p := s.pieces.open[index]
			if p == nil || p.inFlight == 0 {
				return true
			}
			alone := s.waitsForSilent(now, p)
			for i := range p.blocks {
				first := p.blocks[i].only()
				if first != nil && s.comesSooner(now, first) {
					s.requests.giveUp(first)
					first.peer.notBefore(now.Add(askAgainAfter), Block{index, i})
					s.wants.rewindTo(index)
					continue
				}
				if first != nil && (alone || first.late(now, s.delay)) && !s.askAgain(now, first) {
					more = false
					break
				}
			}
			return more
		})
		if !more {
			return
		}
	}
	for _, p := range s.peers.list {
		if !p.silence.silent() {
			continue
		}
		for r := p.oldest; r != nil; r = r.after {
			first := r.copy.blocks[r.index].only() == r && !r.cancelled && !r.copy.trial
			if first && r.copy.priority() == weir.Window && !s.askAgain(now, r) {
				return
			}
		}
	}
}

// waitsForSilent reports whether all that is missing of the piece is asked of peers
// that are silent for longer than they were lately.
func (s *scheduler) waitsForSilent(now time.Time, p *piece) bool {
	if p.free > 0 && p.wantedWhole() {
		return false
	}
	for i := range p.blocks {
		for _, r := range p.blocks[i].reqs {
			if r != nil && r.peer.silentFor(now) <= r.peer.meter.shortPatience()+s.delay {
				return false
			}
		}
	}
	return true
}

// comesSooner reports whether another peer would deliver a block, which a read waits for, in a
// fraction of the time that its peer needs. That was asked when nobody waited.
func (s *scheduler) comesSooner(now time.Time, r *request) bool {
	slow := r.peer
	if !slow.meter.measured || r.cancelled || r.copy.trial || float64(slow.queued) < slow.meter.rate*longAnswer.Seconds() {
		return false
	}
	queued := int64(0)
	for o := r; o != nil; o = o.before {
		queued += o.bytes()
	}
	most := time.Duration(float64(queued)/slow.meter.rate*float64(time.Second)) / soonerBy
	if most < longAnswer/soonerBy {
		return false
	}
	spared := s.spares(now, r.copy.of)
	return slices.ContainsFunc(s.peers.list, func(c *Peer) bool {
		return c != slow && c.meter.measured && c.silence == answering && (!spared || c.fellow()) && c.usable(r.copy.index) && (c.tellsHashes || !r.single) &&
			s.roomFor(c, weir.Blocked) > 0 && c.eta(weir.Blocked) < most && !c.maySend(now, Block{r.copy.index, r.index})
	})
}

// askAgain asks another peer for a block that is late. It reports false when
// nobody can be asked for more.
func (s *scheduler) askAgain(now time.Time, first *request) bool {
	if float64(s.requests.stats.Hedged) >= float64(s.opts.HedgeBurst)+s.opts.HedgeShare*float64(s.requests.stats.Received) {
		return false
	}
	// A seed is not asked for what a fellow is late with, only for what it is silent about.
	spared := !first.peer.silence.silent() && first.peer.meter.measured && s.spares(now, first.copy.of)
	var second *Peer
	for _, c := range s.peers.list {
		if c == first.peer || spared && !c.fellow() || !c.usable(first.copy.index) || s.roomFor(c, weir.Blocked) <= 0 || first.single && !c.tellsHashes ||
			c.maySend(now, Block{first.copy.index, first.index}) {
			continue
		}
		if second == nil || c.eta(weir.Blocked) < second.eta(weir.Blocked) {
			second = c
		}
	}
	if second == nil {
		return spared // for another block there may be one
	}
	s.requests.stats.Hedged++
	s.requests.send(now, second, first.copy, first.index)
	second.readBehind = true
	return true
}

// late reports whether the request's peer is silent, or slower than it was, and
// than delay explains.
func (r *request) late(now time.Time, delay time.Duration) bool {
	patience := r.peer.meter.patience() + delay
	if r.peer.silence.silent() {
		return true
	}
	return now.Sub(r.due) > max(patience, r.due.Sub(r.sent)/2)
}
