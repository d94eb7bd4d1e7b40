package peeraddr

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// TestUsable: which addresses that somebody told us can be dialed.
func TestUsable(t *testing.T) {
	for addr, want := range map[string][2]bool{ // from elsewhere, from this machine
		"8.8.8.8:1": {true, true}, "10.0.0.1:65535": {true, true}, "[2001:db8::1]:5": {true, true}, "169.254.1.1:5": {true, true}, "[fe80::1]:5": {true, true},
		"127.0.0.1:5": {false, true}, "[::1]:5": {false, true}, "[::ffff:127.0.0.1]:5": {false, true}, "[::ffff:8.8.8.8]:5": {true, true},
		"8.8.8.8:0": {}, "0.0.0.0:5": {}, "0.255.255.255:5": {}, "1.0.0.0:5": {true, true}, "[::]:5": {}, "224.0.0.1:5": {}, "239.255.255.255:5": {},
		"240.0.0.0:5": {}, "255.255.255.255:5": {}, "223.255.255.255:5": {true, true}, "[ff02::1]:5": {}, "[ff01::1]:5": {}, "[::ffff:224.0.0.1]:5": {}, "[::ffff:0.1.2.3]:5": {},
	} {
		for i, from := range []bool{false, true} {
			if got := Usable(ap(addr), from); got != want[i] {
				t.Errorf("%s, told from this machine %v: %v", addr, from, got)
			}
		}
	}
	if Usable(netip.AddrPort{}, true) {
		t.Error("no address can be dialed")
	}
	got := Filter([]netip.AddrPort{ap("[::ffff:8.8.8.8]:5"), ap("0.0.0.0:1"), ap("127.0.0.1:3"), ap("[2001:db8::1]:9")}, false)
	if !slices.Equal(got, []netip.AddrPort{ap("8.8.8.8:5"), ap("[2001:db8::1]:9")}) {
		t.Errorf("usable are %v", got)
	}
}

// TestCompactRoundTrip: what is written is read, as much as is asked for, and what is
// left over at the end is not.
func TestCompactRoundTrip(t *testing.T) {
	for size, addrs := range map[int][]netip.AddrPort{
		Bytes4: {ap("1.2.3.4:258"), ap("255.0.0.1:65535"), ap("0.0.0.0:0")},
		Bytes6: {ap("[2001:db8::1]:258"), ap("[::1]:1")},
	} {
		var b []byte
		for _, a := range addrs {
			b = Append(b, a)
		}
		if len(b) != size*len(addrs) {
			t.Fatalf("%d bytes for %d addresses", len(b), len(addrs))
		}
		for extra := range size {
			if got := Parse(append(slices.Clip(b), make([]byte, extra)...), size, 100); !slices.Equal(got, addrs) {
				t.Errorf("with %d bytes more: %v", extra, got)
			}
		}
		for most := range len(addrs) {
			if got := Parse(b, size, most); !slices.Equal(got, addrs[:most]) {
				t.Errorf("at most %d: %v", most, got)
			}
		}
	}
	if got := Parse(Append(make([]byte, 0, 18), ap("[::ffff:1.2.3.4]:5")), Bytes4, 9); len(got) != 1 || got[0] != ap("1.2.3.4:5") {
		t.Errorf("an IPv4 address in IPv6 form: %v", got)
	}
}

func TestOfUDP(t *testing.T) {
	if a, ok := OfUDP(&net.UDPAddr{IP: net.ParseIP("1.2.3.4"), Port: 5}); !ok || a != ap("1.2.3.4:5") {
		t.Errorf("%v, %v", a, ok)
	}
	for _, a := range []net.Addr{&net.TCPAddr{IP: net.ParseIP("1.2.3.4"), Port: 5}, &net.UDPAddr{}} {
		if got, ok := OfUDP(a); ok {
			t.Errorf("%v: %v", a, got)
		}
	}
}
