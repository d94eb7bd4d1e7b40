package connlimit

import (
	"net/netip"

	"github.com/weirfs/weir/engine/internal/subnet"
)

// How many connections the peers of one address may have, all torrents together,
// and those of one network. A NAT hides several honest peers, and one peer may have
// several torrents in common with us. For an IPv6 customer's /64 the first counts,
// for the /48 or IPv4 /24 around the second.
const (
	maxPerAddress = 16
	maxPerNetwork = 48
)

// networks returns what an address is counted with, the narrowest first: its
// customer, and the IPv4 /24 or IPv6 /48 around that. Addresses of this machine count
// by themselves.
func networks(ip netip.Addr) []netip.Prefix {
	switch {
	case !ip.IsValid():
		return nil
	case ip.Unmap().IsLoopback():
		return []netip.Prefix{subnet.Customer(ip)}
	}
	return []netip.Prefix{subnet.Customer(ip), subnet.Of(ip, 24, 48)}
}

// carrier is what providers share out among customers behind their NAT (RFC 6598).
var carrier = netip.MustParsePrefix("100.64.0.0/10")

// near reports whether an address is of this machine or its surroundings, where a
// single one may stand for everybody there is.
func near(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || carrier.Contains(ip)
}

// allows reports whether there may be one more connection with an address. Those
// nearby have no bound but the one for all.
func (l *Limiter) allows(ip netip.Addr) bool {
	if near(ip) {
		return true
	}
	for i, p := range networks(ip) {
		if l.networks[p] >= []int{maxPerAddress, maxPerNetwork}[i] {
			return false
		}
	}
	return true
}
