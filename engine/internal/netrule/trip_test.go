package netrule

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"testing"
)

// hop is a request that a server saw.
type hop struct{ uri, referer, auth string }

// listen returns a server that notes requests and redirects /to?URL.
func listen(t *testing.T) (string, *[]hop) {
	t.Helper()
	var seen []hop
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, hop{r.RequestURI, r.Referer(), r.Header.Get("Authorization")})
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, &seen
}

func get(t *testing.T, trip *Trip, u string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: trip}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func TestTrip(t *testing.T) {
	for _, c := range []struct {
		name string
		trip *Trip
		path string
		ok   bool
		hits int
	}{
		{"content", &Trip{}, "/x.torrent", false, 0},
		{"content, allowed", &Trip{Rule: Rule{AllowPrivate: true}}, "/x.torrent", true, 1},
		{"typed", &Trip{Typed: true}, "/x.torrent", true, 1},
		{"typed, from inside to inside", &Trip{Typed: true}, "/x?to=/y", true, 2},
		{"tracker", &Trip{Tracker: true}, "/announce?a=b", true, 1},
		{"tracker elsewhere", &Trip{Tracker: true}, "/admin", false, 0},
		{"tracker, escaped way up", &Trip{Tracker: true}, "/announce/%2e%2e/admin", false, 0},
		{"tracker redirects below", &Trip{Tracker: true}, "/announce?to=/announce/2", true, 2},
		{"tracker redirects elsewhere", &Trip{Tracker: true}, "/announce?to=/admin", false, 1},
		{"scrape", &Trip{Tracker: true, AnnouncePath: "/announce"}, "/scrape", true, 1},
		{"scrape redirects elsewhere", &Trip{Tracker: true, AnnouncePath: "/announce"}, "/scrape?to=/admin", false, 1},
	} {
		base, seen := listen(t)
		err := get(t, c.trip, base+c.path)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrInside) || len(*seen) != c.hits {
			t.Errorf("%s: %v after %d requests, want %d", c.name, err, len(*seen), c.hits)
		}
	}
}

// TestTripFromPublic has a first hop that counts as public, as no public address
// can be served here.
func TestTripFromPublic(t *testing.T) {
	base, seen := listen(t)
	for _, trip := range []*Trip{{Typed: true}, {Tracker: true}} {
		trip.reached(&net.TCPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 80})
		trip.hops = 1
		if err := get(t, trip, base+"/announce"); !errors.Is(err, ErrInside) || len(*seen) != 0 {
			t.Errorf("%+v: %v, %d requests", trip, err, len(*seen))
		}
	}
	inside := &Trip{Typed: true}
	inside.reached(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:80")))
	if inside.public.Load() {
		t.Error("loopback counts as public")
	}
}

func TestTripTellsNothing(t *testing.T) {
	base, _ := listen(t)
	other, seen := listen(t)
	if err := get(t, &Trip{Typed: true}, base+"/x?passkey=secret&to="+url.QueryEscape(other+"/y")); err != nil {
		t.Fatal(err)
	}
	if len(*seen) != 1 || (*seen)[0] != (hop{uri: "/y"}) {
		t.Errorf("the second server was told %+v", *seen)
	}
}

// TestTripProxy goes through a proxy on loopback, which the user has named; what
// is asked of it is judged by name.
func TestTripProxy(t *testing.T) {
	base, seen := listen(t)
	proxy, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	through := func(*http.Request) (*url.URL, error) { return proxy, nil }
	for u, ok := range map[string]bool{
		"http://example.org/x": true, "http://203.0.113.9/x": true,
		"http://127.0.0.1/x": false, "http://localhost/x": false, "http://a.localhost./x": false, "http://127.1/x": false, "http://0x7f000001/x": false,
		"http://2130706433/x": false, "http://[::ffff:7f00:1]/x": false, "http://169.254.169.254/x": false,
	} {
		*seen = nil
		if err := get(t, &Trip{Proxy: through}, u); (err == nil) != ok || (len(*seen) == 1) != ok {
			t.Errorf("%s: %v, %d requests", u, err, len(*seen))
		}
		if err := get(t, &Trip{Proxy: through, Typed: true}, u); err != nil {
			t.Errorf("%s typed: %v", u, err)
		}
	}
	// From public to inside by redirect, the proxy between.
	*seen = nil
	if err := get(t, &Trip{Proxy: through, Typed: true}, "http://example.org/x?to="+url.QueryEscape("http://10.0.0.1/")); !errors.Is(err, ErrInside) || len(*seen) != 1 {
		t.Errorf("redirect through a proxy: %v, %d requests", err, len(*seen))
	}
}

// TestControl is what names that lie come to: the address counts.
func TestControl(t *testing.T) {
	control := Rule{}.Control(Facts{Tracker: true, Path: "/x"})
	for addr, ok := range map[string]bool{"127.0.0.1:80": false, "[::ffff:127.0.0.1]:80": false, "[fe80::1%lo]:80": false, "203.0.113.9:80": true, "nonsense": false} {
		if err := control("udp4", addr, nil); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// TestTripDial: a dial of the caller's own is judged too, and ends with the request.
func TestTripDial(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan string, 2)
	trip := &Trip{Tracker: true, Dial: func(ctx context.Context, address string) (net.Conn, error) {
		cancel()
		<-ctx.Done() // the test does not end if this never does
		ended <- address
		return nil, ctx.Err()
	}}
	for _, u := range []string{"http://10.0.0.1/admin", "http://192.0.2.1/announce"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = trip.RoundTrip(req); err == nil {
			t.Error("a request without a connection was answered")
		}
	}
	if got := <-ended; got != "192.0.2.1:80" || len(ended) > 0 {
		t.Errorf("dialed %s, and %d more", got, len(ended))
	}
}

// A name with addresses of both families is dialed at both at once: each is judged by
// itself.
func TestControlSideBySide(t *testing.T) {
	control := Rule{}.Control(Facts{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if err := control("tcp4", "127.0.0.1:80", nil); !errors.Is(err, ErrInside) {
					t.Errorf("inside: %v", err)
					return
				}
			}
		})
		wg.Go(func() {
			for range 1000 {
				if err := control("tcp6", "[2606:4700::1]:80", nil); err != nil {
					t.Errorf("outside: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
