package peerbook

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Add makes addresses known that o named. A full book loses what is least
// promising of whoever has more than his share.
func (b *Book) Add(now time.Time, o Origin, addrs ...string) {
	if b.private && o.Source < Tracker {
		return
	}
	g := b.group(o, now)
	full := g.isMuted(now)
	for _, a := range addrs {
		name := canonical(a)
		if k := b.known[name]; k != nil {
			b.again(k, g)
			continue
		}
		addr, err := netip.ParseAddrPort(name)
		if full || o.Source != User && (err != nil || !dialable(addr) || b.ports[addr.Addr()] >= maxPorts && !shared(addr.Addr())) {
			continue
		}
		if full = !b.makeRoom(now, g); !full {
			b.add(g, name, addr)
		}
	}
}

func (b *Book) add(g *group, name string, addr netip.AddrPort) {
	b.seq++
	k := &candidate{name: name, addr: addr, seq: b.seq, origin: g, mode: b.mode}
	b.known[name] = k
	b.count(k, 1)
	b.fresh = true
}

// again hears of an address once more.
func (b *Book) again(k *candidate, g *group) {
	was := k.origin
	if g.Source > was.Source || g.Source == was.Source && !was.muted.IsZero() && g.muted.IsZero() {
		b.count(k, -1)
		k.origin = g
		b.count(k, 1)
		if k.dials {
			b.dialing[was.Source]--
			b.dialing[g.Source]++
		}
	}
	if !k.dead.IsZero() && g.Source == User {
		k.dead, k.failures, k.next = time.Time{}, 0, time.Time{}
		b.fresh = true
	}
}

// count enters a candidate into the sums, or takes it out.
func (b *Book) count(k *candidate, n int) {
	k.origin.size += n
	b.size[k.origin.Source] += n
	if k.addr.IsValid() {
		if b.ports[k.addr.Addr()] += n; b.ports[k.addr.Addr()] == 0 {
			delete(b.ports, k.addr.Addr())
		}
	}
}

func (b *Book) remove(k *candidate) {
	if k.dials {
		b.dialing[k.origin.Source]--
	}
	b.count(k, -1)
	delete(b.known, k.name)
}

// dialable reports whether there may be a peer at an address.
func dialable(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// shared reports whether an address is one that many peers have honestly: those of
// a laboratory on one machine.
func shared(ip netip.Addr) bool { return ip.IsLoopback() || ip.IsPrivate() }

// group returns the group of an origin.
func (b *Book) group(o Origin, now time.Time) *group {
	if g := b.groups[o]; g != nil {
		return g
	}
	if len(b.groups) >= maxReferrers {
		b.forgetReferrer(now)
	}
	if len(b.groups) >= maxReferrers {
		o.Referrer = "" // there are too many to tell apart
		if g := b.groups[o]; g != nil {
			return g
		}
	}
	b.seq++
	g := &group{Origin: o, seq: b.seq}
	b.groups[o] = g
	return g
}

// forgetReferrer drops the oldest referrer of whom nothing is in the book, one that is
// muted last.
func (b *Book) forgetReferrer(now time.Time) {
	var first *group
	for _, g := range b.groups {
		if g.size == 0 && (first == nil || older(g, first, now)) {
			first = g
		}
	}
	if first != nil {
		delete(b.groups, first.Origin)
	}
}

func older(a, b *group, now time.Time) bool {
	if a.isMuted(now) != b.isMuted(now) {
		return !a.isMuted(now)
	}
	return a.seq < b.seq
}

// makeRoom sees to it that g may have one candidate more.
func (b *Book) makeRoom(now time.Time, g *group) bool {
	if g.Source == User {
		return b.size[User] < maxUser
	}
	if g.Source == Exchange && g.size >= maxTold && !b.evict(func(k *candidate) bool { return k.origin == g && k.failures > 0 }) {
		return false
	}
	if len(b.known)-b.size[User] < MaxCandidates {
		return true
	}
	if b.evict(func(k *candidate) bool { return !k.dead.IsZero() }) {
		return true
	}
	// Of the source that exceeds its share most, and there of the referrer with most.
	var most Source
	for s := range User {
		if over(b.size[s], s) > over(b.size[most], most) {
			most = s
		}
	}
	var referrer *group
	for _, o := range b.groups {
		if o.Source == most && (referrer == nil || larger(o, referrer, now)) {
			referrer = o
		}
	}
	return referrer != nil && b.evict(func(k *candidate) bool { return k.origin == referrer })
}

func over(size int, s Source) float64 { return float64(size) / float64(shares[s].room) }

func larger(a, b *group, now time.Time) bool {
	switch {
	case a.isMuted(now) != b.isMuted(now) && a.size > 0 && b.size > 0:
		return a.isMuted(now)
	case a.size != b.size:
		return a.size > b.size
	}
	return a.seq < b.seq
}

// evictAtOnce is how many addresses go at a time, so that a flood of new ones costs
// little.
const evictAtOnce = 16

// evict removes some of those that match and are not in use, the least promising.
func (b *Book) evict(match func(*candidate) bool) bool {
	var list []*candidate
	for _, k := range b.known {
		if k.origin.Source != User && !k.busy && match(k) {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, promise)
	for _, k := range list[:min(len(list), evictAtOnce)] {
		b.remove(k)
	}
	return len(list) > 0
}

// promise orders candidates, the least promising first: the dead, those that were
// never of use, those that fail, the oldest.
func promise(a, b *candidate) int {
	use := func(k *candidate) int {
		switch {
		case !k.dead.IsZero():
			return 0
		case k.delivered > 0:
			return 3
		case !k.seen.IsZero():
			return 2
		}
		return 1
	}
	return cmp.Or(cmp.Compare(use(a), use(b)), a.dead.Compare(b.dead), cmp.Compare(b.failures, a.failures), cmp.Compare(a.seq, b.seq))
}
