package source

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
)

// The bounds on addresses in one source. More are left out: nobody needs them, and each
// may cost us a connection.
const (
	maxTrackers = 200
	maxWebSeeds = 200
	maxPeers    = 1000
	maxNodes    = 100
	maxURLBytes = 4096
)

// ParsePeer checks the address of a peer and returns it as host:port, an IPv6
// address in brackets. The host is an IP address or a name, which is not looked
// up; the port is 1 to 65535. The error wraps weir.ErrInvalid.
func ParsePeer(s string) (string, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		if ap.Port() == 0 || ap.Addr().IsUnspecified() {
			return "", weir.Errorf(weir.ErrInvalid, "peer %s: no peer can listen at this address", quote(s))
		}
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String(), nil
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", weir.Errorf(weir.ErrInvalid, "peer %s: want host:port, as in 192.0.2.1:6881", quote(s))
	}
	host, port := s[:i], s[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", weir.Errorf(weir.ErrInvalid, "peer %s: want a port from 1 to 65535", quote(s))
	}
	if !hostName(host) {
		return "", weir.Errorf(weir.ErrInvalid, "peer %s: want host:port, as in 192.0.2.1:6881 or [2001:db8::1]:6881", quote(s))
	}
	return s, nil
}

// ParseTracker checks an announce URL. The error wraps weir.ErrInvalid.
func ParseTracker(s string) (string, error) {
	u, ok := usableURL(s, trackerSchemes...)
	if !ok {
		return "", weir.Errorf(weir.ErrInvalid, "tracker %s: want a URL with http, https or udp, as in udp://tracker.example.org:6969/announce", quote(redact(s)))
	}
	return u, nil
}

// ParseWebSeed checks the URL of a web seed. The error wraps weir.ErrInvalid.
func ParseWebSeed(s string) (string, error) {
	u, ok := usableURL(s, webSeedSchemes...)
	if !ok {
		return "", weir.Errorf(weir.ErrInvalid, "web seed %s: want a URL with http or https, as in https://example.org/files/", quote(redact(s)))
	}
	return u, nil
}

var (
	trackerSchemes = []string{"http", "https", "udp"}
	webSeedSchemes = []string{"http", "https"}
)

// hostName reports whether s looks like a DNS name. Its last label is never a number:
// that is a mistyped address.
func hostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// usableURL trims s, and reports whether it is a URL with a host and one of schemes.
func usableURL(s string, schemes ...string) (string, bool) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxURLBytes {
		return "", false
	}
	u, err := url.Parse(s)
	return s, err == nil && u.Hostname() != "" && slices.Contains(schemes, u.Scheme) // Parse lowers the scheme
}

// trackerTiers collects announce URLs, each once.
type trackerTiers struct {
	tiers [][]string
	n     int
}

// add appends urls as one tier (BEP 12), without those that we can't use.
func (t *trackerTiers) add(urls ...string) {
	var tier []string
	for _, s := range urls {
		s, ok := usableURL(s, trackerSchemes...)
		if !ok || t.n == maxTrackers || slices.Contains(tier, s) || t.has(s) {
			continue
		}
		tier = append(tier, s)
		t.n++
	}
	if tier != nil {
		t.tiers = append(t.tiers, tier)
	}
}

func (t *trackerTiers) has(s string) bool {
	return slices.ContainsFunc(t.tiers, func(tier []string) bool { return slices.Contains(tier, s) })
}

// addList reads an announce-list. v is well formed. Anything but a list of lists of
// strings is ignored; a bare string counts as a tier.
func (t *trackerTiers) addList(v *bencode.Cursor) {
	if v.Kind() != bencode.List {
		return
	}
	_ = v.List(func() error {
		tier, err := stringsAt(v)
		t.add(tier...)
		return err
	})
}

// dhtNodes collects nodes of the DHT (BEP 5), as host:port, each once.
type dhtNodes struct{ nodes []string }

func (d *dhtNodes) add(s string) {
	s, err := ParsePeer(s)
	if err == nil && len(d.nodes) < maxNodes && !slices.Contains(d.nodes, s) {
		d.nodes = append(d.nodes, s)
	}
}

// addList reads the nodes of a .torrent, a list of lists of a host and a port. v is well
// formed; anything else is ignored.
func (d *dhtNodes) addList(v *bencode.Cursor) {
	if v.Kind() != bencode.List {
		return
	}
	_ = v.List(func() error {
		if v.Kind() != bencode.List {
			return v.Skip()
		}
		var host string
		var port int64
		err := v.List(func() error {
			switch v.Kind() {
			case 's':
				s, err := v.String()
				host = cmp.Or(host, string(s))
				return err
			case 'i':
				n, err := v.Int()
				port = cmp.Or(port, n)
				return err
			}
			return v.Skip()
		})
		if strings.Contains(host, ":") { // IPv6
			host = "[" + host + "]"
		}
		d.add(host + ":" + strconv.FormatInt(port, 10))
		return err
	})
}

// webSeeds collects URLs of web seeds, each once.
type webSeeds struct{ urls []string }

func (w *webSeeds) add(s string) {
	s, ok := usableURL(s, webSeedSchemes...)
	if ok && len(w.urls) < maxWebSeeds && !slices.Contains(w.urls, s) {
		w.urls = append(w.urls, s)
	}
}

// addList reads a url-list (BEP 19), which is a string or a list of them.
func (w *webSeeds) addList(v *bencode.Cursor) {
	urls, _ := stringsAt(v) // well formed
	for _, s := range urls {
		w.add(s)
	}
}

// stringsAt consumes a value and returns its strings: one, or those of a list.
func stringsAt(v *bencode.Cursor) (all []string, err error) {
	one := func() error {
		if v.Kind() != bencode.String {
			return v.Skip()
		}
		s, err := v.String()
		if len(all) < maxTrackers*2 { // room for some that are of no use
			all = append(all, string(s))
		}
		return err
	}
	if v.Kind() == bencode.List {
		return all, v.List(one)
	}
	return all, one()
}
