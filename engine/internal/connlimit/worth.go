package connlimit

import "time"

// Peer is what a connection is worth.
type Peer struct {
	Ours     bool          // it says to have something that we lack
	Theirs   bool          // it wants something of us
	Silent   bool          // it has sent nothing but its handshake
	Dialed   bool          // by us
	Age      time.Duration // since it joined
	Idle     time.Duration // since a block went either way, or since it joined
	Gave     time.Duration // since it gave us a block; negative if it never did
	Served   bool          // blocks went to it lately
	Crowd    int           // connections with its network, this one included
	Priority uint32        // canonical (BEP 40)
}

// Newcomer is a connection that there is no room for.
type Newcomer struct {
	Awaited bool // we dialed it because something is awaited of the torrent
	Crowd   int  // connections with its network, itself not included
}

// How long a peer may be idle before it counts as useless: one without any
// business with us soon, one that waits for a slot only when its turn must have
// come long ago, one that says nothing at all very soon. One that has what we lack
// never does.
const (
	idleSilent   = 10 * time.Second
	idleStranger = 30 * time.Second
	idleLeech    = 5 * time.Minute
)

// What a peer must do to keep its slot when others need it.
const (
	// earnedFor is how long a block earns its giver the slot. Claims earn nothing.
	earnedFor = 30 * time.Second
	// patience is how long a peer that we dialed may take for its first block: most
	// unchoke us at their next turn.
	patience = 20 * time.Second
	// A crowd is a network with so many connections more than the newcomer's.
	crowdMargin = 3
	crowdGrace  = 2 * time.Second
)

// Useless reports whether a peer is of no use to anybody.
func (a Peer) Useless() bool {
	switch {
	case a.Ours:
		return false
	case a.Silent && !a.Theirs && a.Idle >= idleSilent:
		return true
	}
	return a.Idle >= idleLeech || !a.Theirs && a.Idle >= idleStranger
}

// Earned reports whether the peer earned its slot lately.
func (a Peer) Earned() bool { return a.Gave >= 0 && a.Gave < earnedFor || a.Served }

// GivesWay reports whether the peer's slot may go to a newcomer: if it is useless;
// if it has earned nothing and is one of a crowd, which the newcomer is not; or if
// it gives nothing while something is awaited.
func (a Peer) GivesWay(n Newcomer) bool {
	switch {
	case a.Useless():
		return true
	case a.Earned():
		return false
	case n.Crowd+crowdMargin <= a.Crowd && a.Age >= crowdGrace:
		return true
	}
	return n.Awaited && (!a.Dialed || a.Age >= patience)
}

// spell tells a long idleness from a short one and from none to speak of.
func (a Peer) spell() int {
	switch {
	case a.Idle >= idleLeech:
		return 2
	case a.Idle >= idleStranger:
		return 1
	}
	return 0
}

// Less reports whether a is worth less than b.
func (a Peer) Less(b Peer) bool {
	crowd := func(p Peer) int { return p.Crowd / crowdMargin }
	switch {
	case a.Useless() != b.Useless():
		return a.Useless()
	case a.Earned() != b.Earned():
		return !a.Earned()
	case !a.Earned() && crowd(a) != crowd(b):
		return crowd(a) > crowd(b)
	case a.Ours != b.Ours:
		return !a.Ours
	case a.Theirs != b.Theirs:
		return !a.Theirs
	case a.spell() != b.spell():
		return a.spell() > b.spell()
	case a.Dialed != b.Dialed && !a.Earned():
		return !a.Dialed
	}
	return a.Priority < b.Priority
}
