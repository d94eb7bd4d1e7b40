package pex

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPexRules: messages at the ends of their times, against each peer's own list.
func TestPexRules(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		var o Sender
		to, all := ap("10.0.0.1:6881"), somePeers(150)
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
	var in Receiver
	now, from, believed := start, ap("10.9.9.9:1"), 0
	for i := range 12 {
		got, err := in.Accept(now, from, Message{Added: append(somePeers(60)[:1:1], somePeers(60)...)})
		if want := min(50, 500-believed); err != nil || len(got) != want {
			t.Fatalf("message %d: %d are believed, want %d, %v", i, len(got), want, err)
		}
		believed += len(got)
		now = now.Add(45 * time.Second)
	}
	in = Receiver{}
	for i := range 8 {
		got, err := in.Accept(start.Add(time.Duration(i)*time.Millisecond+44*time.Second*time.Duration(min(i, 1))), from, Message{Added: somePeers(1)})
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
		m, err := Parse([]byte("d" + list("added", n, 6) + list("added6", n, 18) + list("dropped", n, 6) + list("dropped6", n, 18) + "e"))
		if err != nil || len(m.Added) != 2*want || len(m.Dropped) != 2*want {
			t.Errorf("of %d each: %d added, %d dropped, %v", n, len(m.Added), len(m.Dropped), err)
		}
	}
	for over := range 2 {
		head := "d7:ignored"
		n := 65536 + over - len(head) - len("65000:e")
		if _, err := Parse([]byte(head + fmt.Sprint(n) + ":" + strings.Repeat("x", n) + "e")); (err == nil) != (over == 0) {
			t.Errorf("%d bytes over: %v", over, err)
		}
	}
	m, err := Parse([]byte("d5:added12:abcdefghijkl7:added.f1:\x106:added618:aaaaaaaaaaaaaaaabb8:added6.f3:\x01\x02\x03e"))
	if err != nil || len(m.Added) != 3 || m.Added[0].Flags != Outgoing || m.Added[1].Flags != 0 || m.Added[2].Flags != Encryption {
		t.Errorf("%+v, %v", m, err)
	}
	if Seed != 2 || UTP != 4 || Holepunch != 8 {
		t.Error("the flags are not those of BEP 11")
	}
}
