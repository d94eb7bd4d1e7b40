package connlimit

import (
	"net/netip"
	"testing"
	"time"
)

// TestWorth: what each fact is worth, all else being alike. The first of a pair is
// worth less.
func TestWorth(t *testing.T) {
	peer := func(change func(p *Peer)) Peer {
		p := Peer{LastBlock: never, Age: time.Hour, FromNetwork: 1, Interesting: true, Interested: true, Priority: 5}
		if change != nil {
			change(&p)
		}
		return p
	}
	earned := func(p *Peer) { p.LastBlock = 0 }
	for name, pair := range map[string][2]Peer{
		"Priority":           {peer(func(p *Peer) { p.Priority = 4 }), peer(nil)},
		"PriorityOfEarners":  {peer(func(p *Peer) { earned(p); p.Priority = 4 }), peer(earned)},
		"Dialed":             {peer(nil), peer(func(p *Peer) { p.Dialed = true; p.Priority = 0 })},
		"DialedOfEarners":    {peer(func(p *Peer) { earned(p); p.Dialed = true; p.Priority = 4 }), peer(earned)},
		"Idle":               {peer(func(p *Peer) { p.Idle = idleUninterested; p.Dialed = true }), peer(func(p *Peer) { p.Idle = idleUninterested - 1 })},
		"IdleLong":           {peer(func(p *Peer) { p.Idle = idleInterested; p.Dialed = true }), peer(func(p *Peer) { p.Idle = idleInterested - 1 })},
		"IdleAlike":          {peer(func(p *Peer) { p.Idle = idleInterested - 1 }), peer(func(p *Peer) { p.Idle = idleUninterested; p.Priority = 6 })},
		"IdleAlikeAtFirst":   {peer(func(p *Peer) { p.Idle = 0 }), peer(func(p *Peer) { p.Idle = idleUninterested - 1; p.Priority = 6 })},
		"Interested":         {peer(func(p *Peer) { p.Interested = false }), peer(func(p *Peer) { p.Idle = idleUninterested })},
		"Interesting":        {peer(func(p *Peer) { p.Interesting = false }), peer(func(p *Peer) { p.Interested = false })},
		"FromNetwork":        {peer(func(p *Peer) { p.FromNetwork = networkMargin }), peer(func(p *Peer) { p.FromNetwork = networkMargin - 1; p.Interesting = false })},
		"CrowdAlike":         {peer(func(p *Peer) { p.FromNetwork = networkMargin - 1; p.Interesting = false }), peer(nil)},
		"CrowdOfTwoIsNone":   {peer(func(p *Peer) { p.Interesting = false }), peer(func(p *Peer) { p.FromNetwork = 2 })},
		"CrowdOfEarners":     {peer(func(p *Peer) { earned(p); p.Interesting = false }), peer(func(p *Peer) { earned(p); p.FromNetwork = 50 })},
		"LastBlock":          {peer(func(p *Peer) { p.LastBlock = earnedFor }), peer(func(p *Peer) { p.LastBlock = earnedFor - 1; p.FromNetwork = 50; p.Interested = false })},
		"Served":             {peer(nil), peer(func(p *Peer) { p.Served = true; p.FromNetwork = 50; p.Interesting = false })},
		"Useless":            {peer(func(p *Peer) { p.Interesting = false; p.Idle = idleInterested; earned(p) }), peer(func(p *Peer) { p.Interesting = false; p.Idle = idleInterested - 1; p.FromNetwork = 50 })},
		"UselessSilent":      {peer(func(p *Peer) { p.Interesting, p.Interested, p.Silent, p.Idle = false, false, true, 10*time.Second }), peer(func(p *Peer) { p.Interesting, p.Interested, p.Silent, p.Idle = false, false, true, 10*time.Second-1 })},
		"UselessStranger":    {peer(func(p *Peer) { p.Interesting, p.Interested, p.Idle = false, false, 30*time.Second }), peer(func(p *Peer) { p.Interesting, p.Interested, p.Idle = false, false, 30*time.Second-1 })},
		"UselessLeech":       {peer(func(p *Peer) { p.Interesting, p.Idle = false, 5*time.Minute }), peer(func(p *Peer) { p.Interesting, p.Idle = false, 5*time.Minute-1 })},
		"SilentLeechIsAnyOf": {peer(func(p *Peer) { p.Interesting, p.Interested, p.Silent, p.Idle = false, false, true, 20*time.Second }), peer(func(p *Peer) { p.Interesting, p.Silent, p.Idle = false, true, 20*time.Second })},
	} {
		if a, b := pair[0], pair[1]; !a.Less(b) || b.Less(a) {
			t.Errorf("%s: %v, and the other way %v:\n%+v\n%+v", name, a.Less(b), b.Less(a), a, b)
		}
	}
	if a := peer(nil); a.Less(a) {
		t.Error("a peer is worth less than itself")
	}
}

// TestGrace: for how long peers keep what others need, to the moment.
func TestGrace(t *testing.T) {
	base := Peer{Interesting: true, LastBlock: never, FromNetwork: 4}
	for name, test := range map[string]struct {
		peer Peer
		n    Newcomer
		want bool
	}{
		"FromNetwork":      {Peer{Interesting: true, LastBlock: never, FromNetwork: 4, Age: 2 * time.Second}, Newcomer{FromNetwork: 1}, true},
		"CrowdIsYoung":     {Peer{Interesting: true, LastBlock: never, FromNetwork: 4, Age: 2*time.Second - 1}, Newcomer{FromNetwork: 1}, false},
		"CrowdIsSmall":     {Peer{Interesting: true, LastBlock: never, FromNetwork: 4, Age: time.Hour}, Newcomer{FromNetwork: 2}, false},
		"CrowdHasEarned":   {Peer{Interesting: true, LastBlock: 30*time.Second - 1, FromNetwork: 50, Age: time.Hour}, Newcomer{Awaited: true}, false},
		"CrowdHadEarned":   {Peer{Interesting: true, LastBlock: 30 * time.Second, FromNetwork: 50, Age: time.Hour}, Newcomer{Awaited: true}, true},
		"Awaited":          {base, Newcomer{FromNetwork: 4, Awaited: true}, true},
		"NotAwaited":       {base, Newcomer{FromNetwork: 4}, false},
		"DialedIsYoung":    {Peer{Interesting: true, LastBlock: never, FromNetwork: 1, Dialed: true, Age: 20*time.Second - 1}, Newcomer{FromNetwork: 1, Awaited: true}, false},
		"DialedGivesNone":  {Peer{Interesting: true, LastBlock: never, FromNetwork: 1, Dialed: true, Age: 20 * time.Second}, Newcomer{FromNetwork: 1, Awaited: true}, true},
		"DialedNotAwaited": {Peer{Interesting: true, LastBlock: never, FromNetwork: 1, Dialed: true, Age: time.Hour}, Newcomer{FromNetwork: 1}, false},
	} {
		if got := test.peer.GivesWay(test.n); got != test.want {
			t.Errorf("%s: gives way: %v", name, got)
		}
	}
}

// TestNeighboursAddUp: a slot adds to the count of its network what it says.
func TestNeighboursAddUp(t *testing.T) {
	for _, addr := range []string{"192.0.2.1", "2001:db8::1", "127.0.0.1", "::ffff:192.0.2.1", ""} {
		ip, _ := netip.ParseAddr(addr)
		l := New(100)
		for range 5 {
			before := l.Neighbours(ip)
			s, full := l.Dial("t", ip, 0)
			if s == nil || full {
				s, _ = l.Incoming(ip)
			}
			if s == nil {
				t.Fatalf("%s: no slot", addr)
			}
			if added := l.Neighbours(ip) - before; added != s.Neighbour() {
				t.Errorf("%s: a slot adds %d and says %d", addr, added, s.Neighbour())
			}
			s.Connected()
		}
	}
}
