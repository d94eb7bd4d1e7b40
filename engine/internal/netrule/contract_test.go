package netrule

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
)

// TestThroughProxy: what is asked of a proxy is judged by its name, and counts as
// public for the next hop unless it is inside.
func TestThroughProxy(t *testing.T) {
	for host, test := range map[string]struct{ ok, public bool }{
		"example.org": {true, true}, "EXAMPLE.ORG.": {true, true}, "203.0.113.9": {true, true}, "2606:4700::1": {true, true},
		"localhost": {}, "a.LocalHost.": {}, "127.0.0.1": {}, "10.1.2.3": {}, "::1": {}, "fe80::1": {},
		"127.1": {}, "0x7f.1": {}, "999": {}, "1.2.3.4.5": {}, "a.9": {}, "a.0": {}, "": {}, "a..": {},
		"1.example": {true, true}, "localhost.example": {true, true}, "notlocalhost": {true, true},
	} {
		trip := &Trip{}
		err := trip.throughProxy(Facts{}, host)
		if (err == nil) != test.ok || err != nil && !errors.Is(err, ErrInside) || trip.public.Load() != test.public {
			t.Errorf("%q: %v, public %v", host, err, trip.public.Load())
		}
		if err := trip.throughProxy(Facts{Typed: true}, host); err != nil {
			t.Errorf("%q typed: %v", host, err)
		}
		if err := trip.throughProxy(Facts{Typed: true, FromPublic: true}, host); (err == nil) != test.ok {
			t.Errorf("%q from public: %v", host, err)
		}
	}
}

// TestReached: which addresses make the next hop one from the internet.
func TestReached(t *testing.T) {
	for addr, public := range map[string]bool{"203.0.113.9:80": true, "[2606:4700::1]:80": true, "127.0.0.1:80": false, "[fe80::1]:80": false, "192.168.0.1:80": false} {
		trip := &Trip{}
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if trip.reached(a); trip.public.Load() != public {
			t.Errorf("%s: public %v", addr, trip.public.Load())
		}
	}
	trip := &Trip{}
	if trip.reached(&net.UnixAddr{Name: "x"}); !trip.public.Load() {
		t.Error("an unknown address counts as inside")
	}
}

// TestTripKeepsTheContract: the caller's request stays as it is (http.RoundTripper),
// no connection is kept, and a proxy that can't be told is an error.
func TestTripKeepsTheContract(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	trip := &Trip{Typed: true}
	for n := range int32(3) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Referer", "http://example.org/")
		resp, err := trip.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if req.Header.Get("Referer") == "" {
			t.Error("the caller's request was changed")
		}
		if !resp.Close && n == 0 {
			t.Error("the connection is kept")
		}
		if conns.Load() != n+1 {
			t.Errorf("%d connections for %d hops", conns.Load(), n+1)
		}
	}
	broken := errors.New("no such proxy")
	trip = &Trip{Typed: true, Proxy: func(*http.Request) (*url.URL, error) { return nil, broken }}
	if err := get(t, trip, s.URL); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
}
