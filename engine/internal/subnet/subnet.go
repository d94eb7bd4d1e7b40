// Package subnet says which addresses are likely one party's: what a provider gives
// one customer, and the networks around that. Whoever counts, bans or grants by
// address counts by these, so that nobody is many by taking other addresses of his own.
//
// It is pure. What must not live here: what is counted, and how many are too many.
package subnet

import "net/netip"

// Of returns the network around an address, of so many bits for IPv4 and IPv6. An
// IPv4 address in IPv6 clothes is one of IPv4, and zones make no difference. It is
// invalid for an invalid address.
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

// Customer returns what one customer of a provider has: an IPv4 address, an IPv6 /64.
// Addresses of this machine stand for themselves.
func Customer(ip netip.Addr) netip.Prefix {
	if ip.Unmap().IsLoopback() {
		return Of(ip, 32, 128)
	}
	return Of(ip, 32, 64)
}
