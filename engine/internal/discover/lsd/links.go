package lsd

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"
)

const (
	// maxLinks bounds the networks that are joined: on Linux a socket can be a member of
	// 20 groups.
	maxLinks = 20
	// maxInterfaces bounds how many interfaces are looked at: hosts of containers have
	// hundreds.
	maxInterfaces = 256
)

// link is an interface that leads to a local network. A Wi-Fi interface that has joined
// another network is another link.
type link struct {
	index    int
	name     string
	networks string // that its addresses are of
}

// localLinks returns the local networks that there are now.
func localLinks() ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var links []link
	for _, i := range linkInterfaces(all) {
		if len(links) == maxInterfaces {
			break
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just vanished
		}
		links = append(links, link{i.Index, i.Name, networksOf(addrs)})
	}
	return links, nil
}

// linkInterfaces returns those of all that lead to a local network: up, connected, with
// multicast, no loopback, and no point-to-point line (a provider's or a VPN).
func linkInterfaces(all []net.Interface) []net.Interface {
	const need, not = net.FlagUp | net.FlagRunning | net.FlagMulticast, net.FlagLoopback | net.FlagPointToPoint
	return slices.DeleteFunc(slices.Clone(all), func(i net.Interface) bool { return i.Flags&need != need || i.Flags&not != 0 })
}

// networksOf returns the networks that addresses belong to. It stays the same when an
// address within a network changes, as those of IPv6 do every day.
func networksOf(addrs []net.Addr) string {
	var networks []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			networks = append(networks, (&net.IPNet{IP: n.IP.Mask(n.Mask), Mask: n.Mask}).String())
		}
	}
	slices.Sort(networks)
	return strings.Join(slices.Compact(networks), " ")
}

// routed reports whether the link has more than a link-local address.
func (l link) routed() bool {
	for n := range strings.FieldsSeq(l.networks) {
		if p, err := netip.ParsePrefix(n); err == nil && !p.Addr().IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

// linkChanges returns the links to join, those with addresses first, and the joined ones
// to leave, given the links that there are now.
func linkChanges(joined, now []link) (come, gone []link) {
	for _, l := range joined {
		if !slices.Contains(now, l) {
			gone = append(gone, l)
		}
	}
	for _, l := range now {
		if !slices.Contains(joined, l) {
			come = append(come, l)
		}
	}
	slices.SortStableFunc(come, func(a, b link) int {
		rank := func(l link) int {
			if l.routed() {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(a), rank(b))
	})
	return come[:min(len(come), maxLinks-(len(joined)-len(gone)))], gone
}
