package connlimit

import (
	"encoding/hex"
	"hash/crc32"
	"net/netip"
	"testing"
)

func TestPriority(t *testing.T) {
	ap := netip.MustParseAddrPort
	for _, c := range []struct {
		a, b string
		want uint32 // the two of BEP 40
		of   string // else what is hashed
	}{
		{"123.213.32.10:1", "98.76.54.32:2", 0xec2d7224, "624c14007bd50000"},
		{"123.213.32.10:1", "123.213.32.234:2", 0x99568189, "7bd5200a7bd520ea"},
		{"230.12.123.3:300", "230.12.123.3:1234", 0, "012c04d2"},
		{"230.12.23.1:1", "230.12.123.3:2", 0, "e60c1701e60c7b01"},
		{"230.120.23.1:1", "230.12.123.3:2", 0, "e60c5101e6781501"},
		{"[::ffff:230.120.23.1]:1", "230.12.123.3:2", 0, "e60c5101e6781501"},
		{"[ffff:ffff:ffff:ffff::]:2", "[ffff:fff:ffff:ffff::]:1", 0, "ffff0fffffff55550000000000000000ffffffffffff55550000000000000000"},
		{"[ffff:ffff:ffff:ffff::]:2", "[ffff:ffff:fff:ffff::]:1", 0, "ffffffff0fff55550000000000000000ffffffffffff55550000000000000000"},
		{"[ffff:ffff:ffff:ffff::]:2", "[ffff:ffff:ff0f:ffff::]:1", 0, "ffffffffff0fff550000000000000000ffffffffffffff550000000000000000"},
		{"[ffff:ffff:ffff:ffff::]:2", "[ffff:ffff:ffff:fff::]:1", 0, "ffffffffffff0fff0000000000000000ffffffffffffffff0000000000000000"},
	} {
		of, err := hex.DecodeString(c.of)
		if err != nil {
			t.Fatal(err)
		}
		want := crc32.Checksum(of, castagnoli)
		if c.want != 0 && c.want != want {
			t.Errorf("%s hashes to %08x, not to %08x as in BEP 40", c.of, want, c.want)
		}
		if x, y := Priority(ap(c.a), ap(c.b)), Priority(ap(c.b), ap(c.a)); x != want || y != want {
			t.Errorf("%s and %s: %08x and %08x, want %08x", c.a, c.b, x, y, want)
		}
	}
	for _, c := range [][2]netip.AddrPort{{ap("1.2.3.4:1"), ap("[2001:db8::1]:1")}, {{}, {}}, {ap("1.2.3.4:1"), {}}} {
		if got := Priority(c[0], c[1]); got != 0 {
			t.Errorf("%v: %08x", c, got)
		}
	}
}

func TestOwnAddress(t *testing.T) {
	var o OwnAddress
	four, six, other := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("203.0.113.66")
	from := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	check := func(want4, want6 netip.Addr) {
		t.Helper()
		if a, b := o.Like(four), o.Like(six); a != want4 || b != want6 {
			t.Errorf("we are %v and %v, want %v and %v", a, b, want4, want6)
		}
	}
	for range 10 { // one voice
		o.Vote(from(1), other)
	}
	for i := range 10 { // nonsense
		o.Vote(from(100+i), netip.MustParseAddr("10.0.0.1"))
		o.Vote(from(100+i), netip.MustParseAddr("127.0.0.1"))
	}
	check(netip.IPv4Unspecified(), netip.IPv6Unspecified())
	for i := range addressQuorum {
		o.Vote(from(10+i), four)
		o.Vote(from(20+i), six)
	}
	check(four, six)
	for i := range addressVoters { // we have moved
		o.Vote(from(30+i), other)
	}
	check(other, netip.IPv6Unspecified())
}
