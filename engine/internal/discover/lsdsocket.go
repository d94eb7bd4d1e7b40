package discover

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/weirfs/weir"
)

// lsdHops is how many networks a message may come through: none.
const lsdHops = 1

// linkInterfaces returns the interfaces of all that lead to a local network: up, not
// this machine alone, no line to a provider or a VPN, and able of multicast.
func linkInterfaces(all []net.Interface) []net.Interface {
	const need, not = net.FlagUp | net.FlagMulticast, net.FlagLoopback | net.FlagPointToPoint
	return slices.DeleteFunc(slices.Clone(all), func(i net.Interface) bool { return i.Flags&need != need || i.Flags&not != 0 })
}

// onLink reports whether an address is one of a network that this machine is in:
// what comes from elsewhere has passed a router, or says so wrongly.
func onLink(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return err == nil && within(addrs, a)
}

func within(networks []net.Addr, a netip.Addr) bool {
	if a = a.Unmap(); a.Is6() && a.IsLinkLocalUnicast() {
		return true // no router passes it on
	}
	return slices.ContainsFunc(networks, func(n net.Addr) bool {
		p, ok := n.(*net.IPNet)
		return ok && p.Contains(a.WithZone("").AsSlice())
	})
}

// listenGroup opens the sockets of a multicast group on all local networks that
// there are now. What is sent does not come from the socket that receives: Go's
// multicast listener keeps its messages from other programs on this machine.
func listenGroup(group netip.AddrPort) (receive, send net.PacketConn, err error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, nil, err
	}
	links := linkInterfaces(all)
	if len(links) == 0 {
		return nil, nil, fmt.Errorf("no local network: %w", weir.ErrNotFound)
	}
	f := familyOf(group.Addr())
	r, err := net.ListenMulticastUDP(f.network, &links[0], net.UDPAddrFromAddrPort(group))
	if err != nil {
		return nil, nil, err
	}
	for _, link := range links[1:] {
		_ = control(r, func(fd int) error { return f.join(fd, link.Index, group.Addr()) }) // one without the family, say
	}
	conn, err := net.ListenPacket(f.network, ":0")
	if err == nil {
		if err = control(conn.(*net.UDPConn), f.hops); err != nil {
			conn.Close()
		}
	}
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return r, &linkSender{UDPConn: conn.(*net.UDPConn), family: f, links: links}, nil
}

// linkSender sends to each local network in turn. It belongs to one goroutine.
type linkSender struct {
	*net.UDPConn
	family family
	links  []net.Interface
}

func (s *linkSender) WriteTo(b []byte, to net.Addr) (n int, err error) {
	sent := false
	for _, link := range s.links {
		e := control(s.UDPConn, func(fd int) error { return s.family.through(fd, link.Index) })
		if e == nil {
			n, e = s.UDPConn.WriteTo(b, to)
		}
		if e == nil {
			sent = true
		} else {
			err = fmt.Errorf("%s: %w", link.Name, e)
		}
	}
	if sent {
		return len(b), nil
	}
	return n, err
}

// family is what IPv4 and IPv6 call by names of their own.
type family struct {
	network string
	hops    func(fd int) error
	through func(fd, link int) error
	join    func(fd, link int, group netip.Addr) error
}

func familyOf(group netip.Addr) family {
	if group.Is4() {
		return family{
			network: "udp4",
			hops: func(fd int) error {
				return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_MULTICAST_TTL, lsdHops)
			},
			through: func(fd, link int) error {
				return syscall.SetsockoptIPMreqn(fd, syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF, &syscall.IPMreqn{Ifindex: int32(link)})
			},
			join: func(fd, link int, group netip.Addr) error {
				return syscall.SetsockoptIPMreqn(fd, syscall.IPPROTO_IP, syscall.IP_ADD_MEMBERSHIP,
					&syscall.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(link)})
			},
		}
	}
	return family{
		network: "udp6",
		hops: func(fd int) error {
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_HOPS, lsdHops)
		},
		through: func(fd, link int) error {
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_IF, link)
		},
		join: func(fd, link int, group netip.Addr) error {
			return syscall.SetsockoptIPv6Mreq(fd, syscall.IPPROTO_IPV6, syscall.IPV6_JOIN_GROUP,
				&syscall.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(link)})
		},
	}
}

// control calls set with the descriptor of a socket.
func control(conn *net.UDPConn, set func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = set(int(fd)) }); err != nil {
		return err
	}
	return failed
}
