package connlimit

import (
	"net/netip"

	"github.com/weirfs/weir/engine/internal/subnet"
)

// Bounds on connections over all torrents. They are above one because several honest
// peers may be behind one NAT, and one peer may share several torrents with us.
const (
	maxPerAddress = 16 // for an IPv4 address or an IPv6 /64
	maxPerNetwork = 48 // for an IPv4 /24 or an IPv6 /48
)

// networks returns the networks in which an address is counted, the narrowest first:
// what one customer has (IPv4 /32, IPv6 /64), and the /24 or /48 around that. An address
// of this machine is counted by itself.
func networks(ip netip.Addr) []netip.Prefix {
	switch {
	case !ip.IsValid():
		return nil
	case ip.Unmap().IsLoopback():
		return []netip.Prefix{subnet.Customer(ip)}
	}
	return []netip.Prefix{subnet.Customer(ip), subnet.Of(ip, 24, 48)}
}

// carrierNAT has the addresses of customers behind a provider's NAT (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// near reports whether an address is of this machine or a private network. Behind a
// proxy or a NAT all peers may come from one such address.
func near(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || carrierNAT.Contains(ip)
}

// allows reports whether there may be one more connection with an address. Near
// addresses are only bounded by the limit of all connections.
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
