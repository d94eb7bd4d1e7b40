package engine

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// testNow is a whole minute, as records have it.
var testNow = time.Unix(1_790_000_040, 0)

func someAcquaintances() []acquaintance {
	return []acquaintance{
		{addr: netip.MustParseAddrPort("192.0.2.1:6881"), tracker: true, delivered: 1 << 40, seen: testNow},
		{addr: netip.MustParseAddrPort("[2001:db8::1]:1"), misses: 2, seen: testNow.Add(-time.Hour)},
		{addr: netip.MustParseAddrPort("127.0.0.1:65535"), delivered: 1, seen: testNow.Add(-24 * time.Hour)},
	}
}

func TestAcquaintancesRecord(t *testing.T) {
	want := someAcquaintances()
	got, err := parseAcquaintances(appendAcquaintances(nil, want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := parseAcquaintances(appendAcquaintances(nil, nil)); err != nil || len(got) != 0 {
		t.Errorf("none became %v, %v", got, err)
	}
	whole := appendAcquaintances(nil, want)
	many := appendAcquaintances(nil, make([]acquaintance, 0))
	for range mostAcquaintances + 1 {
		many = append(many, appendAcquaintances(nil, want[:1])[1:]...)
	}
	for name, b := range map[string][]byte{
		"Empty": {}, "OtherVersion": append([]byte{2}, whole[1:]...), "CutOff": whole[:len(whole)-1],
		"UnknownFlag": {1, 0x80, 0, 1, 1, 1, 2, 3, 4, 5, 6}, "TooMany": many,
		"LongNumber": append([]byte{1, 0, 0}, bytes.Repeat([]byte{0xff}, 20)...),
		"FarFuture":  {1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 1, 2, 3, 4, 5, 6},
	} {
		if got, err := parseAcquaintances(b); !errors.Is(err, weir.ErrInvalid) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzAcquaintances(f *testing.F) {
	f.Add(appendAcquaintances(nil, someAcquaintances()))
	f.Add([]byte{1, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseAcquaintances(b)
		if err != nil {
			if !errors.Is(err, weir.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := parseAcquaintances(appendAcquaintances(nil, list))
		if err != nil || !reflect.DeepEqual(again, list) {
			t.Fatalf("%+v becomes %+v, %v", list, again, err)
		}
		if len(chooseAcquaintances(list, testNow)) > mostAcquaintances {
			t.Fatal("too many")
		}
	})
}

func TestChooseAcquaintances(t *testing.T) {
	at := func(port int, f func(*acquaintance)) acquaintance {
		a := acquaintance{addr: netip.MustParseAddrPort(fmt.Sprint("192.0.2.1:", port)), seen: testNow.Add(-time.Hour)}
		f(&a)
		return a
	}
	got := chooseAcquaintances([]acquaintance{
		at(1, func(a *acquaintance) {}),
		at(2, func(a *acquaintance) { a.delivered = 1 << 30 }),
		at(3, func(a *acquaintance) { a.delivered = 1; a.seen = testNow }),
		at(4, func(a *acquaintance) { a.delivered = 5; a.misses = 1; a.seen = testNow }),
		at(5, func(a *acquaintance) { a.delivered = 5; a.misses = mostMisses }),
		at(6, func(a *acquaintance) { a.delivered = 5; a.seen = testNow.Add(-acquaintedFor - time.Minute) }),
		at(7, func(a *acquaintance) { a.delivered = 5; a.seen = testNow.Add(24 * time.Hour) }), // a clock was wrong
	}, testNow)
	var ports []uint16
	for _, a := range got {
		ports = append(ports, a.addr.Port())
	}
	if want := []uint16{3, 2, 4, 1}; !reflect.DeepEqual(ports, want) {
		t.Errorf("kept %v, want %v", ports, want)
	}
	var many []acquaintance
	for i := range 200 {
		many = append(many, at(i+1, func(a *acquaintance) { a.seen = testNow.Add(-time.Duration(i) * time.Minute) }))
	}
	if got := chooseAcquaintances(many, testNow); len(got) != mostAcquaintances || got[0].addr.Port() != 1 || got[63].addr.Port() != 64 {
		t.Errorf("%d of 200 are kept, from %v", len(got), got[0])
	}
}

// TestCandidatesAsAcquaintances: what becomes of a known peer from one warm period
// to the next.
func TestCandidatesAsAcquaintances(t *testing.T) {
	good, bad := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")
	run := func(c *candidates, goodIsThere bool) []acquaintance {
		for {
			addr, k := c.next(testNow)
			if k == nil {
				return chooseAcquaintances(c.acquaintances(testNow), testNow)
			}
			k.busy = true
			if addr == good.String() && goodIsThere {
				c.met(addr, good, 1000, testNow)
			} else {
				c.gone(addr, true, false, errors.New("refused"), testNow)
			}
		}
	}
	list := []acquaintance{{addr: good, tracker: true, delivered: 5, seen: testNow}, {addr: bad, delivered: 5, seen: testNow}}
	start := func(private bool) *candidates {
		c := newCandidates(plainEarly, noPriority)
		c.private = private
		c.recall(list)
		return c
	}
	t.Run("BadOnesFallOut", func(t *testing.T) {
		before := list
		defer func() { list = before }()
		for range mostMisses {
			if len(list) != 2 {
				t.Fatal("fell out too early")
			}
			list = run(start(false), true)
		}
		if len(list) != 1 || list[0].addr != good || list[0].delivered != 5+mostMisses*1000 || !list[0].tracker {
			t.Errorf("left are %+v", list)
		}
	})
	t.Run("NobodyFallsOutWhenWeAreCutOff", func(t *testing.T) {
		if got := run(start(false), false); len(got) != 2 || got[0].misses+got[1].misses != 0 {
			t.Errorf("left are %+v", got)
		}
	})
	t.Run("BannedOnesFallOut", func(t *testing.T) {
		c := start(false)
		c.ban(bad.String(), testNow)
		if got := c.acquaintances(testNow); len(got) != 1 || !c.changed {
			t.Errorf("left are %+v", got)
		}
	})
	t.Run("PrivateFromTrackersOnly", func(t *testing.T) {
		c := start(true)
		if len(c.known) != 1 || c.known[good.String()] == nil {
			t.Errorf("a private torrent knows %v", c.known)
		}
		c.met("", bad, 10, testNow)
		c.add(fromOthers, "192.0.2.3:3")
		if len(c.known) != 1 {
			t.Errorf("a private torrent knows %v", c.known)
		}
	})
	t.Run("PrivateLater", func(t *testing.T) {
		c := start(false)
		c.add(fromUser, "seed.example:1")
		c.known[bad.String()].busy = true
		c.add(fromOthers, "192.0.2.3:3")
		c.keepPrivate()
		if len(c.known) != 3 || !c.banned(bad.String(), testNow) || c.banned(good.String(), testNow) || c.banned("seed.example:1", testNow) {
			t.Errorf("it knows %v", c.known)
		}
	})
	t.Run("GoodOnesFirst", func(t *testing.T) {
		c := newCandidates(plainEarly, noPriority)
		for i := range 100 {
			c.add(fromTracker, fmt.Sprintf("192.0.2.9:%d", i+1))
		}
		c.recall(list)
		for range 2 {
			_, k := c.next(testNow)
			if k.delivered == 0 {
				t.Error("a stranger is dialed before a peer that has delivered")
			}
			k.busy = true
		}
	})
}
