package dht

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Bounds of one lookup in the DHT (BEP 5).
const (
	width         = 8 // closest nodes that must have answered: K of Kademlia
	maxInFlight   = 4 // questions under way
	maxAsked      = 120
	lookupTimeout = time.Minute
	maxPerAnswer  = 16 // nodes that one answer may name
)

// node is a node of the DHT.
type node struct {
	addr netip.AddrPort
	id   [20]byte
	// hasID says that id is known; bootstrap nodes are asked without.
	hasID bool
}

// lookup decides which node to ask next on the way to a target, and when the closest
// have been found. It does not ask.
type lookup struct {
	target   weir.InfoHash
	seen     map[netip.AddrPort]bool
	waiting  []node     // not asked yet, closest first; nodes of unknown id come last
	closest  []answerer // those that answered, closest first, at most width
	asked    int
	inFlight int // asked, and not yet answered or failed
}

// answerer is a node that answered, with the token that an announce must carry.
type answerer struct {
	node
	token string // empty: it takes no announces
}

func newLookup(target weir.InfoHash) *lookup {
	return &lookup{target: target, seen: map[netip.AddrPort]bool{}}
}

// add adds nodes that may be asked.
func (l *lookup) add(nodes ...node) {
	for _, n := range nodes {
		if l.seen[n.addr] || len(l.seen) >= 4*maxAsked {
			continue
		}
		l.seen[n.addr] = true
		at, _ := slices.BinarySearchFunc(l.waiting, n, l.compare)
		l.waiting = slices.Insert(l.waiting, at, n)
	}
}

// compare orders by distance to the target; the unknown are far.
func (l *lookup) compare(a, b node) int {
	switch {
	case a.hasID != b.hasID:
		if a.hasID {
			return -1
		}
		return 1
	case !a.hasID:
		return a.addr.Compare(b.addr)
	}
	da, db := distance(a.id, l.target), distance(b.id, l.target)
	return bytes.Compare(da[:], db[:])
}

func distance(a [20]byte, b weir.InfoHash) (d [20]byte) {
	for i := range d {
		d[i] = a[i] ^ b[i]
	}
	return d
}

// next returns a node to ask now. There is none while enough questions are under
// way, and no more once the closest have answered.
func (l *lookup) next() (node, bool) {
	if l.inFlight >= maxInFlight || l.asked >= maxAsked || len(l.waiting) == 0 {
		return node{}, false
	}
	n := l.waiting[0]
	if len(l.closest) == width && (!n.hasID || l.compare(n, l.closest[width-1].node) > 0) {
		return node{}, false
	}
	l.waiting = l.waiting[1:]
	l.asked++
	l.inFlight++
	return n, true
}

// over reports whether the lookup has ended: no question is under way, and nobody is left
// to ask.
func (l *lookup) over() bool {
	if l.inFlight > 0 {
		return false
	}
	if l.asked >= maxAsked || len(l.waiting) == 0 {
		return true
	}
	n := l.waiting[0]
	return len(l.closest) == width && (!n.hasID || l.compare(n, l.closest[width-1].node) > 0)
}

// failed records that a node did not answer.
func (l *lookup) failed() { l.inFlight-- }

// answered records an answer and the nodes it names.
func (l *lookup) answered(from answerer, named []node) {
	l.inFlight--
	at, _ := slices.BinarySearchFunc(l.closest, from, func(a, b answerer) int { return l.compare(a.node, b.node) })
	l.closest = slices.Insert(l.closest, at, from)
	l.closest = l.closest[:min(len(l.closest), width)]
	l.add(named[:min(len(named), maxPerAnswer)]...)
}
