package swarmtest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest"
)

func announce(tb testing.TB, t *swarmtest.Tracker, more string) (int, string, error) {
	tb.Helper()
	return announceContext(testContext(tb), tb, t, more)
}

func announceContext(ctx context.Context, tb testing.TB, t *swarmtest.Tracker, more string) (int, string, error) {
	tb.Helper()
	ih := url.QueryEscape(strings.Repeat("\xfe", 20))
	req, err := http.NewRequestWithContext(ctx, "GET", t.URL()+"?info_hash="+ih+"&peer_id=-XX0000-abcdefghijkl&uploaded=1&downloaded=2&left=3"+more, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func newTracker(tb testing.TB, o swarmtest.TrackerOptions) *swarmtest.Tracker {
	tb.Helper()
	t, err := swarmtest.OpenTracker(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { t.Close() })
	return t
}

func TestTrackerAnswers(t *testing.T) {
	peers := []string{"127.0.0.2:258", "[::1]:772"}
	v6 := "18:" + strings.Repeat("\x00", 15) + "\x01\x03\x04"
	for name, tc := range map[string]struct {
		o     swarmtest.TrackerOptions
		query string
		want  string
	}{
		"Compact": {swarmtest.TrackerOptions{Peers: peers, Interval: time.Minute}, "&port=9&compact=1&event=started",
			"d8:intervali60e5:peers6:\x7f\x00\x00\x02\x01\x026:peers6" + v6 + "e"},
		"Dictionaries": {swarmtest.TrackerOptions{Peers: peers}, "&port=9",
			"d8:intervali1800e5:peersld2:ip9:127.0.0.24:porti258eed2:ip3:::14:porti772eeee"},
		"NotCompact": {swarmtest.TrackerOptions{Peers: peers[:1], NotCompact: true}, "&port=9&compact=1",
			"d8:intervali1800e5:peersld2:ip9:127.0.0.24:porti258eeee"},
		"Nobody":  {swarmtest.TrackerOptions{}, "&port=9&compact=1", "d8:intervali1800e5:peers0:e"},
		"Empty":   {swarmtest.TrackerOptions{Peers: peers, Fault: swarmtest.TrackerEmpty}, "&port=9&compact=1", "d8:intervali1800e5:peers0:e"},
		"Refuses": {swarmtest.TrackerOptions{Fault: swarmtest.TrackerRefuses}, "&port=9", "d14:failure reason30:this tracker refuses everybodye"},
		"NoPort":  {swarmtest.TrackerOptions{}, "", `d14:failure reason7:port ""e`},
		"Garbage": {swarmtest.TrackerOptions{Fault: swarmtest.TrackerGarbage}, "&port=9", "<html>no tracker lives here</html>"},
	} {
		t.Run(name, func(t *testing.T) {
			code, got, err := announce(t, newTracker(t, tc.o), tc.query)
			if err != nil || code != 200 || got != tc.want {
				t.Errorf("%d %q, %v; want %q", code, got, err, tc.want)
			}
		})
	}
	t.Run("Error", func(t *testing.T) {
		if code, _, err := announce(t, newTracker(t, swarmtest.TrackerOptions{Fault: swarmtest.TrackerError}), "&port=9"); err != nil || code != 500 {
			t.Errorf("%d, %v", code, err)
		}
	})
	t.Run("Hangs", func(t *testing.T) {
		tr := newTracker(t, swarmtest.TrackerOptions{Fault: swarmtest.TrackerHangs})
		ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
		defer cancel()
		if _, _, err := announceContext(ctx, t, tr, "&port=9"); err == nil {
			t.Error("answered")
		}
		// Close ends a hanging announce.
		ended := make(chan error, 1)
		go func() {
			_, _, err := announceContext(context.Background(), t, tr, "&port=10")
			ended <- err
		}()
		if _, err := tr.WaitAnnounce(testContext(t), func(a swarmtest.Announce) bool { return a.Addr.Port() == 10 }); err != nil {
			t.Error(err)
		}
		tr.Close()
		if err := <-ended; err == nil {
			t.Error("answered")
		}
	})
}

func TestTrackerRemembers(t *testing.T) {
	tr := newTracker(t, swarmtest.TrackerOptions{Announced: true})
	for i, tc := range []struct{ query, peers string }{
		{"&port=1&event=started", "le"},
		{"&port=2&event=started", "ld2:ip9:127.0.0.14:porti1eee"},
		{"&port=1&event=stopped", "ld2:ip9:127.0.0.14:porti2eee"},
		{"&port=2", "le"},
	} {
		_, got, err := announce(t, tr, tc.query)
		if want := fmt.Sprintf("d8:intervali1800e5:peers%se", tc.peers); err != nil || got != want {
			t.Errorf("announce %d: %q, %v; want %q", i, got, err, want)
		}
	}
	all := tr.Announces()
	if len(all) != 4 {
		t.Fatalf("%d announces", len(all))
	}
	a := all[2]
	if a.Event != "stopped" || a.Left != 3 || a.Uploaded != 1 || a.Downloaded != 2 || a.Compact ||
		a.InfoHash != weir.InfoHash([]byte(strings.Repeat("\xfe", 20))) || a.Addr.String() != "127.0.0.1:1" {
		t.Errorf("%+v", a)
	}
	tr.SetPeers("127.0.0.9:9")
	tr.SetFault(swarmtest.TrackerOK)
	if _, got, err := announce(t, tr, "&port=2"); err != nil || !strings.Contains(got, "127.0.0.9") {
		t.Errorf("%q, %v", got, err)
	}
}
