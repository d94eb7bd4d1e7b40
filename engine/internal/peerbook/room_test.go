package peerbook

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestRoomByShares: when all sources name more than there is room for, each has its
// share of the book in the end, in whatever order they came; one alone has it all.
func TestRoomByShares(t *testing.T) {
	want := map[Source]int{Incoming: 100, Local: 100, Exchange: 500, DHT: 500, Former: 100, Tracker: 700}
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		b, next := newBook(), map[Source]int{}
		var all [6][]string
		for s := range all {
			all[s] = nonsense(byte(s), 3000)
		}
		for range 800 {
			s := Source(r.IntN(6))
			if seed < 2 { // one after another
				s = Source(next[0] / 100 % 6)
				next[0]++
			}
			n := 1 + r.IntN(30)
			at := r.IntN(3000 - n)
			o := Origin{Source: s}
			if s == Exchange {
				o.Referrer = fmt.Sprint(r.IntN(20))
			}
			b.Add(testNow, o, all[s][at:at+n]...)
			if len(b.known) > MaxCandidates {
				t.Fatalf("%d addresses", len(b.known))
			}
		}
		for s, n := range want {
			if d := b.size[s] - n; d > evictAtOnce || d < -2*evictAtOnce {
				t.Errorf("seed %d: source %d has %d addresses, its share is %d", seed, s, b.size[s], n)
			}
		}
	}
	for _, s := range []Source{Incoming, Local, DHT, Former, Tracker} {
		b := newBook()
		b.Add(testNow, Origin{Source: s}, nonsense(1, MaxCandidates)...)
		if len(b.known) != MaxCandidates {
			t.Errorf("source %d alone: %d addresses", s, len(b.known))
		}
		b.Add(testNow, Origin{Source: s}, "192.0.2.1:1")
		if b.known["192.0.2.1:1"] == nil || len(b.known) != MaxCandidates-evictAtOnce+1 {
			t.Errorf("source %d alone: one more of %d is not taken", s, len(b.known))
		}
		b.Add(testNow, Origin{Source: User}, nonsense(2, 2100)...)
		if b.size[User] != 2000 || len(b.known) != MaxCandidates-evictAtOnce+1+2000 {
			t.Errorf("the user named 2100: there are %d of his", b.size[User])
		}
	}
}

// TestRoomOfReferrers: one peer has room for a hundred addresses; where one failed he
// may name another, and others' are left alone. Of a source that is over its share
// the referrer with most gives way.
func TestRoomOfReferrers(t *testing.T) {
	b := newBook()
	liar := Origin{Exchange, "liar"}
	b.Add(testNow, liar, nonsense(1, 150)...)
	if b.size[Exchange] != 100 {
		t.Fatalf("%d addresses of one peer", b.size[Exchange])
	}
	b.Add(testNow, Origin{Exchange, "other"}, "192.0.2.1:1")
	failed := nonsense(1, 20)
	for _, a := range append(failed, "192.0.2.1:1") {
		b.Dial(a)
		b.Failed(a, 0, false, testNow)
	}
	b.Add(testNow, liar, nonsense(2, 200)...)
	gone := 0
	for _, a := range failed {
		if b.known[a] == nil {
			gone++
		}
	}
	if b.known["192.0.2.1:1"] == nil || gone != 20 || b.groups[liar].size != 100 {
		t.Errorf("%d of 20 that failed are gone, he has %d, another's is there: %v", gone, b.groups[liar].size, b.known["192.0.2.1:1"] != nil)
	}
	// Who named nonsense before gives way first, then who has most.
	for _, muted := range []bool{false, true} {
		b = newBook()
		sizes := map[string]int{"a": 40, "b": 90, "c": 60}
		for _, name := range []string{"a", "b", "c"} {
			b.Add(testNow, Origin{Exchange, name}, nonsense(name[0], sizes[name])...)
		}
		want := "b"
		if muted {
			want = "a"
			b.groups[Origin{Exchange, "a"}].muted = testNow
		}
		for i := 0; len(b.known) < MaxCandidates; i++ {
			b.Add(testNow, Origin{Exchange, fmt.Sprint("small", i)}, nonsense(byte(200+i), min(30, MaxCandidates-len(b.known)))...)
		}
		b.Add(testNow, Origin{Source: Tracker}, "192.0.2.1:1")
		for name, n := range sizes {
			if name == want {
				n -= evictAtOnce
			}
			if got := b.groups[Origin{Exchange, name}].size; got != n {
				t.Errorf("muted %v: %s has %d of %d", muted, name, got, sizes[name])
			}
		}
	}
	// Of equals the oldest.
	b = newBook()
	for i := range 20 {
		b.Add(testNow, Origin{Exchange, fmt.Sprint(i)}, nonsense(byte(i), 100)...)
	}
	b.Add(testNow, Origin{Source: DHT}, "192.0.2.1:1")
	if got := b.groups[Origin{Exchange, "0"}].size; got != 100-evictAtOnce {
		t.Errorf("the first has %d", got)
	}
}

// TestLeastPromising: the dead go first, those dead for longest before others; then
// those that were never of use and failed most, the oldest first; then who was met;
// who delivered goes last; and nobody goes who is in use.
func TestLeastPromising(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		b := newBook()
		addrs := nonsense(1, MaxCandidates)
		b.Add(testNow, Origin{Source: DHT}, addrs...)
		r.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		// The last ones are of use, the rest falls in this order.
		addrs = addrs[:80]
		for i, a := range addrs {
			k := b.known[a]
			switch {
			case i < 20:
				k.dead, k.delivered, k.failures = testNow.Add(time.Duration(i)*time.Second), int64(i%2), 30-i
			case i < 50:
				k.failures = 60 - i
			default: // of these the oldest go
				k.failures = 5
			}
		}
		slices.SortFunc(addrs[50:], func(x, y string) int { return b.known[x].seq - b.known[y].seq })
		for a, k := range b.known {
			if i := slices.Index(addrs, a); i < 0 {
				if k.delivered = int64(k.seq % 2); k.delivered == 0 {
					k.seen = testNow
				}
			}
		}
		b.Dial(addrs[30])
		for at, i := range []int{16, 20, 37, 53, 69} { // how many are gone by then
			b.Add(testNow, Origin{Source: Tracker}, fmt.Sprintf("192.0.2.%d:1", at+1))
			for fill := 0; len(b.known) < MaxCandidates; fill++ {
				b.Add(testNow, Origin{Source: Tracker}, fmt.Sprintf("192.0.3.%d:%d", fill+1, at+1))
			}
			for j, a := range addrs {
				if gone := b.known[a] == nil; gone != (j < i && j != 30) {
					t.Fatalf("after %d: number %d in order is gone: %v", at+1, j, gone)
				}
			}
		}
		b = newBook()
		b.Add(testNow, Origin{Source: DHT}, nonsense(1, MaxCandidates)...)
		for _, k := range b.known {
			switch {
			case k.seq%100 == 0:
				k.seen = testNow
			default:
				k.delivered = 1
			}
		}
		b.Add(testNow, Origin{Source: DHT}, "192.0.2.1:1")
		for _, k := range b.known {
			if k.seq%100 == 0 && k.seq <= 1600 && k.delivered == 0 && !k.seen.IsZero() {
				t.Fatalf("number %d is there though one that delivered is not", k.seq)
			}
		}
		b.Expire(testNow)
	}
}

// TestReferrersAreFew: what is known of who names addresses is bounded; whoever named
// nothing that is in the book is forgotten first, and who was muted last.
func TestReferrersAreFew(t *testing.T) {
	b := newBook()
	muted := Origin{Exchange, "muted"}
	b.Add(testNow, muted)
	b.groups[muted].muted = testNow
	inUse := Origin{Exchange, "in use"}
	b.Add(testNow, inUse, "192.0.2.1:1")
	for i := range 300 {
		b.Add(testNow, Origin{Exchange, fmt.Sprint(i)})
		if want := min(i+3, maxReferrers); len(b.groups) != want {
			t.Fatalf("%d referrers are known after %d", len(b.groups), i+3)
		}
	}
	for i := range 300 {
		if there := b.groups[Origin{Exchange, fmt.Sprint(i)}] != nil; there != (i >= 300-maxReferrers+2) {
			t.Fatalf("referrer %d of 300 is known: %v", i, there)
		}
	}
	if b.groups[muted] == nil || b.groups[inUse] == nil {
		t.Error("a referrer who was muted, or is in use, is forgotten")
	}
	// If all are in use, a new one has no name of his own.
	b = newBook()
	for i := range 300 {
		b.Add(testNow, Origin{Tracker, fmt.Sprint(i)}, nonsense(byte(i%200), 2+i/200)[1:]...)
	}
	if len(b.groups) != maxReferrers+1 || b.groups[Origin{Source: Tracker}].size == 0 {
		t.Errorf("%d referrers are known", len(b.groups))
	}
	for _, g := range b.groups {
		if g.size == 0 && g.Referrer != "" && b.groups[Origin{Source: Tracker}] == nil {
			t.Errorf("%s has nothing", g.Referrer)
		}
	}
	// The muted one goes when there is nobody else.
	b = newBook()
	b.Add(testNow, muted)
	b.groups[muted].muted = testNow
	for i := range maxReferrers - 1 {
		b.Add(testNow, Origin{Tracker, fmt.Sprint(i)}, fmt.Sprintf("192.0.%d.%d:1", i/250, i%250+1))
	}
	b.Add(testNow, Origin{Source: DHT}, "192.0.9.1:1")
	if b.groups[muted] != nil || len(b.groups) != maxReferrers {
		t.Errorf("%d referrers, the muted one is known: %v", len(b.groups), b.groups[muted] != nil)
	}
}

// TestNamedAgain: an address belongs to the most reliable who named it, and to one
// who has his say rather than to one who lost it.
func TestNamedAgain(t *testing.T) {
	const addr = "192.0.2.1:1"
	for _, dialing := range []bool{false, true} {
		for _, was := range everySource {
			for _, is := range everySource {
				b := newBook()
				b.Add(testNow, Origin{was, "a"}, addr)
				if dialing {
					b.Dial(addr)
				}
				b.Add(testNow, Origin{is, "b"}, addr, "[::ffff:192.0.2.1]:1")
				want := max(was, is)
				if k := b.known[addr]; k.origin.Source != want || b.size[want] != 1 || k.origin.Referrer != map[bool]string{true: "b", false: "a"}[is > was] || len(b.known) != 1 {
					t.Errorf("named by %d and %d it is source %d's, of %s; sizes %v", was, is, k.origin.Source, k.origin.Referrer, b.size)
				}
				if b.ports[netip.MustParseAddr("192.0.2.1")] != 1 || dialing && b.dialing[want] != 1 || b.Dialing() > 1 {
					t.Errorf("named by %d and %d: %v, dials %v", was, is, b.ports, b.dialing)
				}
				b.Failed(addr, 0, false, testNow)
				if b.Dialing() != 0 {
					t.Errorf("named by %d and %d: dials %v", was, is, b.dialing)
				}
			}
		}
	}
	for _, both := range []bool{false, true} {
		b := newBook()
		b.Add(testNow, Origin{Exchange, "liar"}, addr)
		b.groups[Origin{Exchange, "liar"}].muted = testNow
		b.Add(testNow, Origin{Exchange, "other"})
		if both {
			b.groups[Origin{Exchange, "other"}].muted = testNow
		}
		b.Add(testNow, Origin{Exchange, "other"}, addr)
		if got := b.known[addr].origin.Referrer; got != map[bool]string{true: "liar", false: "other"}[both] {
			t.Errorf("both muted %v: it is %s's", both, got)
		}
	}
	// The user's word wakes the dead, and anew.
	b := newBook()
	b.Add(testNow, Origin{Source: DHT}, addr)
	for range 5 {
		b.Failed(addr, 0, true, testNow)
	}
	b.Ourselves(addr, testNow)
	b.Seen()
	b.Add(testNow, Origin{Source: Tracker}, addr)
	if b.Fresh() || b.Len() != 0 {
		t.Error("a tracker's word wakes the dead")
	}
	b.Add(testNow, Origin{Source: User}, addr)
	if c, ok := b.Next(testNow, false); !ok || c.Source != User || !b.Fresh() || b.Len() != 1 || b.known[addr].failures != 0 {
		t.Errorf("the user's word: %+v, %v", c, ok)
	}
}

// TestPorts: of one address there are eight ports, counted as they come and go.
func TestPorts(t *testing.T) {
	b := newBook()
	port := func(i int) string { return fmt.Sprintf("192.0.2.1:%d", i) }
	for i := range 20 {
		b.Add(testNow, Origin{Source: DHT}, port(i+1))
	}
	if len(b.known) != 8 {
		t.Fatalf("%d ports of one address", len(b.known))
	}
	b.Ourselves(port(1), testNow)
	b.Expire(testNow.Add(30 * time.Minute))
	if len(b.known) != 8 {
		t.Error("forgotten too early")
	}
	b.Expire(testNow.Add(30*time.Minute + 1))
	b.Add(testNow, Origin{Source: DHT}, port(30), port(31))
	if len(b.known) != 8 || b.known[port(30)] == nil {
		t.Errorf("known are %v", names(b))
	}
	for _, a := range []string{"10.0.0.1", "192.168.0.1", "[fd00::1]", "127.0.0.1"} { // a laboratory's
		for i := range 20 {
			b.Add(testNow, Origin{Source: DHT}, fmt.Sprintf("%s:%d", a, i+1))
		}
	}
	if len(b.known) != 88 {
		t.Errorf("%d are known", len(b.known))
	}
	b.Add(testNow, Origin{Source: User}, port(50), "0.0.0.0:0") // it is he who will see that it fails
	if len(b.known) != 90 {
		t.Error("the user's word does not count")
	}
}

// TestUsersTakeNoRoom: what the user names takes none of the room for others, and a
// referrer who lost his say and has nothing in the book does not stop the others.
func TestUsersTakeNoRoom(t *testing.T) {
	b := newBook()
	b.Add(testNow, Origin{Source: User}, nonsense(1, 1500)...)
	b.Add(testNow, Origin{Source: DHT}, nonsense(2, MaxCandidates)...)
	if b.size[DHT] != MaxCandidates || b.size[User] != 1500 {
		t.Errorf("%d addresses beside %d of the user", b.size[DHT], b.size[User])
	}
	for i := range 20 { // whichever of them a map shows first
		b = newBook()
		liar := Origin{Exchange, "liar"}
		b.Add(testNow, liar)
		b.groups[liar].muted = testNow
		for i := range 20 {
			b.Add(testNow, Origin{Exchange, fmt.Sprint(i)}, nonsense(byte(i), 100)...)
		}
		b.Add(testNow, Origin{Source: DHT}, "192.0.2.1:1")
		if b.known["192.0.2.1:1"] == nil {
			t.Fatalf("round %d: a full book takes nothing more", i)
		}
	}
}
