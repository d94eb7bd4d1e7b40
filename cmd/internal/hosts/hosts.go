// Package hosts checks the Host header of HTTP requests, so that no web page can reach a server
// of weir through a name that the page's owner controls (DNS rebinding).
//
// What must not live here: who may do what.
package hosts

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// Hosts are the values of Host that a server accepts.
type Hosts struct {
	names    []string
	loopback bool // it listens on loopback only
}

// Of returns those of a server that listens at host:port: its own addresses and names, and
// more names that the user gave.
func Of(addr string, more ...string) Hosts {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	h := Hosts{names: []string{"localhost"}}
	for _, name := range more {
		h.names = append(h.names, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
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

// Loopback reports whether the server listens on addresses of this machine alone.
func (h Hosts) Loopback() bool { return h.loopback }

// Has reports whether a Host header is accepted. Addresses are, since nobody can redirect
// them as a name; a server on loopback accepts only loopback addresses.
func (h Hosts) Has(header string) bool {
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

// Check returns a handler that refuses requests with other hosts with a message.
func (h Hosts) Check(next http.Handler, message string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.Has(r.Host) {
			http.Error(w, message, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
