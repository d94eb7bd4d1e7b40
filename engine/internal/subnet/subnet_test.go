package subnet_test

import (
	"net/netip"
	"testing"

	"github.com/weirfs/weir/engine/internal/subnet"
)

func TestCustomer(t *testing.T) {
	for ip, want := range map[string]string{
		"198.51.100.7":        "198.51.100.7/32",
		"::ffff:198.51.100.7": "198.51.100.7/32",
		"2001:db8:1:2:3::7":   "2001:db8:1:2::/64",
		"fe80::1%eth0":        "fe80::/64",
		"127.0.0.9":           "127.0.0.9/32",
		"::ffff:127.0.0.9":    "127.0.0.9/32",
		"::1":                 "::1/128",
		"::":                  "::/64",
		"10.0.0.1":            "10.0.0.1/32",
	} {
		if got := subnet.Customer(netip.MustParseAddr(ip)).String(); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	if p := subnet.Customer(netip.Addr{}); p.IsValid() {
		t.Errorf("of no address: %v", p)
	}
}

func TestOf(t *testing.T) {
	for _, c := range []struct {
		ip           string
		bits4, bits6 int
		want         string
	}{
		{"198.51.100.7", 24, 64, "198.51.100.0/24"},
		{"::ffff:198.51.100.7", 24, 48, "198.51.100.0/24"},
		{"2001:db8:1:2:3::7", 24, 48, "2001:db8:1::/48"},
		{"fe80::1%eth0", 24, 64, "fe80::/64"},
		{"127.0.0.9", 24, 64, "127.0.0.0/24"},
	} {
		if got := subnet.Of(netip.MustParseAddr(c.ip), c.bits4, c.bits6).String(); got != c.want {
			t.Errorf("%s/%d/%d: %s, want %s", c.ip, c.bits4, c.bits6, got, c.want)
		}
	}
	if p := subnet.Of(netip.Addr{}, 24, 64); p.IsValid() {
		t.Errorf("of no address: %v", p)
	}
	if p := subnet.Of(netip.MustParseAddr("192.0.2.1"), 33, 64); p.IsValid() {
		t.Errorf("of too many bits: %v", p)
	}
}
