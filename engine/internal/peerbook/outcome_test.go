package peerbook

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

const oneAddr = "192.0.2.1:1"

// whenNext returns after how many seconds there is something to dial.
func whenNext(b *Book, from time.Time, hurry bool) int {
	for s := range 1000 {
		if _, ok := b.Next(from.Add(time.Duration(s)*time.Second), hurry); ok {
			return s
		}
	}
	return -1
}

// TestBackoff: a candidate is left alone for two seconds and for twice as long each
// time, up to five minutes; for five seconds at most while reads wait.
func TestBackoff(t *testing.T) {
	b := newBook()
	b.Add(testNow, Origin{Source: User}, oneAddr)
	for i, want := range []int{2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300} {
		b.Dial(oneAddr)
		b.Failed(oneAddr, 0, true, testNow)
		if b.FailedDials() != i+1 {
			t.Errorf("%d dials failed", b.FailedDials())
		}
		if got := whenNext(b, testNow, false); got != want {
			t.Errorf("after %d failures it is dialed in %d s, want %d", i+1, got, want)
		}
		if got := whenNext(b, testNow, true); got != min(want, 5) {
			t.Errorf("after %d failures it is dialed in %d s while reads wait", i+1, got)
		}
	}
	b.Failed("192.0.2.9:9", 0, true, testNow) // which the book does not have
	b.Refused("192.0.2.9:9", 0, testNow)
	if b.FailedDials() != 13 {
		t.Errorf("%d dials failed", b.FailedDials())
	}
	b.Connected(oneAddr)
	if b.FailedDials() != 0 {
		t.Errorf("%d dials failed since one succeeded", b.FailedDials())
	}
}

// TestOutcomes: what each end of a dial or connection means for the next dial.
func TestOutcomes(t *testing.T) {
	end := map[string]func(b *Book){
		"Failed":    func(b *Book) { b.Failed(oneAddr, 7, true, testNow) },
		"CutOff":    func(b *Book) { b.Failed(oneAddr, 7, false, testNow) },
		"Refused":   func(b *Book) { b.Refused(oneAddr, 7, testNow) },
		"Retry":     func(b *Book) { b.Retry(oneAddr, 7) },
		"Postpone":  func(b *Book) { b.Postpone(oneAddr, testNow) },
		"Duplicate": func(b *Book) { b.Duplicate(oneAddr, testNow) },
		"Useful":    func(b *Book) { b.Connected(oneAddr); b.Ended(oneAddr, true, testNow) },
		"Useless":   func(b *Book) { b.Connected(oneAddr); b.Ended(oneAddr, false, testNow) },
		"Unseen":    func(b *Book) { b.Ended(oneAddr, false, testNow) },
	}
	for name, want := range map[string]struct {
		first, fourth int // seconds until it is dialed again
		mode          uint8
		dies          bool
	}{
		"Failed": {2, 16, 7, true}, "CutOff": {2, 16, 7, false}, "Refused": {2, 16, 7, false}, "Retry": {0, 0, 7, false},
		"Postpone": {5, 5, 3, false}, "Duplicate": {2, 16, 3, false}, "Useful": {1, 1, 3, false}, "Useless": {2, 16, 3, false}, "Unseen": {2, 16, 3, false},
	} {
		b := New(func(netip.AddrPort) uint32 { return 0 }, 3, Bans{})
		b.Add(testNow, Origin{Source: DHT}, oneAddr)
		for i := range 30 {
			if b.Len() == 0 {
				break
			}
			b.Seen()
			b.Dial(oneAddr)
			if _, ok := b.Next(testNow.Add(time.Hour), true); ok || b.Dialing() != 1 {
				t.Fatalf("%s: dialed twice at once", name)
			}
			end[name](b)
			c, ok := b.Next(testNow.Add(time.Hour), false)
			if b.Dialing() != 0 || ok && c.Mode != want.mode || b.Fresh() != (name == "Retry") {
				t.Fatalf("%s: %+v, %d dials, fresh %v", name, c, b.Dialing(), b.Fresh())
			}
			switch got := whenNext(b, testNow, false); {
			case i == 0 && got != want.first, i == 3 && got != want.fourth:
				t.Errorf("%s, the %d time: dialed again in %d s", name, i+1, got)
			}
		}
		if died := b.Len() == 0; died != want.dies {
			t.Errorf("%s is given up: %v", name, died)
		}
		for _, end := range end { // of what the book does not have
			b := newBook()
			if end(b); b.Len() != 0 || b.Dialing() != 0 {
				t.Error("an end makes an address known")
			}
		}
	}
}

// TestGivenUp: after how many failures in a row an address is out of the question.
func TestGivenUp(t *testing.T) {
	for _, s := range everySource[:User] {
		for _, delivered := range []int64{0, 1} {
			want := 6
			if s == Tracker || delivered > 0 {
				want = 10
			}
			b := newBook()
			b.Add(testNow, Origin{Source: s}, oneAddr)
			b.Dial(oneAddr)
			b.Connected(oneAddr)
			b.Met(oneAddr, netip.MustParseAddrPort(oneAddr), delivered, testNow)
			b.Ended(oneAddr, true, testNow)
			tries := 0
			for b.Len() > 0 && tries < 50 {
				b.Dial(oneAddr)
				b.Failed(oneAddr, 0, true, testNow)
				tries++
			}
			if tries != want {
				t.Errorf("source %d, %d bytes: given up after %d dials, want %d", s, delivered, tries, want)
			}
		}
	}
}

// TestMuted: twenty first dials that find nobody, and fewer than a tenth of them
// that do, cost a peer its say for an hour; nobody else ever loses it.
func TestMuted(t *testing.T) {
	muted := func(s Source, good, bad int, between func(b *Book, addr string)) (*Book, bool) {
		b, o := newBook(), Origin{s, "referrer"}
		for i, a := range nonsense(1, good+bad) {
			b.Add(testNow, o, a)
			b.Dial(a)
			if i < good {
				b.Connected(a)
				b.Met(a, netip.MustParseAddrPort(a), 0, testNow)
			} else {
				b.Failed(a, 0, true, testNow)
			}
			between(b, a)
		}
		b.Add(testNow, o, oneAddr)
		return b, b.known[oneAddr] == nil
	}
	nothing := func(*Book, string) {}
	for _, c := range []struct {
		good, bad int
		want      bool
	}{{0, 19, false}, {0, 20, true}, {1, 20, true}, {2, 20, false}, {2, 21, true}, {3, 30, false}, {3, 31, true}} {
		for _, s := range everySource {
			if _, got := muted(s, c.good, c.bad, nothing); got != (c.want && s == Exchange) {
				t.Errorf("source %d named %d that are there and %d that are not: muted %v", s, c.good, c.bad, got)
			}
		}
	}
	// Only the first dial of each is a verdict, and none while we are cut off.
	again := func(b *Book, a string) { b.Failed(a, 0, true, testNow) }
	if _, got := muted(Exchange, 10, 19, again); got {
		t.Error("the same address counts twice")
	}
	b, _ := muted(Exchange, 0, 20, nothing)
	o := Origin{Exchange, "referrer"}
	for i, d := range []time.Duration{time.Hour - 1, time.Hour} {
		b.Expire(testNow.Add(d))
		if b.Add(testNow.Add(d), o, oneAddr); (b.known[oneAddr] != nil) != (i == 1) {
			t.Errorf("listened to after %v: %v", d, i == 0)
		}
	}
	if !b.groups[o].muted.IsZero() {
		t.Error("muted for ever")
	}
	// Whom the dial found after all is no nonsense: 20 failed, 3 of them came later.
	b = newBook()
	for i, a := range nonsense(1, 22) {
		b.Add(testNow, o, a)
		b.Dial(a)
		b.Failed(a, 0, true, testNow)
		if i < 3 {
			b.Dial(a)
			b.Connected(a)
		}
		if g := b.groups[o]; g.good != min(i+1, 3) || g.bad != max(0, i+1-3) || !g.muted.IsZero() {
			t.Fatalf("after %d: %d good, %d bad", i+1, g.good, g.bad)
		}
	}
}

// TestMetIsKnown: whoever we had a connection with, whoever dialed, is one of the
// known peers, and the dead and the private are not.
func TestMetIsKnown(t *testing.T) {
	addr := netip.MustParseAddrPort(oneAddr)
	later := testNow.Add(time.Minute)
	for name, meet := range map[string]func(b *Book){
		"Dialed":    func(b *Book) { b.Add(testNow, Origin{Source: DHT}, oneAddr); b.Met(oneAddr, addr, 5, later) },
		"Incoming":  func(b *Book) { b.Met("", addr, 5, later) },
		"Duplicate": func(b *Book) { b.Add(testNow, Origin{Source: DHT}, oneAddr); b.Duplicate(oneAddr, later) },
	} {
		b := newBook()
		if b.KnownPeersChanged() {
			t.Error("an empty book has changed")
		}
		meet(b)
		got := b.KnownPeers(later)
		want := KnownPeer{Addr: addr, Seen: later, Delivered: 5}
		if name == "Duplicate" {
			want.Delivered = 0
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v", name, got)
		}
		// It is dialed when the connection is over, and a failure says nothing bad of
		// one that was met in this run.
		b.Failed(oneAddr, 0, true, later)
		if got := b.KnownPeers(later); len(got) != 1 || got[0].Misses != 0 {
			t.Errorf("%s: %+v after a failure", name, got)
		}
	}
	// Known from a former run: a miss if others could be reached, one in a run.
	former := []KnownPeer{{Addr: addr, Seen: testNow, Misses: 1}}
	for name, c := range map[string]struct {
		reached func(b *Book)
		fails   int
		want    int
	}{
		"NotDialed": {func(b *Book) { b.Connected("x") }, 0, 1}, "CutOff": {func(*Book) {}, 2, 1},
		"Gone":    {func(b *Book) { b.Connected("x") }, 3, 2},
		"GoneToo": {func(b *Book) { b.Met("", netip.MustParseAddrPort("192.0.2.2:2"), 0, testNow) }, 1, 2},
	} {
		b := newBook()
		b.Load(former, testNow)
		c.reached(b)
		for range c.fails {
			b.Failed(oneAddr, 0, true, testNow)
		}
		for _, k := range b.KnownPeers(testNow) {
			if k.Addr == addr && k.Misses != c.want {
				t.Errorf("%s: %d misses", name, k.Misses)
			}
		}
	}
	b := newBook()
	b.Load(former, testNow)
	b.Duplicate(oneAddr, later)
	if got := b.KnownPeers(later); len(got) != 1 || got[0].Misses != 0 || !got[0].Seen.Equal(later) {
		t.Errorf("found to be connected: %+v", got)
	}
	// A full book takes nobody who dials us, and does not mind.
	b = newBook()
	b.Add(testNow, Origin{Source: Incoming}, nonsense(1, MaxCandidates)...)
	for a := range b.known {
		b.Dial(a)
	}
	b.Met("", addr, 5, testNow)
	if b.known[oneAddr] != nil || b.KnownPeersChanged() {
		t.Error("a full book takes one more")
	}
}

// TestBanEnds: a ban holds for an hour, its last moment too; a full list forgets the
// one that ends first, and of those that end together always the same.
func TestBanEnds(t *testing.T) {
	b := newBook()
	b.Ban(oneAddr, testNow)
	for d, want := range map[time.Duration]bool{0: true, time.Hour: true} {
		if b.Banned(oneAddr, testNow.Add(d)) != want {
			t.Errorf("banned after %v: %v", d, !want)
		}
	}
	if b.Banned(oneAddr, testNow.Add(time.Hour+1)) || len(b.bans) != 0 {
		t.Error("the ban does not end")
	}
	// An IPv6 network is 64 bits wide.
	b.Ban("[2001:db8::1]:1", testNow)
	for addr, want := range map[string]bool{"[2001:db8::8000:0:0:1]:1": true, "[2001:db8:0:1::1]:1": false, "[2001:db8::1%eth0]:1": true, "seed.example:1": false} {
		if b.Banned(addr, testNow) != want {
			t.Errorf("%s is banned: %v", addr, !want)
		}
	}
	for range 3 {
		b = newBook()
		for i := range maxBans + 1 {
			b.Ban(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, (i+7)&255), testNow)
		}
		if len(b.bans) != 10_000 || b.Banned("10.0.0.0:1", testNow) || !b.Banned("10.0.0.7:1", testNow) {
			t.Errorf("%d bans", len(b.bans))
		}
	}
	b.Ban("seed.example:1", testNow) // is no address
	if len(b.bans) != 10_000 {
		t.Errorf("%d bans", len(b.bans))
	}
}

// TestBansGoOn: the bans of a book hold in the next one, for as long as they would have.
func TestBansGoOn(t *testing.T) {
	bans := Bans{}
	New(func(netip.AddrPort) uint32 { return 0 }, 0, bans).Ban(oneAddr, testNow)
	next := New(func(netip.AddrPort) uint32 { return 0 }, 0, bans)
	next.Add(testNow, Origin{Source: Tracker}, oneAddr)
	if c, ok := next.Next(testNow, false); ok {
		t.Errorf("%s is dialed", c.Addr)
	}
	for d, want := range map[time.Duration]bool{time.Hour: true, time.Hour + 1: false} {
		if next.Banned(oneAddr, testNow.Add(d)) != want {
			t.Errorf("banned after %v: %v", d, !want)
		}
	}
}

// TestFresh: Next is worth asking again when an address became known.
func TestFresh(t *testing.T) {
	b := newBook()
	if b.Fresh() {
		t.Error("an empty book has something")
	}
	b.Add(testNow, Origin{Source: DHT}, oneAddr)
	if !b.Fresh() {
		t.Error("a new address is nothing")
	}
	b.Seen()
	b.Add(testNow, Origin{Source: DHT}, oneAddr)
	if b.Fresh() {
		t.Error("an old address is something")
	}
}
