package discover

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestUsableRules: which addresses that somebody told us can be dialed.
func TestUsableRules(t *testing.T) {
	for addr, want := range map[string][2]bool{ // from elsewhere, from this machine
		"8.8.8.8:1": {true, true}, "10.0.0.1:65535": {true, true}, "[2001:db8::1]:5": {true, true}, "169.254.1.1:5": {true, true}, "[fe80::1]:5": {true, true},
		"127.0.0.1:5": {false, true}, "[::1]:5": {false, true}, "[::ffff:127.0.0.1]:5": {false, true}, "[::ffff:8.8.8.8]:5": {true, true},
		"8.8.8.8:0": {}, "0.0.0.0:5": {}, "0.255.255.255:5": {}, "1.0.0.0:5": {true, true}, "[::]:5": {}, "224.0.0.1:5": {}, "239.255.255.255:5": {},
		"240.0.0.0:5": {}, "255.255.255.255:5": {}, "223.255.255.255:5": {true, true}, "[ff02::1]:5": {}, "[ff01::1]:5": {}, "[::ffff:224.0.0.1]:5": {}, "[::ffff:0.1.2.3]:5": {},
	} {
		for i, from := range []bool{false, true} {
			if got := usable(ap(addr), from); got != want[i] {
				t.Errorf("%s, told from this machine %v: %v", addr, from, got)
			}
		}
	}
	if usable(netip.AddrPort{}, true) {
		t.Error("no address can be dialed")
	}
	got := hostPorts(usableOnly([]netip.AddrPort{ap("[::ffff:8.8.8.8]:5"), ap("0.0.0.0:1"), ap("127.0.0.1:3"), ap("[2001:db8::1]:9")}, false))
	if !slices.Equal(got, []string{"8.8.8.8:5", "[2001:db8::1]:9"}) {
		t.Errorf("usable are %v", got)
	}
}

// TestCompactRoundTrip: what is written is read, as much as is asked for, and what is
// left over at the end is not.
func TestCompactRoundTrip(t *testing.T) {
	for size, addrs := range map[int][]netip.AddrPort{
		compact4Bytes: {ap("1.2.3.4:258"), ap("255.0.0.1:65535"), ap("0.0.0.0:0")},
		compact6Bytes: {ap("[2001:db8::1]:258"), ap("[::1]:1")},
	} {
		var b []byte
		for _, a := range addrs {
			b = appendCompact(b, a)
		}
		if len(b) != size*len(addrs) {
			t.Fatalf("%d bytes for %d addresses", len(b), len(addrs))
		}
		for extra := range size {
			if got := parseCompact(append(slices.Clip(b), make([]byte, extra)...), size, 100); !slices.Equal(got, addrs) {
				t.Errorf("with %d bytes more: %v", extra, got)
			}
		}
		for most := range len(addrs) {
			if got := parseCompact(b, size, most); !slices.Equal(got, addrs[:most]) {
				t.Errorf("at most %d: %v", most, got)
			}
		}
	}
	if got := parseCompact(appendCompact(make([]byte, 0, 18), ap("[::ffff:1.2.3.4]:5")), compact4Bytes, 9); len(got) != 1 || got[0] != ap("1.2.3.4:5") {
		t.Errorf("an IPv4 address in IPv6 form: %v", got)
	}
}

// TestBencodeRules: what is bencoding, with the bounds on it.
func TestBencodeRules(t *testing.T) {
	nest := func(n int) string { return "d1:a" + strings.Repeat("l", n) + strings.Repeat("e", n) + "e" }
	many := func(n int) string { return "d1:al" + strings.Repeat("i1e", n) + "ee" }
	for in, ok := range map[string]bool{
		"de": true, "deX": true, "d1:ai1ee": true, "d1:bi1e1:ai2ee": true, "d0:0:e": true, "d1:a1:be": true,
		"": false, "d": false, "i1e": false, "le": false, "1:a": false, "d1:a": false, "d1:ae": false, "di1ei2ee": false, "d-1:ai1ee": false, "d1ai1ee": false,
		"d1:ai": false, "d1:aie": false, "d1:ai1": false, "d1:axe": false, "d1:ai-e": false, "d1:ai1.5ee": false, "d1:a2:be": false, "d1:a3:be": false, "dd1:ae": false,
		"d1:ai9223372036854775807ee": true, "d1:ai-9223372036854775808ee": true, "d1:ai9223372036854775808ee": false,
		"d1:ai" + strings.Repeat("0", 22) + "ee": true, "d1:ai" + strings.Repeat("0", 23) + "ee": false, "d1:al1:b": false, "d:ai1ee": false,
		nest(12): true, nest(13): false, many(1<<14 - 2): true, many(1<<14 - 1): false,
	} {
		v, err := parseDict([]byte(in))
		if (err == nil) != ok || err != nil && v.kind != kindNone {
			t.Errorf("%.60q: %v, %v", in, v.kind, err)
		}
	}
	v, rest, err := parsePrefix([]byte("d1:ai-7e1:bl2:xyi0ed1:c0:ee1:ai8eeREST"))
	want := []value{{kind: kindString, str: []byte("xy")}, {kind: kindInt}, {kind: kindDict, dict: map[string]value{"c": {kind: kindString, str: []byte{}}}}}
	if err != nil || string(rest) != "REST" || v.get("a").int(1) != 8 || v.get("b").kind != kindList || !reflect.DeepEqual(v.get("b").list, want) {
		t.Errorf("%+v, %q, %v", v, rest, err)
	}
	if v.get("x").int(5) != 5 || v.get("b").int(6) != 6 || v.get("x").get("y").kind != kindNone || v.get("b").str != nil || v.get("b").list[1].int(9) != 0 {
		t.Error("what isn't there is something")
	}
	if got := appendString([]byte("d"), strings.Repeat("s", 12)); string(got) != "d12:ssssssssssss" {
		t.Errorf("%q", got)
	}
}

// TestNodeBookRules: the book forgets who answered longest ago, records who answered in
// half an hour, and believes of our address what most of the last sixteen say.
func TestNodeBookRules(t *testing.T) {
	b := newNodeBook()
	r := rand.New(rand.NewPCG(1, 1))
	for _, i := range r.Perm(mostNodes) {
		b.note(start.Add(time.Duration(i)*time.Second), testNode(i, 1).addr, testNode(i, 1).id, netip.Addr{})
	}
	now := start.Add(nodesFor + 100*time.Second)
	if got := len(b.alive(now)); got != mostNodes-100 {
		t.Errorf("%d answered lately, want %d", got, mostNodes-100)
	}
	b.note(now, testNode(5, 1).addr, testNode(5, 1).id, netip.Addr{}) // is known: nobody goes
	for i := range 3 {
		b.note(now, testNode(1000+i, 1).addr, testNode(1000+i, 1).id, netip.Addr{})
	}
	for i := range 10 {
		_, there := b.answered[testNode(i, 1).addr]
		if there != (i > 2) {
			t.Errorf("node %d of the oldest is known: %v", i, there)
		}
	}
	got := decodeNodeBook(b.encode(now), now)
	if len(got.answered) != len(b.alive(now)) || len(got.answered) > mostNodes {
		t.Errorf("%d of %d are recorded", len(got.answered), len(b.alive(now)))
	}
	for _, n := range got.alive(now) {
		if want := b.answered[n.addr]; want.id != n.id || got.answered[n.addr].at != now || !n.known {
			t.Errorf("%v becomes %v", want, n)
		}
	}
	var record []byte
	for i := range mostNodes + 50 {
		n := testNode(i, 2)
		record = appendCompact(append(record, n.id[:]...), n.addr)
	}
	bad := [20]byte{1}
	record = append(appendCompact(append([]byte(nil), bad[:]...), ap("0.0.0.0:1")), record...)
	full := decodeNodeBook(append(appendString([]byte("d5:nodes"), record), 'e'), start)
	if len(full.answered) != mostNodes {
		t.Errorf("%d nodes of a record", len(full.answered))
	}
	if nodes := parseNodes(record[:26*3+25], compact4Bytes); len(nodes) != 3 || nodes[0].id != bad || nodes[2].addr != testNode(1, 2).addr {
		t.Errorf("parsed %v", nodes)
	}
	b = newNodeBook()
	b.id, b.idFor = [20]byte{7}, netip.MustParseAddr("2001:db8::9")
	if got := decodeNodeBook(b.encode(start), start); got.id != b.id || got.idFor != b.idFor {
		t.Errorf("our id %x for %v", got.id, got.idFor)
	}
	// The voices, against a count of the last sixteen, one of each address.
	type vote struct {
		from int
		says netip.Addr
	}
	ours := []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("2001:db8::5")}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		b := newNodeBook()
		var votes []vote
		for range 200 {
			v := vote{r.IntN(24), ours[min(r.IntN(5+int(seed)), 2)]}
			if r.IntN(3) > 0 {
				v.says = ours[0]
			}
			b.note(start, netip.AddrPortFrom(testNode(v.from, 1).addr.Addr(), uint16(1+r.IntN(9))), [20]byte{1}, v.says)
			votes = slices.DeleteFunc(votes, func(o vote) bool { return o.from == v.from })
			votes = append(votes, v)
			votes = votes[max(0, len(votes)-16):]
			var want netip.Addr
			for _, a := range ours {
				n := 0
				for _, o := range votes {
					if o.says == a {
						n++
					}
				}
				if n >= 5 && 2*n > len(votes) {
					want = a
				}
			}
			if got := b.publicIP(); got != want {
				t.Fatalf("seed %d: believes %v, want %v of %v", seed, got, want, votes)
			}
		}
	}
}

// TestLSDMessageRules: the bounds on what is read and told.
func TestLSDMessageRules(t *testing.T) {
	line := func(i int) string { return fmt.Sprintf("Infohash: %038d%02x\n", 0, i) }
	message := func(port string, hashes int, more string) []byte {
		s := "BT-SEARCH * HTTP/1.1\nPort: " + port + "\n"
		for i := range hashes {
			s += line(i + 1)
		}
		return []byte(s + more)
	}
	for port, ok := range map[string]bool{"1": true, "65535": true, "0": false, "65536": false, "-1": false, "x": false, "": false} {
		if m, err := parseLSD(message(port, 1, "")); (err == nil) != ok || ok && fmt.Sprint(m.port) != port {
			t.Errorf("port %q: %v, %v", port, m, err)
		}
	}
	m, err := parseLSD(message("5", 40, "Cookie: "+strings.Repeat("c", 100)+"\nno header\n\nPort: 9\n"))
	if err != nil || len(m.hashes) != 32 || len(m.cookie) != 64 || m.port != 5 || m.hashes[31][19] != 32 {
		t.Errorf("%d hashes, a cookie of %d, %v", len(m.hashes), len(m.cookie), err)
	}
	if m, err := parseLSD(message("5", 2, line(0)+"Infohash: 1234\n")); err != nil || len(m.hashes) != 2 {
		t.Errorf("an info hash of zeros, and none: %v, %v", m, err)
	}
	for over := range 2 {
		b := message("5", 1, "x:")
		b = append(b, strings.Repeat("y", 2800+over-len(b))...)
		if _, err := parseLSD(b); (err == nil) != (over == 0) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	for n := range 1200 {
		room := lsdRoom(strings.Repeat("c", n))
		m := lsdMessage{port: 65535, cookie: strings.Repeat("c", n), hashes: make([]weir.InfoHash, max(0, room))}
		if room > 0 && len(m.append(nil, lsdGroup6)) > 1400 || room < 24 && len(m.append(nil, lsdGroup6))+52 <= 1400 || room > 32 {
			t.Fatalf("with a cookie of %d there is room for %d", n, room)
		}
	}
}

// TestPexRules: messages at the ends of their times, against each peer's own list.
func TestPexRules(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		var o PexOut
		to, all := ap("10.0.0.1:6881"), pexPeers(150)
		told := map[netip.AddrPort]bool{}
		now, last := start, time.Time{}
		for range 100 {
			now = now.Add([]time.Duration{time.Second, 30 * time.Second, 65*time.Second - 1, 65 * time.Second, time.Hour}[r.IntN(5)])
			here := slices.Clone(all[:r.IntN(len(all))])
			here = append(here, here...) // twice each
			var lack, gone int
			is := map[netip.AddrPort]bool{}
			for _, p := range here {
				if p.Addr != to && !is[p.Addr] && !told[p.Addr] {
					lack++
				}
				is[p.Addr] = true
			}
			for a := range told {
				if !is[a] {
					gone++
				}
			}
			m, ok := o.Next(now, to, here)
			due := last.IsZero() || now.Sub(last) >= 65*time.Second
			if ok != (due && lack+gone > 0) || ok && (len(m.Added) != min(50, lack) || len(m.Dropped) != min(50, gone)) {
				t.Fatalf("seed %d: %v with %d new and %d gone: %d and %d are told, %v after the last", seed, ok, lack, gone, len(m.Added), len(m.Dropped), now.Sub(last))
			}
			if !ok {
				continue
			}
			last = now
			for _, p := range m.Added {
				if told[p.Addr] || !is[p.Addr] || p.Addr == to {
					t.Fatalf("seed %d: %v is told", seed, p)
				}
				told[p.Addr] = true
			}
			for _, a := range m.Dropped {
				if !told[a] || is[a] {
					t.Fatalf("seed %d: %v is dropped", seed, a)
				}
				delete(told, a)
			}
		}
	}
	// What is believed: a message 45 s after the last, five that come earlier, 500 in all.
	var in PexIn
	now, from, believed := start, ap("10.9.9.9:1"), 0
	for i := range 12 {
		got, err := in.Accept(now, from, PexMessage{Added: append(pexPeers(60)[:1:1], pexPeers(60)...)})
		if want := min(50, 500-believed); err != nil || len(got) != want {
			t.Fatalf("message %d: %d are believed, want %d, %v", i, len(got), want, err)
		}
		believed += len(got)
		now = now.Add(45 * time.Second)
	}
	in = PexIn{}
	for i := range 8 {
		got, err := in.Accept(start.Add(time.Duration(i)*time.Millisecond+44*time.Second*time.Duration(min(i, 1))), from, PexMessage{Added: pexPeers(1)})
		if (err != nil) != (i > 5) || (len(got) == 1) != (i == 0) {
			t.Errorf("message %d of many at once: %v, %v", i, got, err)
		}
	}
}

// TestParsePexRules: a list is read up to its bound and a message up to its own, and
// each flag goes with its peer.
func TestParsePexRules(t *testing.T) {
	list := func(key string, n, size int) string {
		return fmt.Sprintf("%d:%s%d:%s", len(key), key, n*size, strings.Repeat("\x01", n*size))
	}
	for n, want := range map[int]int{199: 199, 200: 200, 201: 200} {
		m, err := ParsePex([]byte("d" + list("added", n, 6) + list("added6", n, 18) + list("dropped", n, 6) + list("dropped6", n, 18) + "e"))
		if err != nil || len(m.Added) != 2*want || len(m.Dropped) != 2*want {
			t.Errorf("of %d each: %d added, %d dropped, %v", n, len(m.Added), len(m.Dropped), err)
		}
	}
	for over := range 2 {
		head := "d7:ignored"
		n := 65536 + over - len(head) - len("65000:e")
		if _, err := ParsePex([]byte(head + fmt.Sprint(n) + ":" + strings.Repeat("x", n) + "e")); (err == nil) != (over == 0) {
			t.Errorf("%d bytes over: %v", over, err)
		}
	}
	m, err := ParsePex([]byte("d5:added12:abcdefghijkl7:added.f1:\x106:added618:aaaaaaaaaaaaaaaabb8:added6.f3:\x01\x02\x03e"))
	if err != nil || len(m.Added) != 3 || m.Added[0].Flags != PexOutgoing || m.Added[1].Flags != 0 || m.Added[2].Flags != PexEncryption {
		t.Errorf("%+v, %v", m, err)
	}
	if PexSeed != 2 || PexUTP != 4 || PexHolepunch != 8 {
		t.Error("the flags are not those of BEP 11")
	}
}
