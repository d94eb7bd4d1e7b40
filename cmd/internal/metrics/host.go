package metrics

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// hosts are the values of Host that a server accepts.
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

// has reports whether a Host header is accepted. Addresses are, since nobody can redirect
// them as a name; a server on loopback accepts only loopback addresses.
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

// hostCheck refuses requests with other hosts.
type hostCheck struct {
	http.Handler
	hosts hosts
}

func (c hostCheck) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.hosts.has(r.Host) {
		http.Error(w, "this is not the name of weir's metrics: use the address or the name that --metrics has", http.StatusForbidden)
		return
	}
	c.Handler.ServeHTTP(w, r)
}
