package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// A peer that has just been dialed can be asked for blocks before it has said
// anything, together with the handshake. If it unchokes us at once, as most do that
// have a slot to spare, the blocks come a round trip earlier; if not, a few
// requests were in vain.

// EarlyRequests returns up to most blocks that reads wait for and that nobody is asked
// for, without those that are in taken. It returns none when somebody serves us:
// then it is better to ask him.
func (k *Picker) EarlyRequests(most int, taken map[Block]bool) (list []Block) {
	for _, p := range k.peers.list {
		if !p.choking {
			return nil
		}
	}
	for _, w := range k.wants.byPriority[weir.Blocked] {
		k.wants.unfinished(w, func(p *piece) bool {
			if p.onTrial() || !k.scheduler.fits(p) {
				return true
			}
			for i := range p.count {
				b := Block{p.index, i}
				if len(list) < most && p.lacks(i) && !taken[b] && (p.wantedWhole() || p.single[i] > 0) {
					list = append(list, b)
				}
			}
			return len(list) < most
		})
	}
	return list
}

// SentEarly says that the peer was asked for blocks, at sent, before it said
// anything. What it turns out not to have, or not to give, is free again.
func (k *Picker) SentEarly(peer *Peer, blocks []Block, sent time.Time) {
	for _, b := range blocks {
		p := k.pieces.open[b.Piece]
		if p == nil || p.onTrial() || p.free == 0 || !p.lacks(b.Index) {
			peer.mayStillSend(b)
			continue
		}
		k.requests.send(sent, peer, &p.Copy, b.Index)
		k.requests.actions = k.requests.actions[:len(k.requests.actions)-1] // it has gone out
		p.free--
		peer.askedEarly = true
	}
}

// takeBackEarly takes back what a peer was asked for too early, when it has had the time
// to answer.
func (s *scheduler) takeBackEarly(now time.Time, p *Peer) {
	if p.askedEarly && p.oldest != nil && now.Sub(p.oldest.sent) > 2*p.meter.rtt+earlyPatience {
		s.requests.releaseAll(p, true)
		s.wants.rewind()
	}
	p.askedEarly = p.askedEarly && p.oldest != nil
}
