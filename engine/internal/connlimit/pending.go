package connlimit

import (
	"net/netip"
	"sync"
)

// Pending are the incoming connections whose handshake is under way. A newcomer is
// always accepted: at the limit, the oldest handshake of the network that has most is
// ended for it. Honest handshakes take a few round trips, so peers that only hold
// sockets open block nobody. It is safe for concurrent use.
type Pending struct {
	most int

	mu   sync.Mutex
	list []*Handshake // oldest first
}

// Handshake is one that is under way.
type Handshake struct {
	Ref  any // the caller's
	nets []netip.Prefix
}

// NewPending returns a Pending for so many handshakes.
func NewPending(most int) *Pending { return &Pending{most: most} }

// Enter adds a newcomer, and returns the handshake that must be ended for it, or nil.
func (p *Pending) Enter(addr netip.Addr, ref any) (entered, ends *Handshake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) >= p.most {
		ends = p.victim()
		p.remove(ends)
	}
	entered = &Handshake{Ref: ref, nets: networks(addr)}
	p.list = append(p.list, entered)
	return entered, ends
}

func (p *Pending) victim() *Handshake {
	counts := map[netip.Prefix]int{}
	for _, h := range p.list {
		for _, n := range h.nets {
			counts[n]++
		}
	}
	var worst *Handshake
	most := -1
	for _, h := range p.list {
		inNetwork := 0
		for _, n := range h.nets {
			inNetwork = max(inNetwork, counts[n])
		}
		if inNetwork > most {
			worst, most = h, inNetwork
		}
	}
	return worst
}

// Leave says that a handshake is over. It may be called more than once.
func (p *Pending) Leave(h *Handshake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(h)
}

func (p *Pending) remove(h *Handshake) {
	for i := range p.list {
		if p.list[i] == h {
			p.list = append(p.list[:i:i], p.list[i+1:]...)
			return
		}
	}
}
