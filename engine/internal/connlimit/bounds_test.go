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
		p := Peer{Gave: never, Age: time.Hour, Crowd: 1, Ours: true, Theirs: true, Priority: 5}
		if change != nil {
			change(&p)
		}
		return p
	}
	earned := func(p *Peer) { p.Gave = 0 }
	for name, pair := range map[string][2]Peer{
		"Priority":           {peer(func(p *Peer) { p.Priority = 4 }), peer(nil)},
		"PriorityOfEarners":  {peer(func(p *Peer) { earned(p); p.Priority = 4 }), peer(earned)},
		"Dialed":             {peer(nil), peer(func(p *Peer) { p.Dialed = true; p.Priority = 0 })},
		"DialedOfEarners":    {peer(func(p *Peer) { earned(p); p.Dialed = true; p.Priority = 4 }), peer(earned)},
		"Idle":               {peer(func(p *Peer) { p.Idle = idleStranger; p.Dialed = true }), peer(func(p *Peer) { p.Idle = idleStranger - 1 })},
		"IdleLong":           {peer(func(p *Peer) { p.Idle = idleLeech; p.Dialed = true }), peer(func(p *Peer) { p.Idle = idleLeech - 1 })},
		"IdleAlike":          {peer(func(p *Peer) { p.Idle = idleLeech - 1 }), peer(func(p *Peer) { p.Idle = idleStranger; p.Priority = 6 })},
		"IdleAlikeAtFirst":   {peer(func(p *Peer) { p.Idle = 0 }), peer(func(p *Peer) { p.Idle = idleStranger - 1; p.Priority = 6 })},
		"Theirs":             {peer(func(p *Peer) { p.Theirs = false }), peer(func(p *Peer) { p.Idle = idleStranger })},
		"Ours":               {peer(func(p *Peer) { p.Ours = false }), peer(func(p *Peer) { p.Theirs = false })},
		"Crowd":              {peer(func(p *Peer) { p.Crowd = crowdMargin }), peer(func(p *Peer) { p.Crowd = crowdMargin - 1; p.Ours = false })},
		"CrowdAlike":         {peer(func(p *Peer) { p.Crowd = crowdMargin - 1; p.Ours = false }), peer(nil)},
		"CrowdOfTwoIsNone":   {peer(func(p *Peer) { p.Ours = false }), peer(func(p *Peer) { p.Crowd = 2 })},
		"CrowdOfEarners":     {peer(func(p *Peer) { earned(p); p.Ours = false }), peer(func(p *Peer) { earned(p); p.Crowd = 50 })},
		"Gave":               {peer(func(p *Peer) { p.Gave = earnedFor }), peer(func(p *Peer) { p.Gave = earnedFor - 1; p.Crowd = 50; p.Theirs = false })},
		"Served":             {peer(nil), peer(func(p *Peer) { p.Served = true; p.Crowd = 50; p.Ours = false })},
		"Useless":            {peer(func(p *Peer) { p.Ours = false; p.Idle = idleLeech; earned(p) }), peer(func(p *Peer) { p.Ours = false; p.Idle = idleLeech - 1; p.Crowd = 50 })},
		"UselessSilent":      {peer(func(p *Peer) { p.Ours, p.Theirs, p.Silent, p.Idle = false, false, true, 10*time.Second }), peer(func(p *Peer) { p.Ours, p.Theirs, p.Silent, p.Idle = false, false, true, 10*time.Second-1 })},
		"UselessStranger":    {peer(func(p *Peer) { p.Ours, p.Theirs, p.Idle = false, false, 30*time.Second }), peer(func(p *Peer) { p.Ours, p.Theirs, p.Idle = false, false, 30*time.Second-1 })},
		"UselessLeech":       {peer(func(p *Peer) { p.Ours, p.Idle = false, 5*time.Minute }), peer(func(p *Peer) { p.Ours, p.Idle = false, 5*time.Minute-1 })},
		"SilentLeechIsAnyOf": {peer(func(p *Peer) { p.Ours, p.Theirs, p.Silent, p.Idle = false, false, true, 20*time.Second }), peer(func(p *Peer) { p.Ours, p.Silent, p.Idle = false, true, 20*time.Second })},
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
	base := Peer{Ours: true, Gave: never, Crowd: 4}
	for name, test := range map[string]struct {
		peer Peer
		n    Newcomer
		want bool
	}{
		"Crowd":            {Peer{Ours: true, Gave: never, Crowd: 4, Age: 2 * time.Second}, Newcomer{Crowd: 1}, true},
		"CrowdIsYoung":     {Peer{Ours: true, Gave: never, Crowd: 4, Age: 2*time.Second - 1}, Newcomer{Crowd: 1}, false},
		"CrowdIsSmall":     {Peer{Ours: true, Gave: never, Crowd: 4, Age: time.Hour}, Newcomer{Crowd: 2}, false},
		"CrowdHasEarned":   {Peer{Ours: true, Gave: 30*time.Second - 1, Crowd: 50, Age: time.Hour}, Newcomer{Awaited: true}, false},
		"CrowdHadEarned":   {Peer{Ours: true, Gave: 30 * time.Second, Crowd: 50, Age: time.Hour}, Newcomer{Awaited: true}, true},
		"Awaited":          {base, Newcomer{Crowd: 4, Awaited: true}, true},
		"NotAwaited":       {base, Newcomer{Crowd: 4}, false},
		"DialedIsYoung":    {Peer{Ours: true, Gave: never, Crowd: 1, Dialed: true, Age: 20*time.Second - 1}, Newcomer{Crowd: 1, Awaited: true}, false},
		"DialedGivesNone":  {Peer{Ours: true, Gave: never, Crowd: 1, Dialed: true, Age: 20 * time.Second}, Newcomer{Crowd: 1, Awaited: true}, true},
		"DialedNotAwaited": {Peer{Ours: true, Gave: never, Crowd: 1, Dialed: true, Age: time.Hour}, Newcomer{Crowd: 1}, false},
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
