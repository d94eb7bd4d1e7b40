package tracker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
	"github.com/weirfs/weir/engine/swarmtest"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var testRequest = Request{
	Hash: weir.InfoHash{0, ' ', '+', '%', '&', 0xff}, PeerID: [20]byte([]byte("-WE0000-abcdefghijkl")), Port: 4242,
	Uploaded: 1, Downloaded: 2, Left: 3, Event: Started, NumWant: 50, Key: 0xabc,
}

func TestHTTPTracker(t *testing.T) {
	tr, err := swarmtest.OpenTracker(swarmtest.TrackerOptions{Peers: []string{"127.0.0.2:5", "[::1]:6"}, Interval: 17 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	ts := New("weir/test", netrule.Rule{}, nil)
	a, err := ts.Announce(testContext(t), tr.URL()+"?passkey=1234567", testRequest)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(a.Peers) != "[127.0.0.2:5 [::1]:6]" || a.Interval != 17*time.Minute || a.Seeds != -1 {
		t.Errorf("answer %+v", a)
	}
	got := tr.Announces()[0]
	if got.InfoHash != testRequest.Hash || got.PeerID != string(testRequest.PeerID[:]) || got.Addr.Port() != 4242 ||
		got.Event != "started" || got.Left != 3 || got.Uploaded != 1 || got.Downloaded != 2 || !got.Compact {
		t.Errorf("the tracker heard %+v", got)
	}
	if !strings.HasPrefix(got.Raw, "passkey=1234567&info_hash=%00%20%2B%25%26%FF") || !strings.Contains(got.Raw, "key=00000ABC") {
		t.Errorf("query %q", got.Raw)
	}

	for _, c := range []struct {
		fault swarmtest.TrackerFault
		want  string
	}{
		{swarmtest.TrackerRefuses, "tracker refuses: this tracker refuses everybody"},
		{swarmtest.TrackerError, "HTTP status 500"},
		{swarmtest.TrackerGarbage, "answer of the tracker: byte 0"},
	} {
		tr.SetFault(c.fault)
		if _, err := ts.Announce(testContext(t), tr.URL(), testRequest); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("fault %d: %v", c.fault, err)
		}
	}
	tr.SetFault(swarmtest.TrackerHangs)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := ts.Announce(ctx, tr.URL(), testRequest); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a tracker that hangs: %v", err)
	}
}

func TestHTTPTrackerNotCompact(t *testing.T) {
	tr, err := swarmtest.OpenTracker(swarmtest.TrackerOptions{Peers: []string{"127.0.0.2:5", "[::1]:6"}, NotCompact: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	a, err := New("", netrule.Rule{}, nil).Announce(testContext(t), tr.URL(), testRequest)
	if err != nil || fmt.Sprint(a.Peers) != "[127.0.0.2:5 [::1]:6]" {
		t.Errorf("%v, %v", a.Peers, err)
	}
}

// TestTrackerNetworks: who is reached over IPv4 and IPv6 is asked over both.
func TestTrackerNetworks(t *testing.T) {
	ts := New("", netrule.Rule{}, nil)
	ts.lookup = func(_ context.Context, _, host string) (out []netip.Addr, err error) {
		switch host {
		case "both.example":
			return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, nil
		case "four.example":
			return []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1")}, nil
		case "six.example":
			return []netip.Addr{netip.MustParseAddr("2001:db8::1")}, nil
		}
		return nil, errors.New("no such host")
	}
	for url, want := range map[string]string{
		"http://both.example/announce":  "[4 6]",
		"udp://both.example:80":         "[4 6]",
		"udp4://both.example:80":        "[]",
		"https://four.example/announce": "[]",
		"https://six.example/announce":  "[]",
		"https://no.example/announce":   "[]",
		"nonsense":                      "[]",
	} {
		if got := fmt.Sprint(ts.Networks(t.Context(), url)); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

// TestTrackerNetworkIsKept: asking over one network uses no other.
func TestTrackerNetworkIsKept(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		tr, err := swarmtest.OpenTracker(swarmtest.TrackerOptions{Addr: net.JoinHostPort(ip, "0")})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		udp := openUDPTracker(t, net.JoinHostPort(ip, "0"))
		for _, url := range []string{tr.URL(), "udp://" + udp.conn.LocalAddr().String() + "/announce"} {
			for _, network := range []string{"4", "6"} {
				req := testRequest
				req.Network = network
				_, err := New("", netrule.Rule{}, nil).Announce(testContext(t), url, req)
				if (err == nil) != (network == "6" == strings.Contains(ip, ":")) {
					t.Errorf("%s over IPv%s: %v", url, network, err)
				}
			}
		}
	}
}

func TestHTTPTrackerIgnoresProxies(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	if trip := New("", netrule.Rule{}, nil).trip("", &url.URL{}); trip.Proxy != nil {
		t.Error("a proxy of the environment would be used")
	}
}

func TestHTTPTrackerBounds(t *testing.T) {
	var hops int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/long"):
			w.Write(make([]byte, maxBytes+1))
		case strings.HasPrefix(r.URL.Path, "/loop"):
			hops++
			http.Redirect(w, r, "/loop/secretsecret/announce", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/403"):
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "d14:failure reason31:passkey secretsecret is unknown8:retry in2:20e")
		}
	}))
	defer srv.Close()
	for _, c := range []struct{ path, want string }{
		{"/long/announce", "longer than"},
		{"/loop/secretsecret/announce", "redirects"},
		{"/403/secretsecret/announce", "passkey … is unknown"},
	} {
		_, err := New("", netrule.Rule{AllowPrivate: true}, nil).Announce(testContext(t), srv.URL+c.path, testRequest)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("%s: %v", c.path, err)
		}
		var r *Refusal
		if errors.As(err, &r) && r.retryIn != 20*time.Minute {
			t.Errorf("retry in %v", r.retryIn)
		}
	}
	if hops > 6 {
		t.Errorf("followed %d redirects", hops)
	}
	_, err := New("", netrule.Rule{AllowPrivate: true}, nil).Announce(testContext(t), "http://127.0.0.1:1/secretsecret/announce?auth=tokentoken", testRequest)
	if err == nil || strings.Contains(err.Error(), "secretsecret") || strings.Contains(err.Error(), "tokentoken") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestScrapeHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x/scrape.php" || len(r.URL.Query()["info_hash"]) != 2 || r.URL.Query().Get("k") != "v" {
			http.Error(w, r.URL.String(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "d5:filesd20:%sd8:completei5e10:downloadedi50e10:incompletei7eeee", r.URL.Query()["info_hash"][1])
	}))
	defer srv.Close()
	got, err := New("", netrule.Rule{AllowPrivate: true}, nil).Scrape(testContext(t), srv.URL+"/x/announce.php?k=v", []weir.InfoHash{{1}, testHash})
	if err != nil || fmt.Sprint(got) != "[{-1 -1 -1} {5 7 50}]" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := New("", netrule.Rule{AllowPrivate: true}, nil).Scrape(testContext(t), srv.URL+"/x/other", []weir.InfoHash{testHash}); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("a tracker without scrape: %v", err)
	}
}

// udpTracker is a small tracker of BEP 15, written from the page.
type udpTracker struct {
	conn net.PacketConn
	done chan struct{}

	mu       sync.Mutex
	lose     int // packets to ignore first
	refuse   string
	announce []byte // the last announce packet
	packets  int
}

func openUDPTracker(t *testing.T, addr string) *udpTracker {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	u := &udpTracker{conn: conn, done: make(chan struct{})}
	go u.serve()
	t.Cleanup(func() { conn.Close(); <-u.done })
	return u
}

func (u *udpTracker) serve() {
	defer close(u.done)
	buf := make([]byte, 2048)
	for {
		n, from, err := u.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		u.mu.Lock()
		u.packets++
		out := u.answer(buf[:n], from.(*net.UDPAddr))
		u.mu.Unlock()
		if out != nil {
			// Somebody else's packet comes first: it must not count.
			u.conn.WriteTo([]byte{0, 0, 0, 1, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, from)
			u.conn.WriteTo(out, from)
		}
	}
}

func (u *udpTracker) answer(p []byte, from *net.UDPAddr) []byte {
	if u.lose > 0 {
		u.lose--
		return nil
	}
	const ours = 0x1122334455667788
	id, action, tx := binary.BigEndian.Uint64(p), binary.BigEndian.Uint32(p[8:]), p[12:16]
	head := func(action uint32) []byte { return append(binary.BigEndian.AppendUint32(nil, action), tx...) }
	switch {
	case action == 0 && id == 0x41727101980 && len(p) == 16:
		return binary.BigEndian.AppendUint64(head(0), ours)
	case id != ours:
		return append(head(3), "connection id"...)
	case u.refuse != "":
		return append(head(3), u.refuse...)
	case action == 1 && len(p) >= 98:
		u.announce = append([]byte(nil), p...)
		out := append(head(1), 0, 0, 7, 8, 0, 0, 0, 4, 0, 0, 0, 3) // 1800 s, 4 leeches, 3 seeds
		if from.IP.To4() == nil {
			return append(append(out, net.IPv6loopback...), 0, 9)
		}
		return append(out, 127, 0, 0, 7, 0, 9)
	case action == 2:
		out := head(2)
		for range (len(p) - 16) / 20 {
			out = append(out, 0, 0, 0, 5, 0, 0, 0, 50, 0, 0, 0, 7)
		}
		return out
	}
	return append(head(3), "bad"...)
}

func TestUDPTracker(t *testing.T) {
	for _, c := range []struct{ addr, want string }{{"127.0.0.1:0", "[127.0.0.7:9]"}, {"[::1]:0", "[[::1]:9]"}} {
		t.Run(c.addr, func(t *testing.T) {
			u := openUDPTracker(t, c.addr)
			url := "udp://" + u.conn.LocalAddr().String() + "/announce?key=v"
			ts := New("", netrule.Rule{}, nil)
			a, err := ts.Announce(testContext(t), url, testRequest)
			if err != nil || fmt.Sprint(a.Peers) != c.want || a.Interval != 30*time.Minute || a.Seeds != 3 || a.Leeches != 4 {
				t.Fatalf("%+v, %v", a, err)
			}
			u.mu.Lock()
			p := u.announce
			u.mu.Unlock()
			if string(p[16:36]) != string(testRequest.Hash[:]) || string(p[36:56]) != string(testRequest.PeerID[:]) {
				t.Error("info hash or peer id")
			}
			var n []uint64
			for _, at := range []int{56, 64, 72} {
				n = append(n, binary.BigEndian.Uint64(p[at:]))
			}
			for _, at := range []int{80, 84, 88, 92} {
				n = append(n, uint64(binary.BigEndian.Uint32(p[at:])))
			}
			n = append(n, uint64(binary.BigEndian.Uint16(p[96:])))
			if fmt.Sprint(n) != "[2 3 1 2 0 2748 50 4242]" { // downloaded, left, uploaded, event, ip, key, num_want, port
				t.Errorf("fields %v", n)
			}
			if string(p[98:]) != "\x02\x0f/announce?key=v\x00" {
				t.Errorf("options %q", p[98:])
			}
			counts, err := ts.Scrape(testContext(t), url, []weir.InfoHash{testHash, {1}})
			if err != nil || fmt.Sprint(counts) != "[{5 7 50} {5 7 50}]" {
				t.Errorf("scrape %v, %v", counts, err)
			}
		})
	}
}

func TestUDPTrackerFaults(t *testing.T) {
	t.Parallel() // it waits for a question to be asked again
	u := openUDPTracker(t, "127.0.0.1:0")
	url := "udp://" + u.conn.LocalAddr().String() + "/announce"
	ts := New("", netrule.Rule{}, nil)

	u.mu.Lock()
	u.refuse = "not\x00today"
	u.mu.Unlock()
	var r *Refusal
	if _, err := ts.Announce(testContext(t), url, testRequest); !errors.As(err, &r) || r.Reason != "not today" {
		t.Errorf("Refusal: %v", err)
	}
	u.mu.Lock()
	u.refuse, u.lose = "", 1
	u.mu.Unlock()
	if _, err := ts.Announce(testContext(t), url, testRequest); err != nil {
		t.Errorf("one lost packet: %v", err)
	}
	u.mu.Lock()
	u.lose = 1000
	u.mu.Unlock()
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(nil) })
	if _, err := ts.Announce(ctx, url, testRequest); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := conn.LocalAddr().String()
	conn.Close()
	if _, err := ts.Announce(testContext(t), "udp://"+nobody, testRequest); err == nil {
		t.Error("nobody listens, and yet there was an answer")
	}
}

func TestTrackerNames(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"http://t.example/announce", "http://t.example/announce"},
		{"https://t.example:8443/announce.php?passkey=xyz", "https://t.example:8443/announce.php?…"},
		{"http://t.example/xyz/announce", "http://t.example/…/announce"},
		{"http://t.example/announce/xyz", "http://t.example/…"},
		{"http://me:xyz@t.example/announce", "http://t.example/announce"},
		{"udp://t.example:80", "udp://t.example:80"},
		{"udp://t.example", "udp://t.example:80"},
		{"udp://t.example/xyz/announce", "udp://t.example:80/…/announce"},
		{"udp6://[2001:db8::1]/announce", "udp6://[2001:db8::1]:80/announce"},
		{"udp:///announce", "(not a tracker)"},
		{"ftp://xyz/", "(not a tracker)"},
		{"http://%zz/xyz", "(not a tracker)"},
		{"wss://xyz/announce", "(not a tracker)"},
	} {
		if got := Name(c.url); got != c.want {
			t.Errorf("%s: %s, want %s", c.url, got, c.want)
		}
	}
	for _, bad := range []string{"", "udp://", "udp://:80", "wss://h/", "http:///announce", "\x00"} {
		if _, err := New("", netrule.Rule{}, nil).Announce(testContext(t), bad, testRequest); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseAnnounce(t *testing.T) {
	a, err := parseAnnounce([]byte("d8:completei4e10:incompletei-1e8:intervali9999999999999e12:min intervali-5e5:peers12:\x7f\x00\x00\x01\x00\x05\x08\x08\x08\x08\x00\x05"+
		"6:peers618:\x20\x01\x48\x60\x48\x60\x00\x00\x00\x00\x00\x00\x00\x00\x88\x88\x00\x0510:tracker id3:abc15:warning message5:a\nb\xffce\r\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(a.Peers) != "[8.8.8.8:5 [2001:4860:4860::8888]:5]" { // loopback from afar is left out
		t.Errorf("peers %v", a.Peers)
	}
	if a.Seeds != 4 || a.Leeches != -1 || a.MinInterval != 0 || a.Interval <= 0 || a.TrackerID != "abc" || a.Warning != "a b c" {
		t.Errorf("%+v", a)
	}
	var r *Refusal
	_, err = parseAnnounce([]byte("d14:failure reason2:no8:retry in5:nevere"), false)
	if !errors.As(err, &r) || !r.never {
		t.Errorf("%v", err)
	}
}

// TestTrackersInside checks who is asked at an inside address, and that a tracker
// can't send us on to what is none.
func TestTrackersInside(t *testing.T) {
	var seen []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path+" "+r.Referer())
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		fmt.Fprint(w, "d5:filesd20:"+string(testHash[:])+"d8:completei1eeee")
	}))
	defer srv.Close()
	ts := New("", netrule.Rule{}, nil)
	for _, c := range []struct{ path, want string }{
		{"/announce?key=secretsecret", "[/announce ]"},
		{"/announce/secretsecret", "[/announce/secretsecret ]"},
		{"/admin", "[]"},
		{"", "[]"},
		{"/announce/../admin", "[]"},
		{"/announce?to=/admin", "[/announce ]"},
		{"/announce?key=secretsecret&to=/announce/2", "[/announce  /announce/2 ]"},
	} {
		seen = nil
		_, err := ts.Announce(testContext(t), srv.URL+c.path, testRequest)
		if fmt.Sprint(seen) != c.want {
			t.Errorf("announce to %s: requests %v, want %v (%v)", c.path, seen, c.want, err)
		}
	}
	seen = nil
	if _, err := ts.Scrape(testContext(t), srv.URL+"/announce", []weir.InfoHash{testHash}); err != nil || fmt.Sprint(seen) != "[/scrape ]" {
		t.Errorf("scrape: requests %v (%v)", seen, err)
	}
	seen = nil
	if _, err := ts.Scrape(testContext(t), srv.URL+"/x/announce", []weir.InfoHash{testHash}); err == nil || len(seen) != 0 {
		t.Errorf("scrape elsewhere: requests %v (%v)", seen, err)
	}
	// A mute socket would be asked until the end of ctx.
	udp := openUDPTracker(t, "127.0.0.1:0")
	for path, ok := range map[string]bool{"/announce": true, "": false, "/x": false} {
		if _, err := ts.Announce(testContext(t), "udp://"+udp.conn.LocalAddr().String()+path, testRequest); (err == nil) != ok {
			t.Errorf("UDP tracker with path %q: %v", path, err)
		}
	}
}
