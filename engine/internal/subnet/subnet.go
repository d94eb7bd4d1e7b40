// Package subnet says which addresses probably belong to one party: what a provider
// gives one customer, and the networks around that. Counts and bans by address use
// these, so that nobody evades them by taking another address of his own.
//
// It is pure. What must not live here: what is counted, and how many are too many.
package subnet

import "net/netip"

// Of returns the network around an address, with a prefix of bits4 bits for IPv4 and
// bits6 for IPv6. An IPv4-mapped IPv6 address counts as IPv4, and zones are ignored. The
// result is invalid for an invalid address.
func Of(ip netip.Addr, bits4, bits6 int) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := bits6
	if ip.Is4() {
		bits = bits4
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Customer returns the network that one customer of a provider usually has: an IPv4
// address or an IPv6 /64. A loopback address is a network by itself.
func Customer(ip netip.Addr) netip.Prefix {
	if ip.Unmap().IsLoopback() {
		return Of(ip, 32, 128)
	}
	return Of(ip, 32, 64)
}
