package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// A peer that has just been dialed can be asked for blocks before it has said
// anything, together with the handshake. If it unchokes us at once, as most do that
// have a slot to spare, the blocks come a round trip earlier; if not, a few
// requests were in vain.

// Guess returns up to most blocks that reads wait for and that nobody is asked
// for, without those that are in taken. It returns none when somebody serves us:
// then it is better to ask him.
func (k *Picker) EarlyRequests(most int, taken map[Block]bool) (list []Block) {
	for _, p := range k.peers {
		if !p.choking {
			return nil
		}
	}
	for _, w := range k.wants[weir.Blocked] {
		k.open(w, func(p *piece) bool {
			if p.onTrial() || !p.started() && !k.fits(p) {
				return true
			}
			for i := range p.count {
				b := Block{p.index, i}
				if len(list) < most && p.lacks(i) && !taken[b] {
					list = append(list, b)
				}
			}
			return len(list) < most
		})
	}
	return list
}

// GuessBlocks is how many blocks to ask of a peer that has not spoken yet: what is
// asked at first of any.
const EarlyBlocks = startBlocks

// Guessed says that the peer was asked for blocks, at sent, before it said
// anything. What it turns out not to have, or not to give, is free again.
func (k *Picker) SentEarly(peer *Peer, blocks []Block, sent time.Time) {
	for _, b := range blocks {
		p := k.pieces.open[b.Piece]
		if p == nil || p.onTrial() || p.free == 0 || !p.lacks(b.Index) {
			peer.mayStillSend(b)
			continue
		}
		k.pieces.counting(&p.Copy, func() { k.send(sent, peer, &p.Copy, b.Index) })
		k.actions = k.actions[:len(k.actions)-1] // it has gone out
		p.free--
		peer.askedEarly = true
	}
}

// takeBackEarly takes back what a peer was asked for too early, when it has had the time
// to answer.
func (k *Picker) takeBackEarly(now time.Time, p *Peer) {
	if p.askedEarly && p.oldest != nil && now.Sub(p.oldest.sent) > 2*p.meter.rtt+earlyPatience {
		k.releaseAll(p, true)
	}
	p.askedEarly = p.askedEarly && p.oldest != nil
}

// earlyPatience is what a peer is given beyond two round trips, the handshake's and
// its own, to answer what it was asked for before it had unchoked us.
const earlyPatience = 50 * time.Millisecond
