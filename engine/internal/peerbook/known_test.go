package peerbook

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// testNow is a whole minute, as records have it.
var testNow = time.Unix(1_790_000_040, 0)

func someKnownPeers() []KnownPeer {
	return []KnownPeer{
		{Addr: netip.MustParseAddrPort("192.0.2.1:6881"), Tracker: true, Delivered: 1 << 40, Seen: testNow},
		{Addr: netip.MustParseAddrPort("[2001:db8::1]:1"), Misses: 2, Seen: testNow.Add(-time.Hour)},
		{Addr: netip.MustParseAddrPort("127.0.0.1:65535"), Delivered: 1, Seen: testNow.Add(-24 * time.Hour)},
	}
}

func TestKnownPeersRecord(t *testing.T) {
	want := someKnownPeers()
	got, err := Parse(Append(nil, want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := Parse(Append(nil, nil)); err != nil || len(got) != 0 {
		t.Errorf("none became %v, %v", got, err)
	}
	whole := Append(nil, want)
	many := Append(nil, make([]KnownPeer, 0))
	for range maxKnown + 1 {
		many = append(many, Append(nil, want[:1])[1:]...)
	}
	for name, b := range map[string][]byte{
		"Empty": {}, "OtherVersion": append([]byte{2}, whole[1:]...), "CutOff": whole[:len(whole)-1],
		"UnknownFlag": {1, 0x80, 0, 1, 1, 1, 2, 3, 4, 5, 6}, "TooMany": many,
		"LongNumber": append([]byte{1, 0, 0}, bytes.Repeat([]byte{0xff}, 20)...),
		"FarFuture":  {1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 1, 2, 3, 4, 5, 6},
	} {
		if got, err := Parse(b); !errors.Is(err, weir.ErrInvalid) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzKnownPeers(f *testing.F) {
	f.Add(Append(nil, someKnownPeers()))
	f.Add([]byte{1, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Parse(b)
		if err != nil {
			if !errors.Is(err, weir.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := Parse(Append(nil, list))
		if err != nil || !reflect.DeepEqual(again, list) {
			t.Fatalf("%+v becomes %+v, %v", list, again, err)
		}
		if len(Choose(list, testNow)) > maxKnown {
			t.Fatal("too many")
		}
	})
}

func TestChoose(t *testing.T) {
	at := func(port int, f func(*KnownPeer)) KnownPeer {
		a := KnownPeer{Addr: netip.MustParseAddrPort(fmt.Sprint("192.0.2.1:", port)), Seen: testNow.Add(-time.Hour)}
		f(&a)
		return a
	}
	got := Choose([]KnownPeer{
		at(1, func(a *KnownPeer) {}),
		at(2, func(a *KnownPeer) { a.Delivered = 1 << 30 }),
		at(3, func(a *KnownPeer) { a.Delivered = 1; a.Seen = testNow }),
		at(4, func(a *KnownPeer) { a.Delivered = 5; a.Misses = 1; a.Seen = testNow }),
		at(5, func(a *KnownPeer) { a.Delivered = 5; a.Misses = maxMisses }),
		at(6, func(a *KnownPeer) { a.Delivered = 5; a.Seen = testNow.Add(-knownFor - time.Minute) }),
		at(7, func(a *KnownPeer) { a.Delivered = 5; a.Seen = testNow.Add(24 * time.Hour) }), // a clock was wrong
	}, testNow)
	var ports []uint16
	for _, a := range got {
		ports = append(ports, a.Addr.Port())
	}
	if want := []uint16{3, 2, 4, 1}; !reflect.DeepEqual(ports, want) {
		t.Errorf("kept %v, want %v", ports, want)
	}
	var many []KnownPeer
	for i := range 200 {
		many = append(many, at(i+1, func(a *KnownPeer) { a.Seen = testNow.Add(-time.Duration(i) * time.Minute) }))
	}
	if got := Choose(many, testNow); len(got) != maxKnown || got[0].Addr.Port() != 1 || got[63].Addr.Port() != 64 {
		t.Errorf("%d of 200 are kept, from %v", len(got), got[0])
	}
}

// TestKnownPeersFromRunToRun: what becomes of a known peer from one warm period
// to the next.
func TestKnownPeersFromRunToRun(t *testing.T) {
	good, bad := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")
	run := func(b *Book, goodIsThere bool) []KnownPeer {
		for {
			c, ok := b.Next(testNow, false)
			if !ok {
				return b.KnownPeers(testNow)
			}
			b.Dial(c.Addr)
			if c.Addr == good.String() && goodIsThere {
				b.Connected(c.Addr)
				b.Met(c.Addr, good, 1000, testNow)
			} else {
				b.Failed(c.Addr, 0, goodIsThere, testNow)
			}
		}
	}
	list := []KnownPeer{{Addr: good, Tracker: true, Delivered: 5, Seen: testNow}, {Addr: bad, Delivered: 5, Seen: testNow}}
	start := func(private bool) *Book {
		b := newBook()
		if private {
			b.KeepPrivate()
		}
		b.Load(list, testNow)
		return b
	}
	t.Run("BadOnesFallOut", func(t *testing.T) {
		before := list
		defer func() { list = before }()
		for range maxMisses {
			if len(list) != 2 {
				t.Fatal("fell out too early")
			}
			list = run(start(false), true)
		}
		if len(list) != 1 || list[0].Addr != good || list[0].Delivered != 5+maxMisses*1000 || !list[0].Tracker {
			t.Errorf("left are %+v", list)
		}
	})
	t.Run("NobodyFallsOutWhenWeAreCutOff", func(t *testing.T) {
		if got := run(start(false), false); len(got) != 2 || got[0].Misses+got[1].Misses != 0 {
			t.Errorf("left are %+v", got)
		}
	})
	t.Run("BannedOnesFallOut", func(t *testing.T) {
		b := start(false)
		b.Ban(bad.String(), testNow)
		if !b.KnownPeersChanged() {
			t.Error("a ban is no change")
		}
		if got := b.KnownPeers(testNow); len(got) != 1 || b.KnownPeersChanged() {
			t.Errorf("left are %+v", got)
		}
	})
	t.Run("PrivateFromTrackersOnly", func(t *testing.T) {
		b := start(true)
		if got := names(b); !slices.Equal(got, []string{good.String()}) {
			t.Errorf("a private torrent knows %v", got)
		}
		b.Met("", bad, 10, testNow)
		b.Add(testNow, Origin{Source: DHT}, "192.0.2.3:3")
		if got := names(b); !slices.Equal(got, []string{good.String()}) {
			t.Errorf("a private torrent knows %v", got)
		}
	})
	t.Run("PrivateLater", func(t *testing.T) {
		b := start(false)
		b.Add(testNow, Origin{Source: User}, "seed.example:1")
		b.Dial(bad.String())
		b.Add(testNow, Origin{Source: DHT}, "192.0.2.3:3")
		b.KeepPrivate()
		if got := names(b); len(got) != 3 || !b.Banned(bad.String(), testNow) || b.Banned(good.String(), testNow) || b.Banned("seed.example:1", testNow) {
			t.Errorf("it knows %v", got)
		}
	})
	t.Run("GoodOnesFirst", func(t *testing.T) {
		b := newBook()
		for i := range 100 {
			b.Add(testNow, Origin{Source: Tracker}, fmt.Sprintf("10.0.2.9:%d", i+1))
		}
		b.Load(list, testNow)
		for range 2 {
			c, _ := b.Next(testNow, false)
			if c.Addr != good.String() && c.Addr != bad.String() {
				t.Errorf("%s is dialed before a peer that has delivered", c.Addr)
			}
			b.Dial(c.Addr)
		}
	})
}

// TestLoadAfterMeeting: a record that comes late takes nothing from a peer that was
// met meanwhile.
func TestLoadAfterMeeting(t *testing.T) {
	b := New(func(netip.AddrPort) uint32 { return 0 }, 0, Bans{})
	former := KnownPeer{Addr: netip.MustParseAddrPort("192.0.2.1:6881"), Misses: 2, Delivered: 5, Seen: testNow.Add(-time.Hour)}
	b.Add(testNow, Origin{Source: Tracker}, former.Addr.String())
	b.Met(former.Addr.String(), former.Addr, 7, testNow)
	b.Load([]KnownPeer{former}, testNow)
	want := []KnownPeer{{Addr: former.Addr, Tracker: true, Delivered: 12, Seen: testNow}}
	if got := b.KnownPeers(testNow); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
