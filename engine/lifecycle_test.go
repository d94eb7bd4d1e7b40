package engine_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestWarmIsBounded: of many torrents that are added, warmed and connected for, a
// bounded number run; one that a read waits for always does.
func TestWarmIsBounded(t *testing.T) {
	const most = 3
	e := openEngine(t, engine.Options{MaxWarm: most})
	warm := func() (n int) {
		for _, tor := range e.Torrents() {
			if tor.Running() {
				n++
			}
		}
		return n
	}
	for i := range 100 {
		tor := addTorrent(t, e, &source.Spec{InfoHash: [20]byte{1, byte(i)}})
		if err := tor.Warm(); err != nil {
			t.Fatal(err)
		}
	}
	if warm() != most {
		t.Errorf("%d torrents are warm, want %d", warm(), most)
	}
	c := numberedContent(t, 1)
	tor := addTorrent(t, e, specOf(c))
	ctx := testContext(t, 30*time.Second)
	if !dialBare(t, portOf(e), c.InfoHash()).ends(ctx) {
		t.Error("a peer warms one more")
	}
	if warm() != most {
		t.Errorf("%d torrents are warm, want %d", warm(), most)
	}
	tor.AddPeers([]string{openSeeder(t, c, swarmtest.SeederOptions{}).Addr()})
	wantBytes(t, ctx, tor, c, 0, 1<<20)
}

// TestMetadataLostOnTheWay: a read that has seen the metadata, and whose swarm finds
// none, is told so.
func TestMetadataLostOnTheWay(t *testing.T) {
	c := numberedContent(t, 1)
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, magnetOf(c))
	if err := tor.WaitUnlearned(testContext(t, 30*time.Second), c.Info()); !errors.Is(err, engine.ErrUnlearned) {
		t.Errorf("%v", err)
	}
}

// TestRemovedAndAddedAgain: the tracker hears the goodbye of the former torrent before
// the greeting of the next one.
func TestRemovedAndAddedAgain(t *testing.T) {
	events := make(chan string, 100)
	tracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ev := r.URL.Query().Get("event"); ev != "" {
			events <- ev
		}
		_, _ = w.Write([]byte("d8:intervali1800e5:peers0:e"))
	}))
	t.Cleanup(tracker.Close)
	c := numberedContent(t, 1)
	e := openEngine(t, engine.Options{})
	next := func() string {
		select {
		case ev := <-events:
			return ev
		case <-testContext(t, 30*time.Second).Done():
			return "nothing"
		}
	}
	spec := specOf(c)
	spec.Trackers = [][]string{{tracker.URL + "/announce"}}
	tor := addTorrent(t, e, spec)
	if err := tor.Warm(); err != nil {
		t.Fatal(err)
	}
	if ev := next(); ev != "started" {
		t.Fatalf("the tracker hears %q, want a greeting", ev)
	}
	patient := testContext(t, 30*time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !slices.ContainsFunc(tor.Stats().Trackers, func(line string) bool { return strings.HasSuffix(line, ": no peers") }) {
		select {
		case <-tick.C: // a goodbye goes to trackers that have answered
		case <-patient.Done():
			t.Fatalf("the tracker has not answered: %v", tor.Stats().Trackers)
		}
	}
	if err := e.Remove(c.InfoHash()); err != nil {
		t.Fatal(err)
	}
	if err := addTorrent(t, e, spec).Warm(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"stopped", "started"} {
		if ev := next(); ev != want {
			t.Fatalf("the tracker hears %q, want %q", ev, want)
		}
	}
}
