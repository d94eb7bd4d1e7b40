package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// assign asks for up to most free blocks of the piece, each of the peer that
// will deliver it soonest, and returns how many it found a peer for. Peers that are asked
// for runs get blocks from the beginning of the piece and the others from its end, so that a
// run stays one.
func (s *scheduler) assign(now time.Time, p *piece, prio weir.Priority, most int) (n int) {
	if p.onTrial() {
		return s.assignTrials(now, p, prio)
	}
	single := !p.wantedWhole()
	if single && !s.hashesTold(p) {
		p.whole, single = true, false
	}
	spared := !single && s.spares(now, p)
	back := p.count // from there on no block can be asked for
	for i := 0; i < back && n < most && p.free > 0; {
		if !p.lacks(i) || single && p.single[i] == 0 {
			i++
			continue
		}
		peer, mayCome := s.choose(now, p, i, prio, spared)
		if peer == nil && mayCome {
			i++
			continue // another block may be asked for
		}
		if peer == nil {
			break
		}
		at := i
		if s.runs && !single && !peer.runs {
			for back--; back > i && (!p.lacks(back) || peer.maySend(now, Block{p.index, back})); back-- {
			}
			at = back
		}
		s.requests.send(now, peer, &p.Copy, at)
		peer.readBehind = peer.readBehind || prio == weir.Blocked
		p.free--
		n++
	}
	return n
}

// hashesTold reports whether a peer that tells hashes serves the piece, or nobody does yet.
func (s *scheduler) hashesTold(p *piece) bool {
	others := false
	for _, c := range s.peers.list {
		if !c.usable(p.index) || c.silence.isSnubbed() {
			continue
		}
		if c.tellsHashes {
			return true
		}
		others = true
	}
	return !others
}

// choose returns the peer to ask for the piece's block i, nil if the block had better
// wait. With spared only fellows are asked. mayCome tells that a peer was passed over
// because it may be sending that block.
func (s *scheduler) choose(now time.Time, p *piece, i int, prio weir.Priority, spared bool) (peer *Peer, mayCome bool) {
	if p.solo != nil && !p.solo.usable(p.index) {
		p.solo = nil
	}
	alone := p.solo != nil && prio < weir.Blocked
	var best, unproven *Peer
	var bestETA, soonest time.Duration
	for _, c := range s.peers.list {
		if !c.usable(p.index) || alone && c != p.solo || spared && !c.fellow() || !c.tellsHashes && !p.wantedWhole() {
			continue
		}
		if c.maySend(now, Block{p.index, i}) {
			mayCome = true
			continue
		}
		if p.solo == nil && prio < weir.Blocked && c.apart() && p.begun() {
			// What it sends could spoil the good blocks of others: only if no other peer may be asked.
			if s.roomFor(c, prio) > 0 && (unproven == nil || c.eta(prio) < unproven.eta(prio)) {
				unproven = c
			}
			continue
		}
		eta := c.eta(prio)
		if soonest == 0 || eta < soonest {
			soonest = eta
		}
		if s.roomFor(c, prio) > 0 && (best == nil || eta < bestETA) {
			best, bestETA = c, eta
		}
	}
	if soonest == 0 && unproven != nil {
		p.solo = unproven
		return unproven, mayCome
	}
	if best == nil || bestETA > soonest+etaSlack[prio] {
		return nil, mayCome
	}
	if p.solo == nil && (prio == weir.Background || prio == weir.Window && best.apart()) {
		p.solo = best
	}
	return best, mayCome
}

// roomFor lets urgent requests pass a window that read-ahead has filled.
func (s *scheduler) roomFor(p *Peer, prio weir.Priority) int {
	if prio == weir.Blocked && p.meter.measured && p.silence == answering {
		return min(p.maxRequests, 2*p.window(s.queueTime)) - p.inFlight
	}
	return p.room(s.queueTime)
}
