package discover

import (
	"encoding/binary"
	"net/netip"
)

// Lengths of compact addresses: an IP address and a port (BEP 7, 23).
const (
	compact4Bytes = 6
	compact6Bytes = 18
)

// parseCompact reads addresses of size bytes each. A remainder is ignored, and
// so is everything past the first most addresses.
func parseCompact(b []byte, size, most int) []netip.AddrPort {
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

// appendCompact appends the compact form of a: 6 bytes for IPv4, 18 for IPv6.
func appendCompact(b []byte, a netip.AddrPort) []byte {
	b = append(b, a.Addr().Unmap().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// usable reports whether an address that somebody told us can be dialed. Whoever
// is not on this machine can't send us to it: an address on loopback counts
// only from loopback.
func usable(a netip.AddrPort, fromLoopback bool) bool {
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

// usableOnly keeps the usable addresses, in place.
func usableOnly(addrs []netip.AddrPort, fromLoopback bool) []netip.AddrPort {
	out := addrs[:0]
	for _, a := range addrs {
		if usable(a, fromLoopback) {
			out = append(out, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
		}
	}
	return out
}

// hostPorts turns addresses into what a dialer takes.
func hostPorts(addrs []netip.AddrPort) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}
