package metrics

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// TestHost asks by names that a web page could have made mean this machine.
func TestHost(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr, host string
		ok         bool
	}{
		{"127.0.0.1:9090", "127.0.0.1:9090", true},
		{"127.0.0.1:9090", "127.0.0.1:1", true}, // forwarded from another port
		{"127.0.0.1:9090", "localhost:9090", true},
		{"127.0.0.1:9090", "LOCALHOST.", true},
		{"127.0.0.1:9090", "weir.localhost:9090", true},
		{"127.0.0.1:9090", "[::1]:9090", true},
		{"127.0.0.1:9090", "evil.example:9090", false},
		{"127.0.0.1:9090", "127.0.0.1.evil.example", false},
		{"127.0.0.1:9090", "evillocalhost", false},
		{"127.0.0.1:9090", "192.168.1.5:9090", false},
		{"127.0.0.1:9090", own, own == "localhost"},
		{"127.0.0.1:9090", "", false},
		{"localhost:9090", "evil.example", false},
		{"0.0.0.0:9090", "192.168.1.5:9090", true},
		{":9090", own + ":9090", true},
		{":9090", "evil.example", false},
		{":9090", "[fe80::1%25eth0]:9090", true},
		{"nas.example:9090", "NAS.example:9090", true},
		{"nas.example:9090", "other.example:9090", false},
	} {
		s := New(Options{Addr: c.addr, Samples: func() []Sample { return nil }})
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, r)
		if ok := w.Code == http.StatusOK; ok != c.ok {
			t.Errorf("%s asked as %q: status %d", c.addr, c.host, w.Code)
		}
	}
}

// TestPprofOnRequest: profiles are served to nobody by default.
func TestPprofOnRequest(t *testing.T) {
	s := New(Options{Addr: "127.0.0.1:0", Samples: func() []Sample { return nil }})
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "localhost"
		s.http.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
}
