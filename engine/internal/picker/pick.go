package picker

import (
	"time"

	"github.com/weirfs/weir"
)

// How much later than the earliest possible delivery a block may be expected
// and still be asked of a peer that has room. Beyond, it waits for a better
// peer to have room.
var etaSlack = [...]time.Duration{
	weir.Background: time.Hour,
	weir.Window:     500 * time.Millisecond,
	weir.Blocked:    20 * time.Millisecond,
}

const (
	hedgeEvery = 20 * time.Millisecond
	// turnBlocks is how much one window is given before the next one's turn.
	blocksPerTurn = 32
)

// Pick returns what to do now, in order. The slice is valid until the next
// call; so are the cancels that the calls since the last Pick gave rise to.
func (k *Picker) Pick(now time.Time) []Action {
	k.queue = k.opts.QueueTime
	short := now.Sub(k.lastUnplannedRead) < shortQueueFor && !k.lastUnplannedRead.IsZero()
	if short {
		k.queue = min(k.queue, shortQueueTime)
	}
	k.checkSilence(now)
	k.blocked(now)
	if now.Sub(k.lastHedge) >= hedgeEvery {
		k.lastHedge = now
		k.hedge(now)
	}
	k.reclaim(now)
	k.windows(now)
	k.background(now)
	for _, p := range k.peers {
		if short || p.room(k.queue) > 0 {
			p.meter.idled = true
		}
	}
	out := k.actions
	k.actions, k.spare = k.spare[:0], out
	return out
}

// What is queued at a peer beyond its round trip lies in its send buffer and in the
// routers between, where no cancel reaches it, and every read that comes out of
// the blue waits behind it. So for a while after such a read the queues are kept
// short. A peer's rate is then measured upwards only: it may lack requests.
const (
	shortQueueFor  = 3 * time.Second
	shortQueueTime = 30 * time.Millisecond
)

// stalls takes everything back from peers that fell silent; they are asked for
// one block at a time until they speak again. From a peer that speaks it takes
// back what it seems to have forgotten.
func (k *Picker) checkSilence(now time.Time) {
	for _, p := range k.peers {
		silence, patience := p.silence(now), p.meter.patience()+k.delay
		p.slow = silence > patience
		if p.inFlight == 0 {
			continue
		}
		if p.askedEarly && p.choking {
			k.takeBackEarly(now, p)
			continue
		}
		if silence >= 3*patience {
			p.snubbed = true
			for p.oldest != nil {
				b := Block{p.oldest.copy.index, p.oldest.index}
				if k.giveUp(p.oldest); p.fast {
					p.takenBack[b] = now.Add(askAgainAfter)
				}
			}
			p.meter.busySince = now
			k.rewind()
			continue
		}
		for p.oldest != nil && now.Sub(p.oldest.due) > forgottenAfter {
			k.giveUp(p.oldest)
			k.rewind()
		}
	}
}

// forgotten is how late a block may be while others of its peer arrive.
const forgottenAfter = 10 * time.Second

func (k *Picker) giveUp(r *request) {
	c := r.copy
	if !r.cancelled {
		k.actions = append(k.actions, Action{Cancel, r.peer, Block{c.index, r.index}})
	}
	if !c.trial && c.solo == r.peer {
		c.solo = nil
	}
	k.takeBack(r)
	k.pieces.forgetUnused(c.of)
}

// silence returns for how long the peer has owed us an answer.
func (p *Peer) silence(now time.Time) time.Duration {
	if p.inFlight == 0 && !p.behindHedge {
		return 0
	}
	since := p.meter.busySince
	if p.meter.last.After(since) {
		since = p.meter.last
	}
	return now.Sub(since)
}

// blocked asks for what reads wait for, the longest waiting first.
func (k *Picker) blocked(now time.Time) {
	summed := false
	for _, w := range k.wants[weir.Blocked] {
		k.open(w, func(p *piece) bool {
			if !p.started() && !k.fits(p) && k.fetchingForReads() {
				return false
			}
			if !summed {
				summed = true
				k.sumReclaimable(now)
			}
			if !p.started() && p.wanted[weir.Window] == 0 && len(k.wants[weir.Window]) > 0 {
				k.lastUnplannedRead = now
			}
			k.assign(now, p, weir.Blocked, p.count)
			return true
		})
	}
}

// fetchingForReads reports whether somebody is asked for a piece that a read waits for.
func (k *Picker) fetchingForReads() bool {
	for _, w := range k.wants[weir.Blocked] {
		for _, s := range w.spans {
			for i := s.First; i < s.End; i++ {
				p := k.pieces.open[i]
				if p != nil && p.requested() {
					return true
				}
			}
		}
	}
	return false
}

// fits reports whether memory allows to begin another piece.
func (k *Picker) fits(p *piece) bool {
	return k.pieces.begun+p.bytes <= k.opts.MemoryBytes
}

// windows asks for read-ahead, taking turns between the windows.
func (k *Picker) windows(now time.Time) {
	wants := k.wants[weir.Window]
	if len(wants) == 0 {
		return
	}
	k.nextWindow++
	for progress := true; progress && k.anyRoom(); {
		progress = false
		for i := range wants {
			left := blocksPerTurn
			k.open(wants[(k.nextWindow+i)%len(wants)], func(p *piece) bool {
				if !p.started() && !k.fits(p) {
					return false
				}
				left -= k.assign(now, p, weir.Window, left)
				return left > 0 && k.anyRoom()
			})
			progress = progress || left < blocksPerTurn
		}
	}
}

// background asks for pieces that nobody waits for: one peer a piece, so that
// few are suspects when it fails.
func (k *Picker) background(now time.Time) {
	if now.Before(k.backgroundRetryAt) || !k.anyRoom() {
		return
	}
	full := false // no memory or no room left, rather than nobody to ask
	asked := 0
	for _, w := range k.wants[weir.Background] {
		k.open(w, func(p *piece) bool {
			if full = !p.started() && !k.fits(p); full {
				return false
			}
			asked += k.assign(now, p, weir.Background, p.count)
			full = !k.anyRoom()
			return !full
		})
	}
	if asked == 0 && !full {
		k.backgroundRetryAt = now.Add(backgroundRetry)
	}
}

// backgroundRetry is how long what is wanted in the background is not looked at again
// after all of it was in vain: it may be a million pieces that no peer has.
const backgroundRetry = time.Second

func (k *Picker) anyRoom() bool {
	for _, p := range k.peers {
		if !p.choking && p.room(k.queue) > 0 {
			return true
		}
	}
	return false
}

// assign asks for up to most free blocks of the piece, each of the peer that
// will deliver it soonest, and returns how many it found a peer for.
func (k *Picker) assign(now time.Time, p *piece, prio weir.Priority, most int) (n int) {
	if p.onTrial() {
		return k.assignTrials(now, p, prio)
	}
	for i := range p.count {
		if n == most || p.free == 0 {
			break
		}
		if !p.lacks(i) {
			continue
		}
		peer, owed := k.choose(now, p, i, prio)
		if peer == nil && owed {
			continue // another block may be asked for
		}
		if peer == nil {
			break
		}
		k.pieces.counting(&p.Copy, func() { k.send(now, peer, &p.Copy, i) })
		peer.readBehind = peer.readBehind || prio == weir.Blocked
		p.free--
		n++
	}
	return n
}

// choose returns the peer to ask for the piece's block i, nil if the block had better
// wait. owed tells that a peer was passed over because it may be sending that block.
func (k *Picker) choose(now time.Time, p *piece, i int, prio weir.Priority) (peer *Peer, owed bool) {
	if p.solo != nil && !p.solo.usable(p.index) {
		p.solo = nil
	}
	alone := p.solo != nil && prio < weir.Blocked
	var best, stranger *Peer
	var bestETA, soonest time.Duration
	for _, c := range k.peers {
		if !c.usable(p.index) || alone && c != p.solo {
			continue
		}
		if c.maySend(now, Block{p.index, i}) {
			owed = true
			continue
		}
		if p.solo == nil && prio < weir.Blocked && !c.proven && p.begun() {
			// What it sends could spoil the good blocks of others: only if nobody else may be asked.
			if k.roomFor(c, prio) > 0 && (stranger == nil || c.eta(prio) < stranger.eta(prio)) {
				stranger = c
			}
			continue
		}
		eta := c.eta(prio)
		if soonest == 0 || eta < soonest {
			soonest = eta
		}
		if k.roomFor(c, prio) > 0 && (best == nil || eta < bestETA) {
			best, bestETA = c, eta
		}
	}
	if soonest == 0 && stranger != nil {
		p.solo = stranger
		return stranger, owed
	}
	if best == nil || bestETA > soonest+etaSlack[prio] {
		return nil, owed
	}
	if p.solo == nil && (prio == weir.Background || prio == weir.Window && !best.proven) {
		p.solo = best
	}
	return best, owed
}

// roomFor lets urgent requests pass a window that read-ahead has filled.
func (k *Picker) roomFor(p *Peer, prio weir.Priority) int {
	if prio == weir.Blocked && p.meter.measured && !p.snubbed && !p.slow {
		return min(p.maxRequests, 2*p.meter.window(k.queue)) - p.inFlight
	}
	return p.room(k.queue)
}

// hedge asks a second peer for blocks that a read waits for and that are late
// by the first one's own measure. Of a peer that fell silent it does so for the
// read-ahead too, while there is a read that waits: it will come to that next, and
// would wait for the same silence piece by piece.
func (k *Picker) hedge(now time.Time) {
	if len(k.wants[weir.Blocked]) == 0 {
		return
	}
	k.sumReclaimable(now)
	for _, w := range k.wants[weir.Blocked] {
		for _, s := range w.spans {
			for i := s.First; i < s.End; i++ {
				p := k.pieces.open[i]
				if p == nil || p.inFlight == 0 {
					continue
				}
				alone := k.waitsForSilent(now, p)
				for i := range p.blocks {
					if first := p.blocks[i].only(); first != nil && (alone || first.late(now, k.delay)) && !k.askAgain(now, first) {
						return
					}
				}
			}
		}
	}
	for _, p := range k.peers {
		if !p.slow {
			continue
		}
		for r := p.oldest; r != nil; r = r.after {
			first := r.copy.blocks[r.index].only() == r && !r.cancelled && !r.copy.trial
			if first && r.copy.priority() == weir.Window && !k.askAgain(now, r) {
				return
			}
		}
	}
}

// waitsForSilent reports whether all that is missing of the piece is asked of peers
// that are silent for longer than they were lately.
func (k *Picker) waitsForSilent(now time.Time, p *piece) bool {
	if p.free > 0 {
		return false
	}
	for i := range p.blocks {
		for _, r := range p.blocks[i].reqs {
			if r != nil && r.peer.silence(now) <= r.peer.meter.shortPatience()+k.delay {
				return false
			}
		}
	}
	return true
}

// askAgain asks another peer for a block that is late. It reports false when
// nobody can be asked for more.
func (k *Picker) askAgain(now time.Time, first *request) bool {
	if float64(k.stats.Hedged) >= float64(k.opts.HedgeBurst)+k.opts.HedgeShare*float64(k.stats.Received) {
		return false
	}
	var second *Peer
	for _, c := range k.peers {
		if c == first.peer || !c.usable(first.copy.index) || k.roomFor(c, weir.Blocked) <= 0 ||
			c.maySend(now, Block{first.copy.index, first.index}) {
			continue
		}
		if second == nil || c.eta(weir.Blocked) < second.eta(weir.Blocked) {
			second = c
		}
	}
	if second == nil {
		return false
	}
	k.stats.Hedged++
	k.send(now, second, first.copy, first.index)
	second.readBehind = true
	return true
}

// only returns the block's request if it has exactly one.
func (b *block) only() *request {
	switch {
	case b.reqs[0] != nil && b.reqs[1] == nil:
		return b.reqs[0]
	case b.reqs[1] != nil && b.reqs[0] == nil:
		return b.reqs[1]
	}
	return nil
}

// late reports whether the request's peer is silent, or slower than it was, and
// than delay explains.
func (r *request) late(now time.Time, delay time.Duration) bool {
	patience := r.peer.meter.patience() + delay
	if r.peer.slow {
		return true
	}
	return now.Sub(r.due) > max(patience, r.due.Sub(r.sent)/2)
}
