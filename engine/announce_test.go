package engine_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// holdPieces puts pieces of a content into a store.
func holdPieces(tb testing.TB, store *memStore, c *swarmtest.Content, pieces ...int) {
	tb.Helper()
	for _, i := range pieces {
		r := c.Info().PieceRange(i)
		b := make([]byte, r.Len())
		if _, err := c.ReadAt(b, r.Off); err != nil {
			tb.Fatal(err)
		}
		if err := store.Put(weir.PieceID{Torrent: c.InfoHash(), Index: i}, [][]byte{b}); err != nil {
			tb.Fatal(err)
		}
	}
}

func allPieces(c *swarmtest.Content) (all []int) {
	for i := range c.Info().NumPieces() {
		all = append(all, i)
	}
	return all
}

// storedSpec is what is known of a torrent of a former run: trackers, but no metadata.
func storedSpec(c *swarmtest.Content, trackers ...*swarmtest.Tracker) *source.Spec {
	spec := &source.Spec{InfoHash: c.InfoHash()}
	for _, tr := range trackers {
		spec.Trackers = append(spec.Trackers, []string{tr.URL()})
	}
	return spec
}

func addStored(tb testing.TB, e *engine.Engine, spec *source.Spec) *engine.Torrent {
	tb.Helper()
	tor, err := e.AddStored(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return tor
}

// awaitAnnounce waits until the tracker hears event of a torrent.
func awaitAnnounce(t *testing.T, tr *swarmtest.Tracker, ih weir.InfoHash, event string) swarmtest.Announce {
	t.Helper()
	a, err := tr.WaitAnnounce(testContext(t, 30*time.Second), func(a swarmtest.Announce) bool { return a.InfoHash == ih && a.Event == event })
	if err != nil {
		t.Fatalf("the tracker does not hear %q of %s: %v, but %+v", event, ih, err, tr.Announces())
	}
	return a
}

// TestHeldTorrentIsFound: a torrent that is held from a former run, and that nobody uses, is
// announced, cold, and warmed for a peer that got its address from the tracker.
func TestHeldTorrentIsFound(t *testing.T) {
	c := newContent(t, 1<<20, 64<<10)
	tr := openTracker(t, swarmtest.TrackerOptions{})
	store := newMemStore()
	storeRecords(t, store, c, false)
	holdPieces(t, store, c, allPieces(c)...)
	e := openEngine(t, engine.Options{Store: store})
	tor := addStored(t, e, storedSpec(c, tr))
	a := awaitAnnounce(t, tr, c.InfoHash(), "started")
	if a.Left != 0 {
		t.Errorf("it tells that %d bytes are left, and all are there", a.Left)
	}
	if s := tor.Stats().State; s != engine.StateCold {
		t.Errorf("the torrent is %s: an announce must not warm it", s)
	}
	ctx := testContext(t, 30*time.Second)
	l, err := swarmtest.DialLeech(ctx, a.Addr.String(), c.InfoHash(), swarmtest.LeechOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := l.Interested(); err != nil {
		t.Fatal(err)
	}
	got, err := l.Fetch(ctx, 3, 16<<10, 16<<10)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 16<<10)
	if _, err := c.ReadAt(want, 3*64<<10+16<<10); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the leech gets other bytes")
	}
}

// TestHeldTorrentStaysAnnounced: a torrent that cools is not told to have stopped; it is when
// it is removed. One of which nothing is held stops as it cools.
func TestHeldTorrentStaysAnnounced(t *testing.T) {
	held, empty := newContent(t, 128<<10, 64<<10), numberedContent(t, 3)
	tr := openTracker(t, swarmtest.TrackerOptions{})
	store := newMemStore()
	holdPieces(t, store, held, 1)
	e := openEngine(t, engine.Options{Store: store, Idle: 100 * time.Millisecond})
	ctx := testContext(t, 30*time.Second)
	for _, c := range []*swarmtest.Content{held, empty} {
		spec := specOf(c)
		spec.Trackers = [][]string{{tr.URL()}}
		tor := addTorrent(t, e, spec)
		if err := tor.Warm(); err != nil {
			t.Fatal(err)
		}
		awaitAnnounce(t, tr, c.InfoHash(), "started")
		awaitState(t, ctx, tor, engine.StateCold)
	}
	awaitAnnounce(t, tr, empty.InfoHash(), "stopped")
	for _, a := range tr.Announces() {
		if a.InfoHash == held.InfoHash() && a.Event == "stopped" {
			t.Error("the tracker hears that the torrent stopped, and a piece of it is held")
		}
	}
	if err := e.Remove(held.InfoHash()); err != nil {
		t.Fatal(err)
	}
	awaitAnnounce(t, tr, held.InfoHash(), "stopped")
}

// TestDeclinedTorrentIsNotFound: what is not offered is announced nowhere and not warmed for
// peers.
func TestDeclinedTorrentIsNotFound(t *testing.T) {
	c := newContent(t, 128<<10, 64<<10)
	tr := openTracker(t, swarmtest.TrackerOptions{})
	store := newMemStore()
	storeRecords(t, store, c, false)
	holdPieces(t, store, c, 0, 1)
	e := openEngine(t, engine.Options{Store: store})
	tor := addStored(t, e, storedSpec(c, tr))
	a := awaitAnnounce(t, tr, c.InfoHash(), "started")
	eventually(t, "the answer of the tracker", func() bool {
		return slices.Equal(tor.Announces(), []string{tr.URL() + ": no peers"})
	})
	tor.Offer(false)
	awaitAnnounce(t, tr, c.InfoHash(), "stopped")
	ctx := testContext(t, 30*time.Second)
	if l, err := swarmtest.DialLeech(ctx, a.Addr.String(), c.InfoHash(), swarmtest.LeechOptions{}); err == nil {
		defer func() { _ = l.Close() }()
		if err := l.Wait(ctx, func() bool { return l.Err() != nil }); err == nil && l.Err() == nil {
			t.Error("a peer is taken in")
		}
	}
	if s := tor.Stats().State; s != engine.StateCold {
		t.Errorf("the torrent is %s", s)
	}
	tor.Offer(true)
	eventually(t, "another greeting", func() bool {
		n := 0
		for _, a := range tr.Announces() {
			if a.Event == "started" {
				n++
			}
		}
		return n == 2
	})
}
