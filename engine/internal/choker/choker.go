// Package choker decides which peers are served. It is pure: facts go in (who is
// interested, what flows both ways), choices come out (give a slot, take it
// back).
//
// No I/O, no goroutine, no clock and no lock lives here: every method takes the
// time, and one goroutine at a time calls them (the owner of the swarm).
//
// The scheme is that of BEP 3. While we fetch, peers that give are ranked by how
// much they give, every ten seconds, and the best have slots. At least one slot is
// optimistic: the other peers get it in turn, half a minute each, newcomers first.
// A seed gets nothing back, so it gives all slots in turn, as libtorrent's default
// seed choking algorithm (round robin) does: every peer gets the same time, and a
// fast one can't take everything.
package choker

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Times of the scheme.
const (
	Round = 10 * time.Second // between rankings; a slot is kept for at least that long
	Turn  = 30 * time.Second // how long an optimistic slot lasts while others wait
)

// Bounds of the number of slots.
const (
	minSlots     = 2
	defaultSlots = 8
	maxSlots     = 32
)

const (
	// hysteresis is how many times faster a peer must be to replace one with a slot.
	hysteresis = 1.25
	// newcomerWeight makes the wait of a peer that was never served count more,
	// as BEP 3 makes it likelier to be chosen.
	newcomerWeight = 3
	// limitReached is the share of the upload limit beyond which it counts as used up.
	limitReached = 0.9
	// trialPause is the wait after an extra slot that did not raise the upload rate.
	trialPause = 5 * time.Minute
)

// Facts describe the moment.
type Facts struct {
	Fetching    bool    // we want pieces, so what peers give counts
	UploadRate  float64 // bytes per second, over all torrents
	UploadLimit float64 // the same; 0 is no limit
}

// Peer is what the choker knows of a connected peer. The owner keeps the exported
// fields up to date; they are looked at by Decide alone.
type Peer struct {
	// Ref is the owner's own; the choker does not look at it.
	Ref any

	Interested bool
	Gives      float64 // bytes per second, to us
	Takes      float64 // bytes per second, from us
	Needs      int64   // bytes of ours that it lacks; 0 if that is not known

	unchoked bool
	ranked   bool      // has its slot for what it gives
	extended bool      // its turn went on because it was nearly done
	since    time.Time // it has its slot, or waits for one
	served   bool      // it had a slot before
}

// Unchoked reports whether the peer has a slot.
func (p *Peer) Unchoked() bool { return p.unchoked }

// Change is one choice to be carried out: a slot given, or taken back.
type Change struct {
	Peer    *Peer
	Unchoke bool
}

// Choker holds the slots of one torrent.
type Choker struct {
	peers     []*Peer // in the order of their coming, so that a run can be replayed
	extra     int     // slots beyond the base
	lastRound time.Time
	trial     bool      // the latest slot is on trial
	before    float64   // the upload rate without it
	resume    time.Time // no further slot is tried before then
}

// New returns a Choker without peers.
func New() *Choker { return &Choker{} }

// Join adds a peer, choked.
func (c *Choker) Join(p *Peer, now time.Time) {
	p.since = now
	c.peers = append(c.peers, p)
}

// Leave forgets a peer. Its slot is free.
func (c *Choker) Leave(p *Peer) {
	c.peers = slices.DeleteFunc(c.peers, func(q *Peer) bool { return q == p })
	p.unchoked, p.ranked = false, false
}

// Slots returns how many peers are served at a time: eight, or fewer when the
// upload limit is so low that each would get a trickle, and up to 32 while others
// wait and more slots bring a higher rate.
func (c *Choker) Slots(limit float64) int { return min(base(limit)+c.extra, maxSlots) }

// base is the number of slots to begin with: the square root of six tenths of
// the limit in kB/s, as in the first BitTorrent client.
func base(limit float64) int {
	if limit <= 0 {
		return defaultSlots
	}
	return min(max(int(math.Sqrt(limit/1000*0.6)), minSlots), defaultSlots)
}

// Decide returns what changes now. Free slots are given at once; slots are taken
// back and peers ranked only every Round, so it may be called at any time.
func (c *Choker) Decide(now time.Time, f Facts) []Change {
	had := make([]bool, len(c.peers))
	for i, p := range c.peers {
		had[i] = p.unchoked
		if p.unchoked && !p.Interested {
			c.set(p, false, now)
		}
	}
	if now.Sub(c.lastRound) >= Round {
		c.lastRound = now
		c.adjust(now, f)
		c.rank(now, f)
		c.rotate(now, f)
	}
	c.fill(now, f)
	// Slots are taken back before they are given, so that there are never too many.
	var taken, given []Change
	for i, p := range c.peers {
		switch {
		case had[i] && !p.unchoked:
			taken = append(taken, Change{p, false})
		case !had[i] && p.unchoked:
			given = append(given, Change{p, true})
		}
	}
	return append(taken, given...)
}

func (c *Choker) set(p *Peer, unchoke bool, now time.Time) {
	p.unchoked, p.since, p.extended = unchoke, now, false
	if unchoke {
		p.served = true
	} else {
		p.ranked = false
	}
}

func (c *Choker) slotsTaken() (n int) {
	for _, p := range c.peers {
		if p.unchoked {
			n++
		}
	}
	return n
}

// waiting returns those who want a slot, the one whose turn is next first.
func (c *Choker) waiting(now time.Time) []*Peer {
	var w []*Peer
	for _, p := range c.peers {
		if p.Interested && !p.unchoked {
			w = append(w, p)
		}
	}
	weight := func(p *Peer) time.Duration {
		d := now.Sub(p.since)
		if !p.served {
			d = newcomerWeight*d + 1 // who never had a slot goes first among equals
		}
		return d
	}
	slices.SortStableFunc(w, func(a, b *Peer) int { return cmp.Compare(weight(b), weight(a)) })
	return w
}

// rank gives all slots but one to those who give most, as far as there are any.
func (c *Choker) rank(now time.Time, f Facts) {
	var givers []*Peer
	for _, p := range c.peers {
		if f.Fetching && p.Interested && p.Gives > 0 {
			givers = append(givers, p)
		}
	}
	worth := func(p *Peer) float64 {
		if p.ranked {
			return p.Gives * hysteresis
		}
		return p.Gives
	}
	slices.SortStableFunc(givers, func(a, b *Peer) int { return cmp.Compare(worth(b), worth(a)) })
	slots := c.Slots(f.UploadLimit)
	best := givers[:min(len(givers), slots-1)]
	for _, p := range c.peers {
		ranked := p.unchoked && slices.Contains(best, p)
		if p.ranked && !ranked {
			p.extended = true // it goes on in turns if there is room, and its turn is over
		}
		p.ranked = ranked
	}
	optimistic := c.optimistic()
	for _, p := range best {
		if p.unchoked {
			continue
		}
		if c.slotsTaken() >= slots {
			if len(optimistic) == 0 || now.Sub(optimistic[0].since) < Round {
				break // next round
			}
			c.set(optimistic[0], false, now)
			optimistic = optimistic[1:]
		}
		c.set(p, true, now)
		p.ranked = true
	}
	for ; c.slotsTaken() > slots && len(optimistic) > 0 && now.Sub(optimistic[0].since) >= Round; optimistic = optimistic[1:] {
		c.set(optimistic[0], false, now) // there are fewer slots than before
	}
}

// optimistic returns those with an optimistic slot, the longest served first.
func (c *Choker) optimistic() []*Peer {
	var out []*Peer
	for _, p := range c.peers {
		if p.unchoked && !p.ranked {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b *Peer) int { return a.since.Compare(b.since) })
	return out
}

// rotate ends the turns that are over, as many as there are peers that wait and
// a third of the slots at a time, so that the rate stays steady.
func (c *Choker) rotate(now time.Time, f Facts) {
	optimistic, waiting := c.optimistic(), 0
	for _, p := range c.waiting(now) {
		if !p.served || p.since.Before(now) { // else its slot was taken back just now, and is not for it
			waiting++
		}
	}
	free := max(0, c.Slots(f.UploadLimit)-c.slotsTaken())
	most := min(waiting-free, (len(optimistic)+2)/3)
	for _, p := range optimistic {
		if most <= 0 {
			return
		}
		if now.Sub(p.since) < Turn {
			continue
		}
		if !p.extended && p.Needs > 0 && float64(p.Needs) <= p.Takes*Round.Seconds() {
			p.extended = true // one round more makes it a seed
			continue
		}
		c.set(p, false, now)
		most--
	}
}

// fill gives free slots to who waits.
func (c *Choker) fill(now time.Time, f Facts) {
	free := c.Slots(f.UploadLimit) - c.slotsTaken()
	if free <= 0 {
		return
	}
	w := c.waiting(now)
	for _, p := range w[:min(free, len(w))] {
		c.set(p, true, now)
	}
}

// adjust changes the number of slots by one at most. With a limit, there are more
// while others wait and the limit is not reached. Without one, each new slot is
// on trial: it stays if the rate grew by half of its fair share at least.
func (c *Choker) adjust(now time.Time, f Facts) {
	slots := c.Slots(f.UploadLimit)
	full := len(c.waiting(now)) > 0 && c.slotsTaken() >= slots
	if c.trial {
		c.trial = false
		if f.UploadLimit <= 0 && f.UploadRate < c.before*(1+1/float64(2*slots)) {
			c.extra--
			c.resume = now.Add(trialPause)
			return
		}
	}
	switch {
	case !full:
		c.extra = min(c.extra, max(0, c.slotsTaken()-base(f.UploadLimit)))
	case slots >= maxSlots || now.Before(c.resume):
	case f.UploadLimit > 0:
		if f.UploadRate < limitReached*f.UploadLimit {
			c.extra++
		}
	default:
		c.extra++
		c.trial, c.before = true, f.UploadRate
	}
}
