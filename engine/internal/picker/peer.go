package picker

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Peer is what the picker knows of one connected peer. The owner keeps the
// pointer as the peer's name; its fields belong to the picker.
type Peer struct {
	Ref Ref

	offer
	queue
	meter   meter
	silence silence
	earlySnubs
	plan   plan
	proven bool // a piece with a block of it was verified, and none failed since

	tellsHashes bool // PeerOptions.TellsHashes

	queueTime time.Duration // PeerOptions.QueueTime
	runs      bool          // PeerOptions.Runs
	beside    bool          // of one with runs: others give a good part of what it gives
}

// Ref is the owner's side of a peer. The picker does not call it: it hands it back
// with what it has decided.
type Ref interface {
	// Act sends what the picker has decided.
	Act(a Action)
	// Right says that a piece with blocks of the peer has the right hash.
	Right(piece int)
	// Wrong says that the peer is guilty of a piece's wrong hash.
	Wrong(piece int)
}

// PeerOptions say what is known of a peer when it joins.
type PeerOptions struct {
	Ref         Ref
	RTT         time.Duration // of the handshake, 0 if unknown
	ID          [20]byte      // its peer ID, zero if it has none
	MaxRequests int           // reqq of its extended handshake, 0 if unknown
	Fast        bool
	// TellsHashes says that the peer can be asked for the hashes of single blocks (BEP 52).
	TellsHashes bool
	// Runs says that the peer is better asked for what lies end to end: read-ahead is
	// asked of it in whole pieces, and of a piece that a read waits for it gets one run.
	Runs bool
	// QueueTime is what is kept queued at a peer with Runs instead of Options.QueueTime, 0
	// for that; less if others give a good part of what it gives, as they would have nothing
	// to do then. It is for one that lets go at once of what is taken back.
	QueueTime time.Duration
	// Start is how many requests it gets before it was measured, 0 for as many as any.
	Start int
}

// peers are all that are connected.
type peers struct {
	list []*Peer // in the order of their coming, so that a run can be replayed
}

// Join adds a peer. It chokes us and has nothing until it says otherwise.
func (k *Picker) Join(o PeerOptions) *Peer {
	p := &Peer{
		Ref:   o.Ref,
		offer: offer{choking: true, fast: o.Fast},
		queue: queue{takenBack: map[Block]takenBack{}},
		meter: newMeter(o.RTT),
		plan:  plan{id: o.ID},

		queueTime: o.QueueTime, runs: o.Runs, tellsHashes: o.TellsHashes,
	}
	p.meter.start = max(p.meter.start, o.Start)
	p.SetMaxRequests(o.MaxRequests)
	k.peers.list = append(k.peers.list, p)
	return p
}

// SetMaxRequests says how many requests the peer queues (BEP 10 reqq).
func (p *Peer) SetMaxRequests(n int) {
	if n <= 0 {
		n = DefaultMaxRequests
	}
	p.maxRequests = min(n, maxInFlight)
}

// TellsHashes reports whether the peer can be asked for the hashes of single blocks.
func (p *Peer) TellsHashes() bool { return p.tellsHashes }

// NoHashes says that it does not tell them.
func (p *Peer) NoHashes() { p.tellsHashes = false }

// Leave forgets a peer; what it was asked for is free again.
func (k *Picker) Leave(p *Peer) {
	k.requests.releaseAll(p, false)
	k.wants.rewind()
	k.peers.list = slices.DeleteFunc(k.peers.list, func(o *Peer) bool { return o == p })
	for _, c := range k.pieces.open {
		if c.solo == p {
			c.solo = nil
		}
		if t := c.trialOf(p); t != nil {
			if c.failed != nil && p.plan.id != ([20]byte{}) {
				c.failed.leaves(t)
			}
			k.pieces.endTrial(t)
		}
		k.endTrials(c)
	}
}

// endTrials ends the trial of a piece when none of those who gave the blocks that failed
// is left, and nobody is trying: there is nobody to be blamed, and peers that come
// and go would never complete a copy of their own.
func (k *Picker) endTrials(p *piece) {
	if !p.onTrial() || len(p.trials) > 0 || slices.ContainsFunc(p.failed.from, func(c *Peer) bool { return slices.Contains(k.peers.list, c) }) {
		return
	}
	p.failed = nil
	k.wants.rewindTo(p.index)
	k.pieces.forgetUnused(p)
}

// Rate returns the measured rate in bytes per second, 0 before any measure.
func (p *Peer) Rate() float64 {
	if !p.meter.measured {
		return 0
	}
	return p.meter.rate
}

// RTT returns the smallest round trip seen.
func (p *Peer) RTT() time.Duration { return p.meter.rtt }

// InFlight returns how many requests it has not answered.
func (p *Peer) InFlight() int { return p.inFlight }

// room returns how many more blocks the peer's window takes.
func (p *Peer) room(queue time.Duration) int {
	if p.silence != answering {
		return 1 - p.inFlight // a probe
	}
	return min(p.maxRequests, p.window(queue)) - p.inFlight
}

// window returns how many blocks to keep asked of the peer.
func (p *Peer) window(queue time.Duration) int {
	switch {
	case p.beside:
		queue = min(besideQueues*queue, p.queueTime)
	case p.queueTime > 0:
		queue = p.queueTime
	}
	return p.meter.window(queue)
}

// apart reports whether the peer had better give whole pieces of its own where no
// read waits: what it sends may be wrong, or it is asked for runs.
func (p *Peer) apart() bool { return !p.proven || p.runs }

// eta returns when a block asked for now at this priority would be here.
func (p *Peer) eta(prio weir.Priority) time.Duration {
	ahead := p.queued
	if prio == weir.Blocked {
		ahead = min(ahead, p.unreclaimable)
	}
	d := p.meter.eta(ahead)
	if p.silence.isSnubbed() {
		d += snubbedPenalty
	}
	return d
}
