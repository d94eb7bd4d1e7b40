package lsd

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/weirfs/weir"
)

func TestOnLink(t *testing.T) {
	var networks []net.Addr
	for _, s := range []string{"192.168.1.7/24", "127.0.0.1/8", "2001:db8:0:1::7/64", "::1/128"} {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		networks = append(networks, &net.IPNet{IP: ip, Mask: n.Mask})
	}
	for s, want := range map[string]bool{
		"192.168.1.99": true, "::ffff:192.168.1.99": true, "192.168.2.1": false, "10.0.0.1": false, "8.8.8.8": false, "127.0.0.9": true,
		"2001:db8:0:1::99": true, "2001:db8:0:2::1": false, "2001:4860::1": false, "fe80::5%eth0": true, "::1": true,
	} {
		if got := within(networks, netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if !onLink(netip.MustParseAddr("127.0.0.1")) || onLink(netip.MustParseAddr("203.0.113.5")) {
		t.Error("of this machine")
	}
}

// TestHops: what is sent to a group passes no router.
func TestHops(t *testing.T) {
	gets := map[string]func(fd int) (int, error){
		"udp4": func(fd int) (int, error) {
			return syscall.GetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_MULTICAST_TTL)
		},
		"udp6": func(fd int) (int, error) {
			return syscall.GetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_HOPS)
		},
	}
	for network, get := range gets {
		conn, err := net.ListenPacket(network, ":0")
		if err != nil {
			t.Skip("no ", network, ": ", err)
		}
		defer conn.Close()
		group := group4
		if network == "udp6" {
			group = group6
		}
		f := familyOf(group.Addr())
		if f.network != network {
			t.Errorf("%s for a group of %s", f.network, network)
		}
		udp := conn.(*net.UDPConn)
		if err := control(udp, f.hops); err != nil {
			t.Fatal(err)
		}
		var hops int
		err = control(udp, func(fd int) (err error) { hops, err = get(fd); return err })
		if err != nil || hops != 1 {
			t.Errorf("%s: %d hops, %v", network, hops, err)
		}
	}
}

// TestServiceHearsItsOwnNetworkOnly: a message from elsewhere counts for nothing.
func TestServiceHearsItsOwnNetworkOnly(t *testing.T) {
	l := openLAN(t, group4, 1)
	p := join(t, l.options(0, 4001), testHash)
	eventually(t, "it has spoken", func() bool { return l.sent.Load() == 1 })
	m := message{port: 7, hashes: []weir.InfoHash{testHash}, cookie: "stranger"}
	p.s.hear(ap("203.0.113.5:6771"), m.append(nil, l.group))
	p.s.hear(ap("127.0.0.9:6771"), m.append(nil, l.group))
	if got := <-p.found; got != "127.0.0.9:7" {
		t.Errorf("found %q", got)
	}
}
