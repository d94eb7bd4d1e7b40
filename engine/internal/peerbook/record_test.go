package peerbook

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

// TestChooseLimits: who was seen fourteen days ago is kept, and one whose clock is an
// hour ahead, and one that was missed twice.
func TestChooseLimits(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		ago    time.Duration
		misses int
		want   bool
	}{
		{0, 0, true}, {0, 2, true}, {0, 3, false}, {14 * day, 0, true}, {14*day + 1, 0, false}, {-time.Hour, 0, true}, {-time.Hour - 1, 0, false},
	} {
		got := Choose([]KnownPeer{{Addr: netip.MustParseAddrPort("192.0.2.1:1"), Seen: testNow.Add(-c.ago), Misses: c.misses}}, testNow)
		if (len(got) == 1) != c.want {
			t.Errorf("seen %v ago, missed %d times: kept %v", c.ago, c.misses, !c.want)
		}
	}
}

// TestRecordLimits: numbers at the ends of what a record may have, and as many peers.
func TestRecordLimits(t *testing.T) {
	record := func(flags, misses byte, minutes, delivered uint64, addr int) []byte {
		b := binary.AppendUvarint([]byte{1, flags, misses}, minutes)
		return append(binary.AppendUvarint(b, delivered), make([]byte, addr+2)...)
	}
	for name, c := range map[string]struct {
		b  []byte
		ok bool
	}{
		"Largest": {record(1, 255, 1<<32, 1<<62, 4), true}, "LaterThanEver": {record(0, 0, 1<<32+1, 0, 4), false}, "MoreThanAll": {record(0, 0, 0, 1<<62+1, 4), false},
		"IPv6": {record(3, 0, 0, 0, 16), true}, "IPv6Short": {record(2, 0, 0, 0, 4), false}, "AByteMore": {record(0, 0, 0, 0, 5), false}, "AnotherFlag": {record(4, 0, 0, 0, 4), false},
	} {
		got, err := Parse(c.b)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if name == "Largest" && (len(got) != 1 || got[0].Misses != 255 || got[0].Delivered != 1<<62 || !got[0].Tracker || got[0].Seen.Unix() != 60<<32) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// What does not fit is written as what does.
	odd := []KnownPeer{{Addr: netip.MustParseAddrPort("[::ffff:192.0.2.1]:7"), Misses: 1000, Delivered: -5, Seen: time.Unix(-90, 0)}}
	got, err := Parse(Append(nil, odd))
	if err != nil || len(got) != 1 || got[0] != (KnownPeer{Addr: netip.MustParseAddrPort("192.0.2.1:7"), Misses: 255, Seen: time.Unix(0, 0)}) {
		t.Errorf("%+v, %v", got, err)
	}
	for n, ok := range map[int]bool{64: true, 65: false} {
		b := []byte{1}
		for range n {
			b = append(b, record(0, 0, 5, 5, 4)[1:]...)
		}
		if got, err := Parse(b); (err == nil) != ok || ok && len(got) != n {
			t.Errorf("%d peers: %d, %v", n, len(got), err)
		}
	}
}
