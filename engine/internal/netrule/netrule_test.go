package netrule_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirfs/weir/engine/internal/netrule"
)

func TestInside(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1": "loopback", "127.0.0.99": "loopback", "127.255.255.255": "loopback", "0.0.0.0": "loopback", "0.1.2.3": "loopback",
		"10.0.0.1": "private", "10.255.255.255": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private",
		"100.64.0.1": "private", "100.127.255.255": "private", "100.100.100.200": "private", "192.0.0.192": "private",
		"169.254.169.254": "link-local", "168.63.129.16": "metadata", "224.0.0.1": "multicast", "239.255.255.250": "multicast", "240.0.0.1": "reserved", "255.255.255.255": "reserved",
		"::": "loopback", "::1": "loopback", "fe80::1": "link-local", "fe80::1%eth0": "link-local", "febf::1": "link-local", "fec0::1": "private",
		"fc00::1": "private", "fd00:ec2::254": "private", "ff02::1": "multicast", "64:ff9b:1::1": "private",
		// IPv4 in IPv6.
		"::ffff:127.0.0.1": "loopback", "::ffff:169.254.169.254": "link-local", "::127.0.0.1": "loopback", "::ffff:0:10.0.0.1": "private",
		"64:ff9b::127.0.0.1": "loopback", "64:ff9b::a9fe:a9fe": "link-local", "2002:7f00:1::": "loopback", "2002:a9fe:a9fe::1": "link-local", "2002:c0a8:101::1": "private",
		"2001:0:1:2:3:4:80ff:fffe": "loopback", "2001:0:1:2:3:4:3f57:fefe": "private",
		"2001:db8::5efe:10.0.0.1": "private", "2001:db8::200:5efe:192.168.0.1": "private",
		// Not inside.
		"9.255.255.255": "", "11.0.0.0": "", "172.15.255.255": "", "172.32.0.0": "", "192.167.255.255": "", "192.169.0.0": "", "100.63.255.255": "", "100.128.0.0": "",
		"169.253.255.255": "", "169.255.0.0": "", "126.255.255.255": "", "128.0.0.0": "", "1.0.0.0": "", "223.255.255.255": "", "198.18.0.1": "", "192.0.2.1": "", "203.0.113.9": "",
		"2606:4700::1111": "", "2002:808:808::1": "", "64:ff9b::8.8.8.8": "", "::ffff:8.8.8.8": "", "2001:0:7f00:1::f7f7:f7f7": "", "fbff::1": "", "fe00::1": "", "2001:db8::5eff:10.0.0.1": "", "2001:db8::500:5efe:10.0.0.1": "", "2001:db8::1:5efe:10.0.0.1": "", "2001:db8::5dfe:10.0.0.1": "",
	} {
		if got := netrule.Inside(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if netrule.Inside(netip.Addr{}) == "" {
		t.Error("no address counts as public")
	}
}

func TestJudge(t *testing.T) {
	in, out := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("203.0.113.9")
	for _, c := range []struct {
		name string
		f    netrule.Facts
		ok   bool
	}{
		{"public torrent URL of content", netrule.Facts{Addr: out, Path: "/x"}, true},
		{"public from public", netrule.Facts{Addr: out, FromPublic: true}, true},
		{"typed", netrule.Facts{Addr: in, Typed: true, Path: "/admin"}, true},
		{"typed, redirected from public", netrule.Facts{Addr: in, Typed: true, FromPublic: true, Path: "/announce"}, false},
		{"content", netrule.Facts{Addr: in, Path: "/x.torrent"}, false},
		{"content with a tracker's path", netrule.Facts{Addr: in, Path: "/announce"}, false},
		{"tracker", netrule.Facts{Addr: in, Tracker: true, Path: "/announce"}, true},
		{"tracker with a slash", netrule.Facts{Addr: in, Tracker: true, Path: "/announce/"}, true},
		{"tracker below", netrule.Facts{Addr: in, Tracker: true, Path: "/announce/key/x"}, true},
		{"tracker redirected from public", netrule.Facts{Addr: in, Tracker: true, Path: "/announce", FromPublic: true}, false},
		{"tracker elsewhere", netrule.Facts{Addr: in, Tracker: true, Path: "/admin"}, false},
		{"no path", netrule.Facts{Addr: in, Tracker: true}, false},
		{"prefix only", netrule.Facts{Addr: in, Tracker: true, Path: "/announced"}, false},
		{"later", netrule.Facts{Addr: in, Tracker: true, Path: "/x/announce"}, false},
		{"case", netrule.Facts{Addr: in, Tracker: true, Path: "/Announce"}, false},
		{"up", netrule.Facts{Addr: in, Tracker: true, Path: "/announce/../admin"}, false},
		{"up at the end", netrule.Facts{Addr: in, Tracker: true, Path: "/announce/.."}, false},
		{"up, other slash", netrule.Facts{Addr: in, Tracker: true, Path: `/announce/..\admin`}, false},
		{"up, with a parameter", netrule.Facts{Addr: in, Tracker: true, Path: "/announce/..;/admin"}, false},
		{"escaped twice", netrule.Facts{Addr: in, Tracker: true, Path: "/announce/%2e%2e/admin"}, false},
		{"doubled slash", netrule.Facts{Addr: in, Tracker: true, Path: "/announce//admin"}, false},
	} {
		err := netrule.Rule{}.Judge(c.f)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && (!errors.Is(err, netrule.ErrInside) || !strings.Contains(err.Error(), "192.168.1.1") || !strings.Contains(err.Error(), "--allow-private")) {
			t.Errorf("%s: %v does not say what was refused and what allows it", c.name, err)
		}
		if err := (netrule.Rule{AllowPrivate: true}).Judge(c.f); err != nil {
			t.Errorf("%s with AllowPrivate: %v", c.name, err)
		}
	}
}
