// Package netrule decides which addresses a URL may lead to, so that a torrent, a
// magnet, a tracker or a web server cannot make weir send requests to the services
// of this machine and of its network (SSRF).
//
// Rule is pure: facts in, a verdict with its reason out. Trip and Control ask it
// about the address that is dialed, after names are resolved, since a name may resolve
// to another address the next time. This package is not for connections to peers: a peer
// in the same network is welcome, and is sent a BitTorrent handshake and nothing that
// anybody else chose.
//
// What must not live here: what is asked of whom, and how answers are read.
package netrule

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"
)

// ErrInside is wrapped by all refusals.
var ErrInside = errors.New("not allowed from outside")

// announcePath is the path beneath which inside trackers are.
const announcePath = "/announce"

// Facts are what a verdict depends on.
type Facts struct {
	Addr netip.Addr // about to be dialed
	// Typed says that the user named the URL, on the command line or in the
	// settings. Whatever else names one is content: torrents, magnets, files in
	// watched folders.
	Typed bool
	// Tracker says that this is an announce or a scrape.
	Tracker bool
	// Path of the URL, decoded. For a scrape it is that of the announce.
	Path string
	// FromPublic says that a server at a public address has redirected here.
	FromPublic bool
}

// Rule judges addresses.
type Rule struct {
	AllowPrivate bool // allow all
}

// Judge returns nil if the address may be dialed, or an error that wraps ErrInside
// and says what was refused and what allows it.
func (r Rule) Judge(f Facts) error {
	kind := Inside(f.Addr)
	switch {
	case r.AllowPrivate || kind == "":
		return nil
	case f.FromPublic:
		return fmt.Errorf("a server on the internet redirects to %s, a %s address: %w; --allow-private allows it", f.Addr, kind, ErrInside)
	case f.Typed:
		return nil
	case f.Tracker && isAnnounce(f.Path):
		return nil
	case f.Tracker:
		return fmt.Errorf("%s is a %s address, where a tracker's path must be %s: %w; --allow-private allows others", f.Addr, kind, announcePath, ErrInside)
	}
	return fmt.Errorf("%s is a %s address, which only you may name, on the command line: %w; --allow-private allows it", f.Addr, kind, ErrInside)
}

// isAnnounce reports whether every server takes a path for /announce or one below it: a
// path that is not in its shortest form may mean another to some of them.
func isAnnounce(p string) bool {
	if p != announcePath && !strings.HasPrefix(p, announcePath+"/") || strings.ContainsAny(p, "\\\x00;%") {
		return false
	}
	clean := path.Clean(p)
	return clean == p || clean+"/" == p
}

// insideRanges are what the internet does not route, with a word for each. Of
// ranges that lie within each other the first counts. 198.18.0.0/15 (benchmarks)
// is not among them: VPN programs give addresses there to public names.
var insideRanges = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("0.0.0.0/8"), "loopback"}, // Linux takes 0.0.0.0 for this machine
	{netip.MustParsePrefix("::/128"), "loopback"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "private"}, // of a provider's NAT; metadata at one cloud
	{netip.MustParsePrefix("192.0.0.0/24"), "private"},  // protocol assignments; metadata at one cloud
	{netip.MustParsePrefix("168.63.129.16/32"), "metadata"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"}, // metadata of most clouds
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "private"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "private"}, // a network's own NAT64
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"}, // broadcast included
}

// Inside returns what kind of address of this machine or its network a is, or ""
// if it is a public one. An IPv6 address that leads to an IPv4 one counts as that.
func Inside(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return "invalid"
	}
	for _, r := range insideRanges {
		if r.prefix.Contains(a) {
			return r.kind
		}
	}
	for _, v4 := range embedded(a) {
		if kind := Inside(v4); kind != "" {
			return kind
		}
	}
	return ""
}

// embeddings are the prefixes of IPv6 addresses that contain an IPv4 address, and where.
var embeddings = []struct {
	prefix netip.Prefix
	off    int
	not    byte // its bytes are XORed with this
}{
	{netip.MustParsePrefix("::/96"), 12, 0},           // IPv4-compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12, 0}, // SIIT
	{netip.MustParsePrefix("64:ff9b::/96"), 12, 0},    // NAT64
	{netip.MustParsePrefix("2002::/16"), 2, 0},        // 6to4
	{netip.MustParsePrefix("2001::/32"), 12, 0xff},    // Teredo
}

// embedded returns the IPv4 addresses that an IPv6 one leads to.
func embedded(a netip.Addr) (all []netip.Addr) {
	if !a.Is6() {
		return nil
	}
	b := a.As16()
	add := func(off int, not byte) {
		v4 := [4]byte(b[off:])
		for i := range v4 {
			v4[i] ^= not
		}
		all = append(all, netip.AddrFrom4(v4))
	}
	for _, e := range embeddings {
		if e.prefix.Contains(a) {
			add(e.off, e.not)
		}
	}
	if b[8]&^3 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP
		add(12, 0)
	}
	return all
}
