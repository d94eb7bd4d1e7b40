package tracker

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// TestRetryAfter: a tracker that has no time says when it will, in seconds or as a
// date, with any status but 200 and beside a failure reason.
func TestRetryAfter(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if after := q.Get("after"); after != "" {
			w.Header().Set("Retry-After", after)
		}
		status, _ := strconv.Atoi(q.Get("status"))
		w.WriteHeader(status)
		fmt.Fprint(w, q.Get("body"))
	}))
	defer srv.Close()
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	const refused = "d14:failure reason4:busye"
	for _, c := range []struct {
		status      int
		after, body string
		want        time.Duration // to a minute
	}{
		{503, "600", "", 10 * time.Minute},
		{429, " 600 ", "<html>", 10 * time.Minute},
		{429, date(20 * time.Minute), "", 20 * time.Minute},
		{503, date(-time.Hour), "", 0},
		{503, "-5", "", 0},
		{503, "soon", "", 0},
		{503, "", "", 0},
		{503, "99999999999999999999", "", 0},
		{503, "999999999", "", maxInterval},
		{503, date(1000 * time.Hour), "", maxInterval},
		{503, "1800", refused, 30 * time.Minute},
		{503, "60", "d14:failure reason4:busy8:retry ini20ee", 20 * time.Minute},
		{403, "600", "", 10 * time.Minute},
	} {
		query := url.Values{"status": {strconv.Itoa(c.status)}, "after": {c.after}, "body": {c.body}}
		_, err := New("", netrule.Rule{}, nil).Announce(testContext(t), srv.URL+"/announce?"+query.Encode(), testRequest)
		if err == nil {
			t.Errorf("%+v: no error", c)
			continue
		}
		now := time.Now()
		tr := NewTier(0, testHash, []string{"http://a/announce"})
		e, _ := tr.Begin(now, 1)
		tr.Failed(e, now, err, 0)
		got := tr.next.Sub(now)
		if want := max(c.want, Backoff(1, 0)); got < want-time.Minute || got > want+time.Minute {
			t.Errorf("%d, Retry-After %q, body %q: asked again after %v, want %v (%v)", c.status, c.after, c.body, got, want, err)
		}
	}
}

// TestNamedPeers: the peers of an answer in the form of BEP 3 may have names; what
// they stand for counts as if the tracker had said it.
func TestNamedPeers(t *testing.T) {
	const answer = "d5:peersl" +
		"d2:ip12:seed.example4:porti5ee" + // two addresses
		"d2:ip12:home.example4:porti6ee" + // loopback: only a tracker on this machine may say so
		"d2:ip7:1.2.3.44:porti7ee" +
		"d2:ip12:gone.example4:porti8ee" +
		"d2:ip12:seed.example4:porti0ee" + // no port
		"d2:ip8:999.0.0.4:porti9ee" + "d2:ip4:a b!4:porti9ee" + "d2:ip1:14:porti9ee" + // no names
		"ee"
	for _, c := range []struct {
		local bool
		want  string
	}{
		{false, "[1.2.3.4:7] [5.6.7.8:5 [2001:db8::1]:5]"},
		{true, "[1.2.3.4:7] [5.6.7.8:5 [2001:db8::1]:5 127.0.0.1:6]"},
	} {
		a, err := parseAnnounce([]byte(answer), c.local)
		if err != nil {
			t.Fatal(err)
		}
		client := New("", netrule.Rule{}, nil)
		client.lookup = func(ctx context.Context, _, host string) ([]netip.Addr, error) {
			switch host {
			case "seed.example":
				return []netip.Addr{netip.MustParseAddr("5.6.7.8"), netip.MustParseAddr("2001:db8::1")}, nil
			case "home.example":
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			case "gone.example":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			t.Errorf("looked up %q", host)
			return nil, weir.ErrNotFound
		}
		synctest.Test(t, func(t *testing.T) {
			if got := fmt.Sprint(a.Peers, " ", client.Resolve(t.Context(), a.Named, a.FromLoopback)); got != c.want {
				t.Errorf("local %v: found %s, want %s", c.local, got, c.want)
			}
		})
	}
	many := "d5:peersl" + strings.Repeat("d2:ip12:seed.example4:porti5ee", 1000) + "ee"
	if a, err := parseAnnounce([]byte(many), false); err != nil || len(a.Named) != maxNamedPeers {
		t.Errorf("%d names of 1000 are looked up, %v", len(a.Named), err)
	}
}
