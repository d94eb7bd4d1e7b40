package link

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAdmit(t *testing.T) {
	w := way{bytesPerSec: 1_000_000} // a byte takes a microsecond
	for i, c := range []struct {
		now   time.Duration
		bytes int
		left  time.Duration
		ok    bool
	}{
		{0, 1000, time.Millisecond, true},
		{0, 1000, 2 * time.Millisecond, true}, // behind the first
		{5 * time.Millisecond, 1000, 6 * time.Millisecond, true},
		{6 * time.Millisecond, 100_000, 106 * time.Millisecond, true},
		{6 * time.Millisecond, 1000, 107 * time.Millisecond, true}, // exactly a full queue
		{6 * time.Millisecond, 1000, 0, false},
		{7 * time.Millisecond, 1000, 108 * time.Millisecond, true}, // it drains
		{time.Second, 10, time.Second + 10*time.Microsecond, true},
	} {
		if left, ok := w.admit(c.now, c.bytes); left != c.left || ok != c.ok {
			t.Errorf("packet %d: %v, %v, want %v, %v", i, left, ok, c.left, c.ok)
		}
	}
	var free way
	if left, ok := free.admit(7, 1<<30); left != 7 || !ok {
		t.Errorf("without a rate: %v, %v", left, ok)
	}
}

// tcp returns a packet from a host, with a payload of n bytes in segments of
// that many.
func tcp(source netip.Addr, n, segment int) []byte {
	b := make([]byte, headerBytes+40+n)
	ip := b[headerBytes:]
	ip[0], ip[32] = 0x45, 5<<4
	src := source.As4()
	copy(ip[12:], src[:])
	if n > segment {
		b[1] = 1 // VIRTIO_NET_HDR_GSO_TCPV4
		binary.NativeEndian.PutUint16(b[4:], uint16(segment))
	}
	return b
}

func TestWireBytes(t *testing.T) {
	host := netip.MustParseAddr("10.0.0.1")
	for _, c := range []struct{ payload, want int }{
		{0, 40},
		{1000, 1040},
		{2000, 2000 + 2*40},
		{2001, 2001 + 3*40},
		{10_000, 10_000 + 10*40},
	} {
		if n := wireBytes(tcp(host, c.payload, 1000)); n != c.want {
			t.Errorf("%d bytes of content are %d on the wire, want %d", c.payload, n, c.want)
		}
	}
}

func newEnd(r Rates) *end {
	return &end{in: -1, out: -1, address: 12, rates: r, ways: map[netip.Addr]*lane{}}
}

func TestTakeKeepsHostsApart(t *testing.T) {
	slow, fast := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	e := newEnd(Rates{Delay: time.Second, Hosts: map[netip.Addr]int64{slow: 1_000_000}})
	for range 200 {
		e.take(0, tcp(slow, 960, 1000)) // a millisecond each
		e.take(0, tcp(fast, 960, 1000))
	}
	// What stands in the queue for at most 100 ms was admitted, the first one having
	// stood for nothing.
	if n := len(e.ways[slow].packets); n != 101 || e.dropped != 99 {
		t.Errorf("%d packets of the slow host admitted, %d dropped", n, e.dropped)
	}
	if n := len(e.ways[fast].packets); n != 200 {
		t.Errorf("%d packets of the fast host admitted", n)
	}
	if due := e.ways[slow].packets[9].due; due != time.Second+10*time.Millisecond {
		t.Errorf("the tenth packet is due at %v", due)
	}
	if due := e.ways[fast].packets[199].due; due != time.Second {
		t.Errorf("without a rate a packet is due at %v", due)
	}
}

// FuzzTake gives a line whatever a device may hand out.
func FuzzTake(f *testing.F) {
	f.Add([]byte{})
	f.Add(tcp(netip.MustParseAddr("10.0.0.1"), 3000, 1000))
	f.Add(make([]byte, headerBytes+20))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := newEnd(Rates{})
		e.take(0, b)
		if len(e.ways) > 0 && wireBytes(b) < len(b)-headerBytes {
			t.Errorf("%d bytes on the wire of a packet of %d", wireBytes(b), len(b)-headerBytes)
		}
	})
}
