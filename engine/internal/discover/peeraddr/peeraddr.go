// Package peeraddr reads and writes the compact addresses of peers and DHT nodes (BEP 5,
// 7, 11, 23), and tells which of them can be dialed. What an address is worth, and who
// dials it, does not belong here.
package peeraddr

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Lengths of a compact address: an IP address and a port.
const (
	Bytes4 = 6  // of IPv4
	Bytes6 = 18 // of IPv6
)

// Parse reads compact addresses of size bytes each, at most most of them. A remainder is
// ignored.
func Parse(b []byte, size, most int) []netip.AddrPort {
	n := min(len(b)/size, most)
	if n == 0 {
		return nil
	}
	out := make([]netip.AddrPort, 0, n)
	for ; n > 0; n-- {
		ip, _ := netip.AddrFromSlice(b[:size-2])
		out = append(out, netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[size-2:])))
		b = b[size:]
	}
	return out
}

// Append appends the compact form of a: 6 bytes for IPv4, 18 for IPv6.
func Append(b []byte, a netip.AddrPort) []byte {
	b = append(b, a.Addr().Unmap().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// Usable reports whether an address from outside can be dialed. An address on loopback
// counts only if it came from loopback: nobody else may send us to this machine.
func Usable(a netip.AddrPort, fromLoopback bool) bool {
	ip := a.Addr().Unmap()
	switch {
	case !ip.IsValid(), a.Port() == 0, ip.IsUnspecified(), ip.IsMulticast(), ip.IsInterfaceLocalMulticast():
		return false
	case ip.Is4() && (ip.As4()[0] == 0 || ip.As4()[0] >= 240):
		return false // "this network" and reserved, broadcast included
	case ip.IsLoopback():
		return fromLoopback
	}
	return true
}

// Filter keeps the usable addresses, in place.
func Filter(addrs []netip.AddrPort, fromLoopback bool) []netip.AddrPort {
	out := addrs[:0]
	for _, a := range addrs {
		if Usable(a, fromLoopback) {
			out = append(out, Unmap(a))
		}
	}
	return out
}

// Unmap returns an IPv4 address in IPv6 form as such.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// OfUDP returns the address of a UDP socket or packet, IPv4 as such.
func OfUDP(a net.Addr) (netip.AddrPort, bool) {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap := u.AddrPort()
	return Unmap(ap), ap.IsValid()
}
