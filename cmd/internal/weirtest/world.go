package weirtest

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// World stands for the web: a proxy on loopback behind which each host of it is,
// by http and by https. A weir that is started after OpenWorld asks nothing
// without it, as HTTP_PROXY, HTTPS_PROXY and SSL_CERT_FILE say.
type World struct {
	mu    sync.Mutex
	asked []string // "https://host/path", escaped, in order
}

// OpenWorld returns a world that answers with h until the test ends. Requests that h
// gets have Host and URL.Path.
func OpenWorld(tb interface {
	testing.TB
	Setenv(key, value string)
}, hosts []string, h http.Handler) *World {
	tb.Helper()
	w := &World{}
	ca := NewAuthority(tb)
	cert, err := tls.X509KeyPair(ca.Certificate(tb, hosts...))
	if err != nil {
		tb.Fatal(err)
	}
	note := func(scheme string) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.mu.Lock()
			w.asked = append(w.asked, scheme+"://"+r.Host+r.URL.EscapedPath())
			w.mu.Unlock()
			h.ServeHTTP(rw, r)
		})
	}
	inside := &tunnels{conns: make(chan net.Conn), closed: make(chan struct{})}
	secure := &http.Server{Handler: note("https"), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	go func() { _ = secure.ServeTLS(inside, "", "") }() // until it is closed
	tb.Cleanup(func() { _ = secure.Close() })
	plain := note("http")
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			plain.ServeHTTP(rw, r)
			return
		}
		rw.WriteHeader(http.StatusOK)
		conn, rest, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			tb.Error(err)
			return
		}
		inside.add(tunnel{conn, rest.Reader})
	}))
	tb.Cleanup(proxy.Close)
	tb.Setenv("HTTP_PROXY", proxy.URL)
	tb.Setenv("HTTPS_PROXY", proxy.URL)
	tb.Setenv("NO_PROXY", "")
	tb.Setenv("SSL_CERT_FILE", ca.File)
	return w
}

// Asked returns what was asked so far.
func (w *World) Asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.asked...)
}

// tunnel is a connection of which the first bytes may have been read already.
type tunnel struct {
	net.Conn
	r *bufio.Reader
}

func (t tunnel) Read(p []byte) (int, error) { return t.r.Read(p) }

// tunnels is a listener for the connections that a proxy hands over.
type tunnels struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (t *tunnels) add(c net.Conn) {
	select {
	case t.conns <- c:
	case <-t.closed:
		_ = c.Close()
	}
}

func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

func (t *tunnels) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

func (t *tunnels) Addr() net.Addr { return &net.TCPAddr{} }
