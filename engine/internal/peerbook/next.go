package peerbook

import (
	"net/netip"
	"time"

	"github.com/weirfs/weir/engine/internal/subnet"
)

// hurriedBackoff is the longest that a candidate is left alone while reads wait and
// nobody is connected: it may be the only one that there is, and come back.
const hurriedBackoff = 5 * time.Second

// Next returns what to dial now. hurry says that reads wait and nobody is
// connected. Sources take turns by their shares, and so do the referrers of one
// source; of one referrer those come first that failed least and were of use before.
func (b *Book) Next(now time.Time, hurry bool) (Candidate, bool) {
	if b.Dialing() >= MaxDials {
		return Candidate{}, false
	}
	best := map[*group]*candidate{}
	untried := 0
	for _, k := range b.known {
		if !b.eligible(k, now, hurry) {
			continue
		}
		if k.failures == 0 {
			untried++
		}
		if o := best[k.origin]; o == nil || b.better(k, o) {
			best[k.origin] = k
		}
	}
	var first *candidate
	for _, k := range best {
		if b.mayDial(k.origin) && (first == nil || b.before(k, first, now)) {
			first = k
		}
	}
	if first == nil {
		return Candidate{}, false
	}
	return Candidate{
		Addr: first.name, Source: first.origin.Source, Mode: first.mode,
		ShortTimeout: untried > 2*MaxDials && first.origin.Source < Former,
	}, true
}

func (b *Book) eligible(k *candidate, now time.Time, hurry bool) bool {
	switch {
	case k.busy, !k.dead.IsZero(), b.private && !k.origin.reliable():
		return false
	case now.Before(k.next) && !(hurry && now.Sub(k.ended) >= hurriedBackoff):
		return false
	}
	return !k.addr.IsValid() || !b.bans.has(subnet.Customer(k.addr.Addr()), now)
}

// mayDial reports whether a source has a dial left.
func (b *Book) mayDial(g *group) bool {
	if b.dialing[g.Source] >= shares[g.Source].dials {
		return false
	}
	unreliable := 0
	for s := range Former {
		unreliable += b.dialing[s]
	}
	return g.Source >= Former || unreliable < maxUnreliableDials
}

// better reports whether a is dialed before b, of the same referrer.
func (b *Book) better(k, o *candidate) bool {
	switch {
	case k.failures != o.failures:
		return k.failures < o.failures
	case k.delivered > 0 != (o.delivered > 0):
		return k.delivered > 0
	case k.seen.IsZero() != o.seen.IsZero():
		return !k.seen.IsZero()
	}
	if p, q := b.rank(k.addr), b.rank(o.addr); p != q {
		return p > q
	}
	return k.seq < o.seq
}

func (b *Book) rank(a netip.AddrPort) uint32 {
	if !a.IsValid() {
		return 0
	}
	return b.priority(a)
}

// before reports whether k is dialed before o, of different referrers: who was of use
// and is not known to be gone, then what the user named and nobody has tried, then
// whose turn it is.
func (b *Book) before(k, o *candidate, now time.Time) bool {
	useful := func(k *candidate) bool { return k.delivered > 0 && k.failures == 0 }
	named := func(k *candidate) bool { return k.origin.Source == User && k.failures == 0 }
	s, t := k.origin, o.origin
	switch {
	case useful(k) != useful(o):
		return useful(k)
	case named(k) != named(o):
		return named(k)
	case s.isMuted(now) != t.isMuted(now):
		return !s.isMuted(now)
	case s.Source != t.Source && b.pass[s.Source] != b.pass[t.Source]:
		return b.pass[s.Source] < b.pass[t.Source]
	case s.Source != t.Source:
		return s.Source > t.Source
	case s.pass != t.pass:
		return s.pass < t.pass
	}
	return s.seq < t.seq
}

// Dial says that a candidate is being dialed.
func (b *Book) Dial(addr string) {
	k := b.known[addr]
	if k == nil || k.busy {
		return
	}
	k.busy, k.dials = true, true
	g := k.origin
	b.dialing[g.Source]++
	k.costSource, k.costReferrer = 1/shares[g.Source].pace, 1/g.credit()
	// Who had nothing to dial for a while gets no more than his turn now.
	least, smallest := b.pass[g.Source], g.pass
	for s := range sources {
		if s != g.Source && b.size[s] > 0 {
			least = max(least, b.pass[s]-1)
		}
	}
	for _, o := range b.groups {
		if o != g && o.Source == g.Source && o.size > 0 {
			smallest = max(smallest, o.pass-4)
		}
	}
	b.pass[g.Source] = least + k.costSource
	g.pass = smallest + k.costReferrer
}

// credit falls with each address of a referrer at which nobody was found, and grows
// with those at which somebody was.
func (g *group) credit() float64 { return float64(1+4*g.good) / float64(1+g.bad) }
