package netrule

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Pool is an http.RoundTripper for content: URLs that the user did not type. It
// reuses connections, each judged when it is dialed, and follows no redirects. It is safe
// for concurrent use.
type Pool struct {
	rule      Rule
	proxy     func(*http.Request) (*url.URL, error)
	transport *http.Transport
}

// PoolOptions are the options of a Pool.
type PoolOptions struct {
	Rule  Rule
	Proxy func(*http.Request) (*url.URL, error) // as in http.Transport; nil for none
	// PerHost bounds the connections to a host, 0 for no bound. Streams of HTTP/2
	// share one.
	PerHost int
	// Dial connects instead of the system, which looks names up; nil for the system.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	TLS  *tls.Config // nil for the system's certificates
}

// idleTimeout is how long a connection is kept without a request.
const idleTimeout = 60 * time.Second

// NewPool returns a Pool. Close ends its idle connections.
func NewPool(o PoolOptions) *Pool {
	control := o.Rule.Control(Facts{})
	judged := &net.Dialer{Timeout: stepTimeout, Control: control}
	// A proxy is the user's own, wherever it is.
	proxy := &net.Dialer{Timeout: stepTimeout}
	return &Pool{rule: o.Rule, proxy: o.Proxy, transport: &http.Transport{
		Proxy: o.Proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			switch {
			case o.Dial != nil:
				if err := control(network, address, nil); err != nil {
					return nil, err
				}
				return o.Dial(ctx, network, address)
			case ctx.Value(throughProxy{}) != nil:
				return proxy.DialContext(ctx, network, address)
			}
			return judged.DialContext(ctx, network, address)
		},
		TLSClientConfig:        o.TLS,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    stepTimeout,
		ResponseHeaderTimeout:  stepTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxConnsPerHost:        o.PerHost,
		MaxIdleConnsPerHost:    max(o.PerHost, 2),
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true,
	}}
}

// throughProxy marks the context of a request that goes through a proxy.
type throughProxy struct{}

// RoundTrip implements http.RoundTripper.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	if p.proxy != nil {
		proxy, err := p.proxy(req)
		if err != nil {
			return nil, err
		}
		if proxy != nil {
			if _, err := p.rule.judgeName(Facts{Path: req.URL.Path}, req.URL.Hostname()); err != nil {
				return nil, err
			}
			req = req.WithContext(context.WithValue(req.Context(), throughProxy{}, true))
		}
	}
	return p.transport.RoundTrip(req)
}

// Close ends the connections that no request uses.
func (p *Pool) Close() { p.transport.CloseIdleConnections() }
