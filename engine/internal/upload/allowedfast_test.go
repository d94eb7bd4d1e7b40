package upload

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/weirfs/weir"
)

// TestAllowedFast has the examples of BEP 6.
func TestAllowedFast(t *testing.T) {
	ih := weir.InfoHash(bytes.Repeat([]byte{0xaa}, 20))
	ip := netip.MustParseAddr("80.4.4.200")
	want := []int{1059, 431, 808, 1217, 287, 376, 1188, 353, 508}
	for _, k := range []int{7, 9} {
		if got := allowedFast(ip, ih, 1313, k); !slices.Equal(got, want[:k]) {
			t.Errorf("%d pieces: %v, want %v", k, got, want[:k])
		}
	}
	for other, same := range map[string]bool{
		"80.4.4.1": true, "::ffff:80.4.4.7": true, "80.4.5.200": false, "2001:db8::1": false,
	} {
		if got := allowedFast(netip.MustParseAddr(other), ih, 1313, 9); slices.Equal(got, want) != same {
			t.Errorf("%s: %v", other, got)
		}
	}
	a, b := netip.MustParseAddr("2001:db8:1:2::1"), netip.MustParseAddr("2001:db8:1:2:ffff::9%eth0")
	if got := allowedFast(a, ih, 1313, 9); !slices.Equal(got, allowedFast(b, ih, 1313, 9)) || len(got) != 9 {
		t.Errorf("one network of IPv6 has several sets: %v", got)
	}
	for _, n := range []int{1, 3, 10} {
		got := allowedFast(ip, ih, n, 10)
		slices.Sort(got)
		if len(slices.Compact(got)) != n || got[n-1] != n-1 {
			t.Errorf("%d pieces: %v, want all", n, got)
		}
	}
}
