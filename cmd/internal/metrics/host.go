package metrics

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// hosts are the names by which a server may be called.
type hosts struct {
	names    []string
	loopback bool // it listens on loopback only
}

// newHosts returns those of a server that listens at host:port.
func newHosts(addr string) hosts {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	h := hosts{names: []string{"localhost"}}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Unmap().IsLoopback(), strings.EqualFold(host, "localhost"):
		h.loopback = true
		return h
	case err != nil && host != "":
		h.names = append(h.names, strings.ToLower(host))
	}
	if own, err := os.Hostname(); err == nil && own != "" {
		short, _, _ := strings.Cut(own, ".")
		h.names = append(h.names, strings.ToLower(own), strings.ToLower(short), strings.ToLower(short)+".local")
	}
	return h
}

// has reports whether a Host header is one of these. An address can't be made to
// mean another machine, as a name can; but a server on loopback has no others.
func (h hosts) has(header string) bool {
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return !h.loopback || ip.Unmap().IsLoopback()
	}
	for _, name := range h.names {
		if host == name {
			return true
		}
	}
	return strings.HasSuffix(host, ".localhost")
}

// hostCheck answers requests by other names itself.
type hostCheck struct {
	http.Handler
	hosts hosts
}

func (c hostCheck) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.hosts.has(r.Host) {
		http.Error(w, "weir's metrics are not called that: use the address or the name that --metrics has", http.StatusForbidden)
		return
	}
	c.Handler.ServeHTTP(w, r)
}
