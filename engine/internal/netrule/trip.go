package netrule

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds on each step of a request, besides the caller's own deadline, and on the header
// of an answer.
const (
	stepTimeout    = 30 * time.Second
	maxHeaderBytes = 64 << 10
)

// Control returns a function for net.Dialer.Control that judges each address to be
// dialed.
func (r Rule) Control(f Facts) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("dial %s: %w", address, ErrInside)
		}
		this := f // addresses of both families are tried side by side
		this.Addr = at.Addr()
		return r.Judge(this)
	}
}

// Trip is one request and its redirects: an http.RoundTripper that judges each hop
// by the address it dials. Connections are not reused, and a hop is not told the URL of
// the one before (Referer). The fields are set before use; a Trip is for one call of
// http.Client.Do.
type Trip struct {
	Rule    Rule
	Typed   bool
	Tracker bool
	// AnnouncePath is judged instead of the first hop's path, for a scrape: its path is
	// made from that of the announce.
	AnnouncePath string
	Network      string // "4" or "6" to use that one only
	// Proxy is as in http.Transport; nil for none. Requests through a proxy are judged
	// by the host's name, since the proxy resolves it.
	Proxy func(*http.Request) (*url.URL, error)
	// Dial connects to an address and port instead of the system, which looks names up;
	// nil for the system. Network and Proxy mean nothing to it.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	hops   int
	public atomic.Bool // a hop was at a public address
}

// RoundTrip implements http.RoundTripper.
func (t *Trip) RoundTrip(req *http.Request) (*http.Response, error) {
	f := Facts{Typed: t.Typed, Tracker: t.Tracker, Path: req.URL.Path, FromPublic: t.public.Load()}
	if t.hops++; t.hops > 1 {
		req = req.Clone(req.Context())
		req.Header.Del("Referer")
	} else if t.AnnouncePath != "" {
		f.Path = t.AnnouncePath
	}
	var proxy *url.URL
	if t.Proxy != nil {
		var err error
		if proxy, err = t.Proxy(req); err != nil {
			return nil, err
		}
	}
	dialer := &net.Dialer{Timeout: stepTimeout}
	if proxy == nil {
		dialer.Control = t.Rule.Control(f)
	} else if err := t.throughProxy(f, req.URL.Hostname()); err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, tcp, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, tcp+t.Network, addr)
		if err == nil && proxy == nil {
			t.reached(conn.RemoteAddr())
		}
		return conn, err
	}
	if t.Dial != nil {
		dial = func(ctx context.Context, tcp, addr string) (net.Conn, error) {
			if err := t.Rule.Control(f)(tcp, addr, nil); err != nil {
				return nil, err
			}
			conn, err := t.Dial(ctx, addr)
			if err == nil {
				t.reached(conn.RemoteAddr())
			}
			return conn, err
		}
	}
	transport := &http.Transport{
		Proxy: http.ProxyURL(proxy),
		DialContext: func(_ context.Context, tcp, addr string) (net.Conn, error) {
			// The transport's own context goes on when the request is given up, for the
			// sake of a next one; here none comes.
			return dial(req.Context(), tcp, addr)
		},
		TLSHandshakeTimeout:    stepTimeout,
		ResponseHeaderTimeout:  stepTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableKeepAlives:      true,
	}
	return transport.RoundTrip(req)
}

// reached records whether a hop was at a public address, before its answer arrives.
func (t *Trip) reached(a net.Addr) {
	if at, err := netip.ParseAddrPort(a.String()); err != nil || Inside(at.Addr()) == "" {
		t.public.Store(true)
	}
}

// throughProxy judges a host that a proxy resolves.
func (t *Trip) throughProxy(f Facts, host string) error {
	public, err := t.Rule.judgeName(f, host)
	if public {
		t.public.Store(true)
	}
	return err
}

// judgeName judges a host that a proxy resolves, and reports whether it counts as public.
// A name does, unless every resolver takes it for this machine. A number that is not a
// proper address counts as inside: resolvers differ in what they make of it.
func (r Rule) judgeName(f Facts, host string) (public bool, err error) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch f.Addr, err = netip.ParseAddr(host); {
	case err == nil:
	case last == "localhost":
		f.Addr = netip.IPv6Loopback()
	case last == "" || '0' <= last[0] && last[0] <= '9':
		f.Addr = netip.Addr{}
	default:
		return true, nil
	}
	return Inside(f.Addr) == "", r.Judge(f)
}
