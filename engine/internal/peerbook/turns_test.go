package peerbook

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var everySource = []Source{Incoming, Local, Exchange, DHT, Former, Tracker, User}

// dialAll dials until the book has nothing more for now.
func dialAll(b *Book, now time.Time) (dials []Candidate) {
	for {
		c, ok := b.Next(now, false)
		if !ok {
			return dials
		}
		b.Dial(c.Addr)
		dials = append(dials, c)
	}
}

// dialSome dials n addresses one after another, each of which fails at once.
func dialSome(t *testing.T, b *Book, n int) (dials []Candidate) {
	t.Helper()
	for range n {
		c, ok := b.Next(testNow, false)
		if !ok {
			t.Fatalf("nothing to dial after %d", len(dials))
		}
		b.Dial(c.Addr)
		b.Failed(c.Addr, 0, false, testNow)
		dials = append(dials, c)
	}
	return dials
}

// TestDialsAtOnce: how many dials are under way at once is bounded by source, for
// all that strangers name, and for all.
func TestDialsAtOnce(t *testing.T) {
	for s, want := range []int{4, 8, 8, 8, 16, 16, 16} {
		b := newBook()
		b.Add(testNow, Origin{Source: Source(s)}, nonsense(1, 50)...)
		dials := dialAll(b, testNow)
		if len(dials) != want || b.Dialing() != want {
			t.Errorf("source %d alone: %d dials at once, the book says %d, want %d", s, len(dials), b.Dialing(), want)
		}
		b.Failed(dials[0].Addr, 0, true, testNow)
		if more := dialAll(b, testNow); len(more) != 1 || more[0].Source != Source(s) {
			t.Errorf("source %d: when one has ended, %v are dialed", s, more)
		}
		b.Dial(dials[1].Addr) // is under way
		b.Dial("192.0.2.1:1") // is not in the book
		if b.Dialing() != want {
			t.Errorf("source %d: %d dials at once", s, b.Dialing())
		}
	}
	b := newBook()
	for _, s := range everySource {
		b.Add(testNow, Origin{Source: s}, nonsense(byte(s), 50)...)
	}
	if dials := dialAll(b, testNow); len(dials) != 16 {
		t.Errorf("%d dials at once of all sources", len(dials))
	}
	// What strangers name leaves four dials to others, in each mixture of them.
	b = newBook()
	for _, s := range []Source{Incoming, Local} {
		b.Add(testNow, Origin{Source: s}, nonsense(byte(s), 50)...)
	}
	if dials := dialAll(b, testNow); len(dials) != 12 {
		t.Errorf("%d dials at once to what strangers name", len(dials))
	}
	b.Add(testNow, Origin{Source: Former}, nonsense(100, 50)...)
	if dials := dialAll(b, testNow); len(dials) != 4 {
		t.Errorf("%d dials to former peers besides", len(dials))
	}
}

// TestTurns: sources are dialed in proportion to their pace, whatever stretch of
// the dials one looks at, and who comes late gets his share from then on and no more.
func TestTurns(t *testing.T) {
	pace := map[Source]float64{Incoming: 1, Local: 2, Exchange: 4, DHT: 4, Former: 8, Tracker: 8}
	for _, among := range [][]Source{
		{Incoming, Local, Exchange, DHT, Former, Tracker}, {DHT, Tracker}, {Incoming, Exchange}, {Local, Former}, {Exchange, DHT},
	} {
		for _, late := range among {
			b, total := newBook(), 0.0
			for _, s := range among {
				total += pace[s]
				if s != late {
					b.Add(testNow, Origin{Source: s}, nonsense(byte(s), 100)...)
				}
			}
			dialSome(t, b, 30)
			b.Add(testNow, Origin{Source: late}, nonsense(byte(late), 100)...)
			got := map[Source]float64{}
			for n, c := range dialSome(t, b, 60) {
				got[c.Source]++
				for _, s := range among {
					// Who comes late may go first for one round, of his pace.
					if want := float64(n+1) * pace[s] / total; math.Abs(got[s]-want) > 2+2*pace[late] {
						t.Fatalf("of %v, %d late: source %d had %v of %d dials, want %.1f", among, late, s, got[s], n+1, want)
					}
				}
			}
		}
	}
	// With nobody late it is nearly exact.
	b, got := newBook(), map[Source]float64{}
	for s := range pace {
		b.Add(testNow, Origin{Source: s}, nonsense(byte(s), 100)...)
	}
	for n, c := range dialSome(t, b, 270) {
		if got[c.Source]++; n == 0 && c.Source != Tracker {
			t.Errorf("source %d is dialed first", c.Source)
		}
		for s, p := range pace {
			if want := float64(n+1) * p / 27; math.Abs(got[s]-want) > 2.5 {
				t.Fatalf("source %d had %v of %d dials, want %.1f", s, got[s], n+1, want)
			}
		}
	}
}

// TestTurnsOfReferrers: those of one source are dialed in turn; who named peers that
// are there comes more often than who named nonsense, and a dial that finds somebody
// costs no turn.
func TestTurnsOfReferrers(t *testing.T) {
	referrer := func(b *Book, network byte, n int) {
		b.Add(testNow, Origin{Exchange, fmt.Sprint(network)}, nonsense(network, n)...)
	}
	from := func(c Candidate) byte { return netip.MustParseAddrPort(c.Addr).Addr().As4()[1] }
	share := func(t *testing.T, b *Book, n int) map[byte]int {
		t.Helper()
		got := map[byte]int{}
		for _, c := range dialSome(t, b, n) {
			got[from(c)]++
		}
		return got
	}
	t.Run("InTurn", func(t *testing.T) {
		b := newBook()
		for n := byte(1); n <= 5; n++ {
			referrer(b, n, 40)
		}
		for i, c := range dialSome(t, b, 100) {
			if want := byte(i%5 + 1); from(c) != want {
				t.Fatalf("dial %d is for referrer %d, want %d", i, from(c), want)
			}
		}
	})
	t.Run("WhoComesLate", func(t *testing.T) {
		b := newBook()
		referrer(b, 1, 90)
		dialSome(t, b, 50)
		referrer(b, 2, 40)
		if got := share(t, b, 24); got[2] < 12 || got[2] > 15 {
			t.Errorf("had %d of the first 24 dials", got[2])
		}
	})
	t.Run("ByWhatCame", func(t *testing.T) {
		// Each referrer has named three before; some of them were there.
		for good := range 3 {
			b := newBook()
			for n := byte(1); n <= 2; n++ {
				addrs := nonsense(n, 3)
				b.Add(testNow, Origin{Exchange, fmt.Sprint(n)}, addrs...)
				for i, a := range addrs {
					b.Dial(a)
					if n == 1 && i < good {
						b.Connected(a)
					} else {
						b.Failed(a, 0, true, testNow)
					}
				}
			}
			referrer(b, 1, 90)
			referrer(b, 2, 90)
			dialSome(t, b, 12) // until they have caught up with each other
			got := share(t, b, 80)
			want := float64(1+4*good) / float64(1+3-good) / (1.0 / 4) // turns for one of the other's
			if ratio := float64(got[1]) / float64(got[2]); math.Abs(ratio-want) > 0.35*want {
				t.Errorf("%d of 3 were there: %d dials to the other's %d, want %.1f times as many", good, got[1], got[2], want)
			}
		}
	})
	t.Run("WhoIsThereCostsNoTurn", func(t *testing.T) {
		b := newBook()
		referrer(b, 1, 40)
		referrer(b, 2, 40)
		b.Add(testNow, Origin{Source: DHT}, nonsense(3, 40)...)
		for i := range 5 {
			c, _ := b.Next(testNow, false)
			b.Dial(c.Addr)
			if from(c) != 3 { // DHT goes first: it is the more reliable one
				t.Fatalf("dial %d is for %s", i, c.Addr)
			}
			b.Connected(c.Addr)
			b.Connected(c.Addr) // once more, which changes nothing
		}
		c, _ := b.Next(testNow, false)
		b.Dial(c.Addr)
		b.Failed(c.Addr, 0, false, testNow)
		for want := byte(1); want <= 2; want++ {
			c, _ := b.Next(testNow, false)
			b.Dial(c.Addr)
			if from(c) != want {
				t.Errorf("%s is dialed, want one of %d", c.Addr, want)
			}
			b.Failed(c.Addr, 0, false, testNow)
			c, _ = b.Next(testNow, false)
			b.Dial(c.Addr)
			b.Failed(c.Addr, 0, false, testNow)
		}
	})
}

// TestOrderOfOneReferrer: those that failed least, then those that delivered, then
// those that were met, then by priority, then the first named.
func TestOrderOfOneReferrer(t *testing.T) {
	addr := func(i int) string { return fmt.Sprintf("192.0.2.%d:1", i) }
	for range 10 { // in whichever order a map shows them
		orderOfOneReferrer(t, addr)
	}
	// A name has no priority: it is behind the addresses that have one.
	b := New(func(a netip.AddrPort) uint32 { return uint32(a.Port()) }, 0, Bans{})
	b.Add(testNow, Origin{Source: User}, "seed.example:9", "192.0.2.1:1", "192.0.2.2:2")
	if c := dialAll(b, testNow); len(c) != 3 || c[0].Addr != "192.0.2.2:2" || c[2].Addr != "seed.example:9" {
		t.Errorf("dialed %v", c)
	}
}

func orderOfOneReferrer(t *testing.T, addr func(int) string) {
	t.Helper()
	b := New(func(a netip.AddrPort) uint32 {
		if !a.IsValid() {
			t.Error("asked for the priority of a name")
		}
		return map[string]uint32{addr(5): 9, addr(6): 7}[a.String()]
	}, 0, Bans{})
	tracker := Origin{Source: Tracker}
	for i := 1; i <= 9; i++ {
		b.Add(testNow, tracker, addr(i))
	}
	fail := func(i, times int, delivered int64) {
		for range times {
			b.Dial(addr(i))
			b.Failed(addr(i), 0, false, testNow)
		}
		b.known[addr(i)].delivered = delivered
	}
	fail(1, 3, 100)
	fail(2, 1, 0)
	fail(3, 1, 5)
	fail(9, 3, 0)
	b.known[addr(4)].delivered = 1
	b.known[addr(8)].seen = testNow
	var got []string
	for _, c := range dialAll(b, testNow.Add(time.Minute)) {
		got = append(got, c.Addr)
	}
	var want []string
	for _, i := range []int{4, 8, 5, 6, 7, 3, 2, 1, 9} {
		want = append(want, addr(i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("dialed\n%v, want\n%v", got, want)
	}
}

// TestOrderOfReferrers: who was of use goes first, then what the user named and nobody
// tried, whoever's turn it is; one that is muted waits for all others.
func TestOrderOfReferrers(t *testing.T) {
	b := newBook()
	b.Add(testNow, Origin{Source: User}, "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
	for _, a := range []string{"10.0.0.1:1", "10.0.0.2:1"} {
		b.Dial(a)
		b.Failed(a, 0, false, testNow)
	}
	b.Add(testNow, Origin{Source: Tracker}, "10.0.1.1:1")
	b.Add(testNow, Origin{Source: Incoming}, "10.0.2.1:1", "10.0.2.2:1")
	b.known["10.0.2.1:1"].delivered = 1
	liar := Origin{Exchange, "liar"}
	b.Add(testNow, liar, "10.0.3.1:1")
	b.groups[liar].muted = testNow
	var got []string
	for _, c := range dialAll(b, testNow.Add(5*time.Second)) {
		got = append(got, c.Addr)
	}
	if len(got) != 7 || got[0] != "10.0.2.1:1" || got[1] != "10.0.0.3:1" || got[6] != "10.0.3.1:1" {
		t.Errorf("dialed %v", got)
	}
	// It was of use, and is gone: it has no turn of its own.
	b = newBook()
	b.Add(testNow, Origin{Source: Incoming}, "10.0.2.1:1")
	b.Dial("10.0.2.1:1")
	b.Failed("10.0.2.1:1", 0, false, testNow)
	b.known["10.0.2.1:1"].delivered = 1
	b.Add(testNow, Origin{Source: Tracker}, "10.0.1.1:1")
	if c, _ := b.Next(testNow.Add(time.Minute), false); c.Addr != "10.0.1.1:1" {
		t.Errorf("dialed %s", c.Addr)
	}
}

// TestHasty: a dial is not to take long when many wait that nobody has tried, unless
// it is for one that is likely to be there.
func TestHasty(t *testing.T) {
	for _, s := range everySource {
		for _, n := range []int{32, 33, 90} {
			b := newBook()
			b.Add(testNow, Origin{Source: s}, nonsense(1, n)...)
			if c, ok := b.Next(testNow, false); !ok || c.ShortTimeout != (s < Former && n > 32) || c.Source != s {
				t.Errorf("of %d of source %d: %+v", n, s, c)
			}
			for _, k := range b.known {
				k.failures = 1
			}
			if c, ok := b.Next(testNow, false); !ok || c.ShortTimeout {
				t.Errorf("of %d of source %d that were tried: %+v", n, s, c)
			}
		}
	}
}
