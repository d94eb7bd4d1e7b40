package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// What a peer was asked for is answered in the order of asking, so read-ahead that
// fills its queue stands before the blocks that a read waits for. Of a peer with
// BEP 6, which answers a cancel with a reject, such read-ahead is taken back; it is
// asked for again once the reject is here, so that no block comes twice.

// reclaimable reports whether the request may be taken back for the sake of a read:
// it can still reach the peer before the block leaves there.
func (r *request) reclaimable(now time.Time) bool {
	return r.peer.fast && !r.cancelled && r.copy.priority() < weir.Blocked && r.due.Sub(now) > r.peer.meter.rtt
}

// sumReclaimable finds out what a read would have to wait for at each peer.
func (s *scheduler) sumReclaimable(now time.Time) {
	for _, p := range s.peers.list {
		p.unreclaimable = p.queued
		for r := p.newest; r != nil; r = r.before {
			if r.reclaimable(now) {
				p.unreclaimable -= r.bytes()
			}
		}
	}
}

// reclaim takes back what can wait from the peers that were just asked for blocks
// of a read.
func (s *scheduler) reclaim(now time.Time) {
	for _, p := range s.peers.list {
		if !p.readBehind {
			continue
		}
		p.readBehind = false
		var ahead int64
		for r := p.newest; r != nil; r = r.before {
			if r.reclaimable(now) {
				ahead += r.bytes()
			}
		}
		if float64(ahead) < p.meter.rate*worthReclaiming.Seconds() {
			continue
		}
		earlier := time.Duration(float64(ahead) / p.meter.rate * float64(time.Second))
		for r := p.newest; r != nil; r = r.before {
			switch {
			case r.reclaimable(now):
				s.requests.cancel(r)
				s.requests.stats.Reclaimed++
			case r.sent.Equal(now):
				r.due = r.due.Add(-earlier)
			}
		}
	}
}
