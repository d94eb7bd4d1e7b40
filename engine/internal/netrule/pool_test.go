package netrule

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
)

// dialsTo returns a dial function that leads every address to the server.
func dialsTo(s *httptest.Server, count *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		count.Add(1)
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}
}

func trip(t *testing.T, p *Pool, u string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func TestPool(t *testing.T) {
	inside, seen := listen(t)
	for _, allow := range []bool{false, true} {
		before := len(*seen)
		p := NewPool(PoolOptions{Rule: Rule{AllowPrivate: allow}, PerHost: 4})
		defer p.Close()
		if err := trip(t, p, inside+"/x"); (err == nil) != allow || !allow && !errors.Is(err, ErrInside) {
			t.Errorf("allowed %v: %v", allow, err)
		}
		if hits := len(*seen) - before; hits != map[bool]int{true: 1}[allow] {
			t.Errorf("allowed %v: %d requests", allow, hits)
		}
	}
}

func TestPoolReuses(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }))
	defer s.Close()
	var dials atomic.Int32
	p := NewPool(PoolOptions{PerHost: 4, Dial: dialsTo(s, &dials)})
	defer p.Close()
	for range 5 {
		if err := trip(t, p, "http://192.0.2.1/x"); err != nil {
			t.Fatal(err)
		}
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections for 5 requests one after another", dials.Load())
	}
}

// What a proxy is asked for is judged by name; the proxy itself is the user's.
func TestPoolProxy(t *testing.T) {
	proxy, seen := listen(t)
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPool(PoolOptions{Proxy: http.ProxyURL(u)})
	defer p.Close()
	if err := trip(t, p, "http://example.org/x"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"http://localhost/x", "http://127.0.0.1/x", "http://10.1/x", "http://[::1]:80/x", "http://0x7f000001/"} {
		if err := trip(t, p, bad); !errors.Is(err, ErrInside) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if len(*seen) != 1 || (*seen)[0].uri != "http://example.org/x" {
		t.Errorf("the proxy saw %v", *seen)
	}
}
