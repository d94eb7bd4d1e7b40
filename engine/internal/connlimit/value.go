package connlimit

import "time"

// Peer has the facts that say how much a connection is worth.
type Peer struct {
	Interesting bool          // it claims to have pieces that we lack
	Interested  bool          // in what we have
	Silent      bool          // it has sent nothing but its handshake
	Dialed      bool          // by us
	Age         time.Duration // since it joined
	Idle        time.Duration // since a block went either way, or since it joined
	LastBlock   time.Duration // since it gave us a block; negative if it never did
	Served      bool          // we sent it blocks lately
	FromNetwork int           // connections with its network, this one included
	Priority    uint32        // canonical (BEP 40)
}

// Newcomer is a connection for which another one would have to go.
type Newcomer struct {
	Awaited     bool // we dialed it because a read waits for the torrent
	FromNetwork int  // connections with its network, itself not included
}

// How long a peer may be idle before it counts as useless. One with pieces that we lack
// never does.
const (
	idleSilent       = 10 * time.Second // it has sent nothing but its handshake
	idleUninterested = 30 * time.Second // neither side wants anything
	idleInterested   = 5 * time.Minute  // it waits for a slot, and must have had its turn
)

// What a peer must do to keep its slot when others need it.
const (
	// earnedFor is how long a block lets its sender keep its slot. Claims don't count.
	earnedFor = 30 * time.Second
	// patience is how long a peer that we dialed may take for its first block: most
	// unchoke us in their next round.
	patience = 20 * time.Second
	// networkMargin is how many connections more than the newcomer's a network must
	// have to lose one to it.
	networkMargin = 3
	// networkGrace protects connections that have just been made.
	networkGrace = 2 * time.Second
)

// Useless reports whether a peer has been idle for too long.
func (a Peer) Useless() bool {
	switch {
	case a.Interesting:
		return false
	case a.Silent && !a.Interested && a.Idle >= idleSilent:
		return true
	}
	return a.Idle >= idleInterested || !a.Interested && a.Idle >= idleUninterested
}

// Earned reports whether the peer earned its slot lately.
func (a Peer) Earned() bool { return a.LastBlock >= 0 && a.LastBlock < earnedFor || a.Served }

// GivesWay reports whether the peer's slot may go to a newcomer: if the peer is useless,
// or has not earned its slot lately and is of a network with more connections than the
// newcomer's, or sends nothing while a read waits.
func (a Peer) GivesWay(n Newcomer) bool {
	switch {
	case a.Useless():
		return true
	case a.Earned():
		return false
	case n.FromNetwork+networkMargin <= a.FromNetwork && a.Age >= networkGrace:
		return true
	}
	return n.Awaited && (!a.Dialed || a.Age >= patience)
}

// idleClass ranks how long the peer has been idle: 0 hardly, 1 for a while, 2 for long.
func (a Peer) idleClass() int {
	switch {
	case a.Idle >= idleInterested:
		return 2
	case a.Idle >= idleUninterested:
		return 1
	}
	return 0
}

// Less reports whether a is worth less than b.
func (a Peer) Less(b Peer) bool {
	network := func(p Peer) int { return p.FromNetwork / networkMargin }
	switch {
	case a.Useless() != b.Useless():
		return a.Useless()
	case a.Earned() != b.Earned():
		return !a.Earned()
	case !a.Earned() && network(a) != network(b):
		return network(a) > network(b)
	case a.Interesting != b.Interesting:
		return !a.Interesting
	case a.Interested != b.Interested:
		return !a.Interested
	case a.idleClass() != b.idleClass():
		return a.idleClass() > b.idleClass()
	case a.Dialed != b.Dialed && !a.Earned():
		return !a.Dialed
	}
	return a.Priority < b.Priority
}
