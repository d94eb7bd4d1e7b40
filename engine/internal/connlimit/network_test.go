package connlimit

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// TestBoundsOfAddresses: how many connections there may be with the addresses that a
// pattern makes.
func TestBoundsOfAddresses(t *testing.T) {
	const all = 500
	for pattern, want := range map[string]int{
		"192.0.2.1":           16,
		"::ffff:192.0.2.1":    16,
		"192.0.2.%d":          48,
		"192.0.%d.1":          200, // networks of their own
		"2001:db8::1":         16,
		"2001:db8::%d":        16, // one customer
		"2001:db8:0:%d::1":    48,
		"2001:db8:0:8%d::1":   48,
		"2001:db8:%d::1":      200,
		"127.0.0.1":           all,
		"::1":                 all,
		"10.0.0.1":            all,
		"192.168.1.%d":        all,
		"172.16.0.9":          all,
		"169.254.0.1":         all,
		"100.64.0.1":          all,
		"fe80::1":             all,
		"fd00::1":             all,
		"::ffff:127.0.0.%d":   all,
		"::ffff:100.64.0.1":   all,
		"::ffff:10.0.0.%d":    all,
		"64:ff9b::192.0.2.%d": 16,
	} {
		l := New(all)
		var slots []*Slot
		for i := range 600 {
			text := pattern
			if strings.Contains(pattern, "%") {
				text = fmt.Sprintf(pattern, i%200)
			}
			s, full := l.Incoming(netip.MustParseAddr(text))
			if s == nil {
				if full != (len(slots) == all) {
					t.Errorf("%s: refused the %dth, full %v", pattern, len(slots), full)
				}
				continue
			}
			if full {
				t.Errorf("%s: a slot is given, and there is none", pattern)
			}
			slots = append(slots, s)
		}
		if want == 200 {
			want = min(all, 200*16)
		}
		if len(slots) != want {
			t.Errorf("%s: %d connections, want %d", pattern, len(slots), want)
		}
		for _, s := range slots {
			s.Release()
			s.Release()
		}
		if open, _ := l.Usage(); open != 0 || len(l.networks) != 0 {
			t.Errorf("%s: left are %d, %v", pattern, open, l.networks)
		}
	}
}

func TestNeighbours(t *testing.T) {
	l := New(10)
	for _, a := range []string{"127.0.0.1", "127.0.0.1", "127.0.0.2", "2001:db8::1", "2001:db8::2"} {
		l.Incoming(netip.MustParseAddr(a))
	}
	s, _ := l.Dial(t, netip.Addr{}, 0) // a host name
	for a, want := range map[string]int{"127.0.0.1": 2, "::ffff:127.0.0.1": 2, "127.0.0.3": 0, "2001:db8::3": 2} {
		if got := l.Neighbours(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s has %d neighbours, want %d", a, got, want)
		}
	}
	if s.Neighbour() != 0 || l.Neighbours(netip.Addr{}) != 0 {
		t.Error("a host name has neighbours")
	}
}

// TestPendingOfNobody: a handshake whose address is unknown is no crowd, and gives way
// when there are no others.
func TestPendingOfNobody(t *testing.T) {
	p := NewPending(4)
	for i := range 12 {
		var want any
		if i >= 4 {
			want = i - 4
		}
		if _, ends := p.Enter(netip.Addr{}, i); ends == nil != (want == nil) || ends != nil && ends.Ref != want {
			t.Errorf("newcomer %d ends %v, want %v", i, ends, want)
		}
	}
	p = NewPending(2)
	p.Enter(netip.Addr{}, "unknown")
	p.Enter(netip.MustParseAddr("192.0.2.1"), "known")
	if _, ends := p.Enter(netip.MustParseAddr("198.51.100.1"), "new"); ends == nil || ends.Ref != "known" {
		t.Errorf("%v ends, want the one of a network", ends)
	}
}

// TestPending: there is room for each newcomer, and whoever holds most has the loss.
func TestPending(t *testing.T) {
	addr := netip.MustParseAddr
	p := NewPending(8)
	honest, _ := p.Enter(addr("192.0.2.1"), "honest")
	for i := range 100 {
		_, ends := p.Enter(addr("198.51.100.7"), i)
		if ends != nil && ends.Ref != i-7 {
			t.Fatalf("newcomer %d ends %v", i, ends.Ref)
		}
		if len(p.list) > 8 {
			t.Fatalf("%d handshakes", len(p.list))
		}
	}
	if _, ends := p.Enter(addr("192.0.2.2"), "late"); ends == nil || ends.Ref == "honest" {
		t.Errorf("a newcomer ends %v", ends)
	}
	p.Leave(honest)
	p.Leave(honest)
	if len(p.list) != 7 {
		t.Errorf("%d are left of 8", len(p.list))
	}
	// Many addresses of one network are a crowd, too.
	p = NewPending(8)
	other, _ := p.Enter(addr("192.0.2.1"), "honest")
	for i := range 100 {
		if _, ends := p.Enter(addr(fmt.Sprintf("198.51.100.%d", i)), i); ends == other {
			t.Fatal("a network of many pushes a lone one out")
		}
		if _, ends := p.Enter(addr(fmt.Sprintf("2001:db8:0:%x::1", i)), i); ends == other {
			t.Fatal("a network of many pushes a lone one out")
		}
	}
}
