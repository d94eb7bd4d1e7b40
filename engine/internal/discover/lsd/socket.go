package lsd

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// hops is how far a message goes: to this network and no further.
const hops = 1

// onLink reports whether an address is in a network of this machine. What comes from
// elsewhere has passed a router, or is forged.
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

// listenGroup opens the sockets of a multicast group. They are in no local network before
// send.follow was called. The socket that receives does not send: the messages of Go's
// multicast listener don't reach other programs on this machine.
func listenGroup(group netip.AddrPort) (receive *net.UDPConn, send *linkSender, err error) {
	f := familyOf(group.Addr())
	receive, err = net.ListenUDP(f.network, net.UDPAddrFromAddrPort(group))
	if err != nil {
		return nil, nil, err
	}
	conn, err := net.ListenUDP(f.network, nil)
	if err == nil {
		if err = control(conn, f.hops); err != nil {
			conn.Close()
		}
	}
	if err != nil {
		receive.Close()
		return nil, nil, err
	}
	return receive, &linkSender{UDPConn: conn, receive: receive, group: group.Addr(), family: f}, nil
}

// linkSender sends to each local network in turn. It belongs to one goroutine.
type linkSender struct {
	*net.UDPConn
	receive *net.UDPConn
	group   netip.Addr
	family  family
	links   []link // where receive is a member of the group
}

func (s *linkSender) WriteTo(b []byte, to net.Addr) (n int, err error) {
	sent := len(s.links) == 0 // to nobody
	for _, link := range s.links {
		e := control(s.UDPConn, func(fd int) error { return s.family.through(fd, link.index) })
		if e == nil {
			n, e = s.UDPConn.WriteTo(b, to)
		}
		if e == nil {
			sent = true
		} else {
			err = fmt.Errorf("%s: %w", link.name, e)
		}
	}
	if sent {
		return len(b), nil
	}
	return n, err
}

// follow joins the group on the local networks that have come since the last call and
// leaves it on those that went. It reports whether one has come.
func (s *linkSender) follow() (more bool) {
	now, err := localLinks()
	if err != nil {
		return false // the next call tries again
	}
	come, gone := linkChanges(s.links, now)
	for _, l := range gone {
		// Where the interface has vanished, only the kernel's list of ours is left.
		_ = control(s.receive, func(fd int) error { return s.family.leave(fd, l.index, s.group) })
	}
	s.links = slices.DeleteFunc(s.links, func(l link) bool { return slices.Contains(gone, l) })
	for _, l := range come {
		if control(s.receive, func(fd int) error { return s.family.join(fd, l.index, s.group) }) == nil { // it fails on one without the family
			s.links = append(s.links, l)
			more = true
		}
	}
	return more
}

// family holds what IPv4 and IPv6 do by different names.
type family struct {
	network string
	hops    func(fd int) error
	through func(fd, link int) error
	join    func(fd, link int, group netip.Addr) error
	leave   func(fd, link int, group netip.Addr) error
}

func familyOf(group netip.Addr) family {
	if group.Is4() {
		return family{
			network: "udp4",
			hops: func(fd int) error {
				return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_MULTICAST_TTL, hops)
			},
			through: func(fd, link int) error {
				return syscall.SetsockoptIPMreqn(fd, syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF, &syscall.IPMreqn{Ifindex: int32(link)})
			},
			join: func(fd, link int, group netip.Addr) error {
				return syscall.SetsockoptIPMreqn(fd, syscall.IPPROTO_IP, syscall.IP_ADD_MEMBERSHIP,
					&syscall.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(link)})
			},
			leave: func(fd, link int, group netip.Addr) error {
				return syscall.SetsockoptIPMreqn(fd, syscall.IPPROTO_IP, syscall.IP_DROP_MEMBERSHIP,
					&syscall.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(link)})
			},
		}
	}
	return family{
		network: "udp6",
		hops: func(fd int) error {
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_HOPS, hops)
		},
		through: func(fd, link int) error {
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_IF, link)
		},
		join: func(fd, link int, group netip.Addr) error {
			return syscall.SetsockoptIPv6Mreq(fd, syscall.IPPROTO_IPV6, syscall.IPV6_JOIN_GROUP,
				&syscall.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(link)})
		},
		leave: func(fd, link int, group netip.Addr) error {
			return syscall.SetsockoptIPv6Mreq(fd, syscall.IPPROTO_IPV6, syscall.IPV6_LEAVE_GROUP,
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
