package peerbook

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func newBook() *Book { return New(func(netip.AddrPort) uint32 { return 0 }, 0, Bans{}) }

func names(b *Book) []string { return slices.Sorted(maps.Keys(b.known)) }

// nonsense returns n addresses of a network.
func nonsense(network byte, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("198.%d.%d.%d:%d", network, i/250, i%250+1, 6881))
	}
	return out
}

// world dials what the book says: only those in there answer, and each dial takes
// a moment.
type world struct {
	b     *Book
	now   time.Time
	there map[string]bool
	order []string // the dials, in order
	found []string
}

func (w *world) round(online bool) {
	var dials []string
	for {
		c, ok := w.b.Next(w.now, !online)
		if !ok {
			break
		}
		w.b.Dial(c.Addr)
		dials = append(dials, c.Addr)
	}
	w.order = append(w.order, dials...)
	w.now = w.now.Add(time.Second)
	for _, a := range dials {
		if w.there[a] {
			w.b.Connected(a)
			w.found = append(w.found, a)
		} else {
			w.b.Failed(a, 0, online, w.now)
		}
	}
}

// TestNonsenseHidesNobody: whatever one source or referrer floods the book with, and
// in whichever order, peers that others name are found in a few rounds.
func TestNonsenseHidesNobody(t *testing.T) {
	flood := func(o Origin) func(*Book) {
		return func(b *Book) { b.Add(testNow, o, nonsense(byte(10+o.Source), 2200)...) }
	}
	manyLiars := func(b *Book) {
		for i := range 60 {
			b.Add(testNow, Origin{Exchange, fmt.Sprintf("203.0.113.%d", i)}, nonsense(byte(100+i), 50)...)
		}
	}
	for name, lies := range map[string]func(*Book){
		"OneLiar": flood(Origin{Exchange, "203.0.113.9"}), "ManyLiars": manyLiars, "DHT": flood(Origin{Source: DHT}),
		"Local": flood(Origin{Source: Local}), "Incoming": flood(Origin{Source: Incoming}),
		"AnotherTracker": flood(Origin{Tracker, "evil.example"}),
		"AllOfThem": func(b *Book) {
			manyLiars(b)
			for _, s := range []Source{DHT, Local, Incoming} {
				flood(Origin{Source: s})(b)
			}
			flood(Origin{Tracker, "evil.example"})(b)
		},
	} {
		for _, honest := range []Origin{{Source: User}, {Tracker, "good.example"}, {Source: DHT}, {Exchange, "203.0.113.200"}, {Source: Local}} {
			for _, first := range []bool{true, false} {
				if first && name != "AllOfThem" && honest.Source != User {
					continue
				}
				if honest.Source == DHT && (name == "DHT" || name == "AllOfThem") || honest.Source == Local && (name == "Local" || name == "AllOfThem") {
					continue // one referrer, for all we know
				}
				b, rounds := newBook(), 14
				if name == "AllOfThem" {
					rounds = 40 // there are 64 others who have their turns
				}
				seeds := []string{"192.0.2.1:1", "[2001:db8::1]:1"}
				if first {
					b.Add(testNow, honest, seeds...)
				}
				lies(b)
				if !first {
					b.Add(testNow, honest, seeds...)
				}
				w := &world{b: b, now: testNow, there: map[string]bool{seeds[0]: true, seeds[1]: true}}
				for range rounds {
					w.round(len(w.found) > 0)
				}
				if len(w.found) != 2 {
					t.Errorf("%s, seeds named by source %d, first %v: found %v after %d dials", name, honest.Source, first, w.found, len(w.order))
				}
				if len(b.known) > MaxCandidates+maxUser {
					t.Errorf("%s: the book has %d addresses", name, len(b.known))
				}
			}
		}
	}
}

// TestBounded: any stream of events leaves the book within its bounds, with sums
// that are right, the user's addresses in it, and nothing that is in use thrown out.
func TestBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b, now := newBook(), testNow
	users := []string{"10.0.0.1:1", "seed.example:6881", "[2001:db8::5]:2"}
	b.Add(now, Origin{Source: User}, users...)
	busy := map[string]bool{}
	end := func(a string) {
		switch r.IntN(5) {
		case 0:
			b.Failed(a, 0, r.IntN(3) > 0, now)
		case 1:
			b.Refused(a, 1, now)
		case 2:
			b.Retry(a, 1)
		case 3:
			b.Postpone(a, now)
		case 4:
			b.Connected(a)
			b.Met(a, netip.MustParseAddrPort("192.0.2.77:1"), r.Int64N(2), now)
			b.Ended(a, r.IntN(2) == 0, now)
		}
	}
	for range 3000 {
		switch r.IntN(4) {
		case 0:
			o := Origin{Source: Source(r.IntN(int(User))), Referrer: fmt.Sprint(r.IntN(400))}
			b.Add(now, o, nonsense(byte(r.IntN(100)), r.IntN(60))...)
		case 1:
			if c, ok := b.Next(now, r.IntN(2) == 0); ok {
				b.Dial(c.Addr)
				busy[c.Addr] = true
			}
		case 2:
			for a := range busy {
				end(a)
				delete(busy, a)
				break
			}
		case 3:
			now = now.Add(time.Duration(r.IntN(60)) * time.Second)
			b.Expire(now)
		}
		for a := range busy {
			if b.known[a] == nil {
				t.Fatalf("%s is gone while it is dialed", a)
			}
		}
		if b.Dialing() != len(busy) || b.Dialing() > MaxDials {
			t.Fatalf("%d dials are under way, the book says %d", len(busy), b.Dialing())
		}
	}
	if n := len(b.known) - b.size[User]; n > MaxCandidates || len(b.groups) > maxReferrers+int(sources) || n < MaxCandidates/2 {
		t.Errorf("%d addresses of %d referrers", n, len(b.groups))
	}
	for _, u := range users {
		if b.known[u] == nil {
			t.Errorf("the user's %s is gone", u)
		}
	}
	var size [sources]int
	groups, ports := map[*group]int{}, map[netip.Addr]int{}
	for _, k := range b.known {
		size[k.origin.Source]++
		groups[k.origin]++
		if k.addr.IsValid() {
			ports[k.addr.Addr()]++
		}
	}
	for _, g := range b.groups {
		if g.size != groups[g] {
			t.Errorf("%+v has %d addresses, says %d", g.Origin, groups[g], g.size)
		}
	}
	if size != b.size || !maps.Equal(ports, b.ports) {
		t.Errorf("sums %v, are %v", b.size, size)
	}
}

// TestNonsenseCostsTheSay: a peer whose addresses are nonsense is not listened to,
// one of whose addresses some are right is, and nobody is blamed while we are cut
// off.
func TestNonsenseCostsTheSay(t *testing.T) {
	for name, c := range map[string]struct {
		right, rounds int
		online, muted bool
	}{
		"Liar": {0, 10, true, true}, "Honest": {10, 10, true, false}, "CutOff": {0, 10, false, false},
	} {
		b := newBook()
		o := Origin{Exchange, "203.0.113.1"}
		told := nonsense(1, 50)
		b.Add(testNow, o, told...)
		w := &world{b: b, now: testNow, there: map[string]bool{}}
		for _, a := range told[:c.right] {
			w.there[a] = true
		}
		for range c.rounds {
			w.round(c.online)
		}
		b.Add(w.now, o, "192.0.2.1:1")
		if listened := b.known["192.0.2.1:1"] != nil; listened == c.muted {
			t.Errorf("%s is listened to: %v", name, listened)
		}
		b.Add(w.now, Origin{Exchange, "203.0.113.2"}, "192.0.2.2:1")
		if b.known["192.0.2.2:1"] == nil {
			t.Errorf("%s: another peer is not listened to", name)
		}
		later := w.now.Add(muteTime)
		b.Expire(later)
		b.Add(later, o, "192.0.2.3:1")
		if b.known["192.0.2.3:1"] == nil {
			t.Errorf("%s is not listened to after an hour", name)
		}
	}
}

// TestTheDeadAreLeftOut: who can't be reached while others can is tried a few times,
// then not for half an hour, whoever names it; the user's own is tried for ever.
func TestTheDeadAreLeftOut(t *testing.T) {
	for _, s := range []Source{Incoming, Local, Exchange, DHT, Former, Tracker, User} {
		for _, online := range []bool{true, false} {
			b, now, tries := newBook(), testNow, 0
			b.Add(now, Origin{Source: s}, "192.0.2.1:1")
			var last time.Duration
			for range 30 {
				c, ok := b.Next(now, false)
				if !ok {
					break
				}
				b.Dial(c.Addr)
				b.Failed(c.Addr, 0, online, now)
				k := b.known[c.Addr]
				if wait := k.next.Sub(now); wait < last || wait > 5*time.Minute {
					t.Errorf("source %d: waits %v after %v", s, wait, last)
				} else {
					last = wait
				}
				now, tries = k.next, tries+1
			}
			switch {
			case (s == User || !online) && tries != 30:
				t.Errorf("source %d, online %v: given up after %d dials", s, online, tries)
			case s != User && online && (tries < 4 || tries > 12 || b.Len() != 0):
				t.Errorf("source %d: dialed %d times, %d left", s, tries, b.Len())
			}
			if s == User || !online {
				continue
			}
			b.Add(now, Origin{Source: DHT}, "192.0.2.1:1")
			if _, ok := b.Next(now, true); ok {
				t.Errorf("source %d: dialed again because somebody names it", s)
			}
			now = now.Add(deadTime + time.Second)
			b.Expire(now)
			b.Add(now, Origin{Source: DHT}, "192.0.2.1:1")
			if _, ok := b.Next(now, false); !ok {
				t.Errorf("source %d: out of the question for ever", s)
			}
		}
	}
	b := newBook()
	b.Add(testNow, Origin{Source: DHT}, "192.0.2.1:1")
	b.known["192.0.2.1:1"].dead = testNow
	b.Add(testNow, Origin{Source: User}, "192.0.2.1:1")
	if _, ok := b.Next(testNow, false); !ok {
		t.Error("the user's word does not count")
	}
}

func TestNext(t *testing.T) {
	tracker := Origin{Source: Tracker}
	failed := func(b *Book, a string, times int) {
		for range times {
			b.Dial(a)
			b.Failed(a, 0, false, testNow)
		}
	}
	t.Run("TheOnlyPeerIsTriedOftenWhileReadsWait", func(t *testing.T) {
		b := newBook()
		b.Add(testNow, tracker, "1.2.3.4:5")
		failed(b, "1.2.3.4:5", 8)
		later := testNow.Add(hurriedBackoff)
		if _, again := b.Next(later, false); again {
			t.Error("tried again although nobody waits")
		}
		if _, again := b.Next(later.Add(-time.Second), true); again {
			t.Error("tried again too early")
		}
		if _, again := b.Next(later, true); !again {
			t.Errorf("not tried again after %v", hurriedBackoff)
		}
	})
	t.Run("AUsefulPeerIsTriedSoon", func(t *testing.T) {
		b := newBook()
		b.Add(testNow, tracker, "1.2.3.4:5")
		failed(b, "1.2.3.4:5", 6)
		b.Dial("1.2.3.4:5")
		b.Connected("1.2.3.4:5")
		b.Ended("1.2.3.4:5", true, testNow)
		if _, ok := b.Next(testNow.Add(2*time.Second), false); !ok {
			t.Error("not tried again after two seconds")
		}
	})
	t.Run("NewBeforeFailed", func(t *testing.T) {
		b := newBook()
		b.Add(testNow, tracker, "1.2.3.4:5")
		failed(b, "1.2.3.4:5", 1)
		b.Add(testNow, tracker, "1.2.3.5:5")
		if c, _ := b.Next(testNow.Add(time.Minute), false); c.Addr != "1.2.3.5:5" {
			t.Errorf("dials %s first", c.Addr)
		}
	})
	t.Run("SourcesTakeTurns", func(t *testing.T) {
		b := newBook()
		for s := range User {
			b.Add(testNow, Origin{Source: s}, nonsense(byte(s), 100)...)
		}
		dials := map[Source]int{}
		for range 190 {
			c, ok := b.Next(testNow, false)
			if !ok {
				t.Fatal("nothing to dial")
			}
			b.Dial(c.Addr)
			b.Failed(c.Addr, 0, false, testNow)
			dials[c.Source]++
		}
		for s := Local; s <= Tracker; s++ {
			if dials[s] < dials[s-1] || dials[s] < 5 {
				t.Errorf("dials by source: %v", dials)
			}
		}
	})
	t.Run("ReliableSourcesFindADial", func(t *testing.T) {
		b := newBook()
		for s := range Former {
			b.Add(testNow, Origin{Source: s}, nonsense(byte(s), 100)...)
		}
		for range MaxDials {
			if c, ok := b.Next(testNow, true); ok {
				b.Dial(c.Addr)
			}
		}
		if b.Dialing() != maxUnreliableDials {
			t.Errorf("%d dials to what strangers named", b.Dialing())
		}
		b.Add(testNow, Origin{Source: Tracker}, "192.0.2.1:1")
		b.Add(testNow, Origin{Source: User}, "192.0.2.2:1")
		for _, want := range []string{"192.0.2.2:1", "192.0.2.1:1"} {
			if c, _ := b.Next(testNow, true); c.Addr != want {
				t.Errorf("dials %v, want %s", c, want)
			}
			b.Dial(want)
		}
	})
	t.Run("AHostNameIsDialed", func(t *testing.T) {
		b := newBook()
		b.Add(testNow, Origin{Source: DHT}, "evil.example:1")
		b.Add(testNow, Origin{Source: User}, "seed.example:1")
		if got := names(b); !slices.Equal(got, []string{"seed.example:1"}) {
			t.Errorf("it knows %v", got)
		}
	})
	t.Run("SameOrderEachTime", func(t *testing.T) {
		order := func() string {
			b := newBook()
			b.Add(testNow, Origin{Source: DHT}, nonsense(1, 40)...)
			b.Add(testNow, Origin{Exchange, "a"}, nonsense(2, 40)...)
			b.Add(testNow, Origin{Exchange, "b"}, nonsense(3, 40)...)
			w := &world{b: b, now: testNow, there: map[string]bool{}}
			for range 5 {
				w.round(true)
			}
			return strings.Join(w.order, " ")
		}
		if a, b := order(), order(); a != b {
			t.Errorf("%s\n%s", a, b)
		}
	})
}

func TestBans(t *testing.T) {
	for _, c := range []struct {
		banned, other string
		want          bool
	}{
		{"1.2.3.4:5", "1.2.3.4:6", true}, {"1.2.3.4:5", "1.2.3.5:5", false}, {"[::ffff:1.2.3.4]:5", "1.2.3.4:6", true},
		{"[2001:db8::1]:5", "[2001:db8::2:1]:6", true}, {"[2001:db8::1]:5", "[2001:db8:0:1::1]:5", false},
		{"[::1]:5", "[::2]:5", false},
	} {
		b := newBook()
		b.Ban(c.banned, testNow)
		b.Add(testNow, Origin{Source: Tracker}, c.other)
		if _, ok := b.Next(testNow, false); ok == c.want || b.Banned(c.other, testNow) != c.want {
			t.Errorf("%s is banned with %s: %v", c.other, c.banned, !ok)
		}
		if _, ok := b.Next(testNow.Add(banTime+time.Second), false); !ok {
			t.Errorf("the ban of %s does not end", c.banned)
		}
	}
	b := newBook()
	for i := range maxBans + 10 {
		b.Ban(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), testNow.Add(time.Duration(i)*time.Millisecond))
	}
	if len(b.bans) != maxBans || b.Banned("10.0.0.1:1", testNow) || !b.Banned("10.0.1.1:1", testNow) {
		t.Errorf("%d bans", len(b.bans))
	}
}

// TestNoAddress: what can be no peer's address is not taken from strangers, nor
// more than a few ports of one.
func TestNoAddress(t *testing.T) {
	b := newBook()
	b.Add(testNow, Origin{Source: DHT}, "0.0.0.0:1", "192.0.2.1:0", "224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1", "[::]:1", "x", "1.2.3.4")
	if len(b.known) != 0 {
		t.Errorf("it knows %v", names(b))
	}
	for port := range 100 {
		b.Add(testNow, Origin{Source: DHT}, fmt.Sprintf("192.0.2.1:%d", port+1), fmt.Sprintf("127.0.0.1:%d", port+1))
	}
	if len(b.known) != maxPorts+100 {
		t.Errorf("it knows %d addresses", len(b.known))
	}
}

func TestModes(t *testing.T) {
	b := New(func(netip.AddrPort) uint32 { return 0 }, 3, Bans{})
	b.Add(testNow, Origin{Source: Tracker}, "192.0.2.1:1")
	for i, want := range []uint8{3, 4, 5} {
		c, ok := b.Next(testNow, false)
		if !ok || c.Mode != want {
			t.Fatalf("try %d: %+v, want mode %d", i, c, want)
		}
		b.Dial(c.Addr)
		b.Seen()
		if i < 2 {
			b.Retry(c.Addr, want+1)
			if !b.Fresh() {
				t.Error("a retry is nothing new")
			}
			continue
		}
		b.Refused(c.Addr, 3, testNow)
	}
	if _, ok := b.Next(testNow, false); ok {
		t.Error("tried for ever without a pause")
	}
	if c, ok := b.Next(testNow.Add(time.Minute), false); !ok || c.Mode != 3 {
		t.Errorf("after the pause %+v", c)
	}
	b.Dial("192.0.2.1:1")
	b.Postpone("192.0.2.1:1", testNow)
	if _, ok := b.Next(testNow.Add(hurriedBackoff), false); !ok || b.known["192.0.2.1:1"].failures != 1 {
		t.Error("a peer is blamed because we have no room")
	}
	b.Dial("192.0.2.1:1")
	b.Ourselves("192.0.2.1:1", testNow)
	if _, ok := b.Next(testNow.Add(time.Minute), true); ok || b.Len() != 0 {
		t.Error("we dial ourselves")
	}
}
