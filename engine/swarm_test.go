package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

func parse(tb testing.TB, torrent []byte, err error) *source.Spec {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	spec, err := source.ParseTorrent(torrent)
	if err != nil {
		tb.Fatal(err)
	}
	return spec
}

func TestPeersFromTheTracker(t *testing.T) {
	for name, notCompact := range map[string]bool{"Compact": false, "Dictionaries": true} {
		t.Run(name, func(t *testing.T) {
			c := newContent(t, 4<<20, 256<<10)
			s := swarmtest.New(t, swarmtest.Options{
				Contents: []*swarmtest.Content{c}, Seeders: 3, Tracker: swarmtest.TrackerOptions{NotCompact: notCompact},
			})
			e := openEngine(t, engine.Options{})
			tor := addTorrent(t, e, parse(t, s.Torrent(c), nil))
			ctx := testContext(t, 20*time.Second)
			wantBytes(t, ctx, tor, c, 0, 4<<20)
			a, err := s.Tracker().WaitAnnounce(ctx, func(a swarmtest.Announce) bool { return a.Event == "started" })
			if err != nil {
				t.Fatal(err)
			}
			if a.Left != 4<<20 || int(a.Addr.Port()) != e.Port() {
				t.Errorf("announced %d left at port %d, want %d and %d", a.Left, a.Addr.Port(), 4<<20, e.Port())
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Tracker().WaitAnnounce(ctx, func(a swarmtest.Announce) bool { return a.Event == "stopped" }); err != nil {
				t.Error("the tracker was not told of the end: ", err)
			}
			for _, v := range s.Violations() {
				t.Errorf("violation of the protocol: %s", v)
			}
		})
	}
}

// TestDeadTrackerDelaysNobody: the peers come from the second tier while the
// first hangs.
func TestDeadTrackerDelaysNobody(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := swarmtest.New(t, swarmtest.Options{Contents: []*swarmtest.Content{c}})
	hangs, err := swarmtest.OpenTracker(swarmtest.TrackerOptions{Fault: swarmtest.TrackerHangs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hangs.Close() })
	spec := specOf(c)
	spec.Trackers = [][]string{{hangs.URL()}, {s.Tracker().URL()}}
	e := openEngine(t, engine.Options{})
	wantBytes(t, testContext(t, 5*time.Second), addTorrent(t, e, spec), c, 0, 4096)
}

// portOf returns where an engine listens.
func portOf(e *engine.Engine) string { return fmt.Sprintf("127.0.0.1:%d", e.Port()) }

// seeded returns an engine that holds the whole content, and where it listens.
func seeded(t *testing.T, c *swarmtest.Content) (*engine.Torrent, *memStore, string) {
	t.Helper()
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := newMemStore()
	e := openEngine(t, engine.Options{Store: store})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	wantBytes(t, ctx, tor, c, 0, int(c.Info().Length))
	for i := range c.Info().NumPieces() {
		store.waitFor(ctx, weir.PieceID{Torrent: c.InfoHash(), Index: i})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return tor, store, portOf(e)
}

func dialLeech(t *testing.T, addr string, ih weir.InfoHash, o swarmtest.LeechOptions) *swarmtest.Leech {
	t.Helper()
	l, err := swarmtest.DialLeech(testContext(t, 10*time.Second), addr, ih, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestUploads(t *testing.T) {
	c := newContent(t, 1<<20+100, 256<<10)
	_, store, addr := seeded(t, c)
	ctx := testContext(t, 20*time.Second)
	for name, o := range map[string]swarmtest.LeechOptions{
		"Fast": {}, "NoFast": {NoFast: true}, "NoExtended": {NoExtended: true}, "Bare": {NoFast: true, NoExtended: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := dialLeech(t, addr, c.InfoHash(), o)
			want := make([]byte, 100)
			if _, err := c.ReadAt(want, 1<<20); err != nil {
				t.Fatal(err)
			}
			got, err := l.Fetch(ctx, 4, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Error("the uploaded block is wrong")
			}
			for i := range 5 {
				if !l.Has(i) {
					t.Errorf("piece %d is not offered", i)
				}
			}
		})
	}
	t.Run("Metadata", func(t *testing.T) {
		b, err := dialLeech(t, addr, c.InfoHash(), swarmtest.LeechOptions{}).Metadata(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, c.InfoBytes()) {
			t.Error("the metadata served is wrong")
		}
	})
	t.Run("EvictedIsRejected", func(t *testing.T) {
		l := dialLeech(t, addr, c.InfoHash(), swarmtest.LeechOptions{})
		store.evict(weir.PieceID{Torrent: c.InfoHash(), Index: 1})
		if _, err := l.Fetch(ctx, 1, 0, weir.BlockBytes); !errors.Is(err, swarmtest.ErrRejected) {
			t.Errorf("fetch of an evicted piece: %v, want a reject", err)
		}
		if _, err := l.Fetch(ctx, 2, 0, weir.BlockBytes); err != nil {
			t.Errorf("the connection is of no use after a reject: %v", err)
		}
	})
	t.Run("NonsenseEndsTheConnection", func(t *testing.T) {
		l := dialLeech(t, addr, c.InfoHash(), swarmtest.LeechOptions{})
		if err := l.Request(1000, 0, weir.BlockBytes); err != nil {
			t.Fatal(err)
		}
		if err := l.Wait(ctx, func() bool { return l.Err() != nil }); err != nil && l.Err() == nil {
			t.Errorf("a request outside of the torrent is tolerated: %v", err)
		}
	})
	t.Run("UnknownTorrentIsRefused", func(t *testing.T) {
		if _, err := swarmtest.DialLeech(ctx, addr, weir.InfoHash{1}, swarmtest.LeechOptions{}); err == nil {
			t.Error("a handshake for an unknown torrent was answered")
		}
	})
}

// TestMoreLeechesThanSlots: all are served in the end, though few at a time.
func TestMoreLeechesThanSlots(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	_, _, addr := seeded(t, c)
	ctx := testContext(t, 20*time.Second)
	var wg sync.WaitGroup
	for i := range 12 {
		l := dialLeech(t, addr, c.InfoHash(), swarmtest.LeechOptions{})
		wg.Go(func() {
			if _, err := l.Fetch(ctx, i%4, 0, weir.BlockBytes); err != nil {
				t.Errorf("leech %d: %v", i, err)
			}
			if err := l.Close(); err != nil { // its slot goes to one that waits
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestTwoEnginesTradePieces: each has half of the content, and in the end both
// have all of it.
func TestTwoEnginesTradePieces(t *testing.T) {
	c := newContent(t, 4<<20, 256<<10)
	n := c.Info().NumPieces()
	var engines [2]*engine.Engine
	var torrents [2]*engine.Torrent
	ctx := testContext(t, 30*time.Second)
	for side := range engines {
		s := openSeeder(t, c, swarmtest.SeederOptions{Have: func(_ *swarmtest.Content, piece int) bool { return piece%2 == side }})
		engines[side] = openEngine(t, engine.Options{})
		torrents[side] = addTorrent(t, engines[side], specOf(c, s.Addr()))
		for i := side; i < n; i += 2 {
			wantBytes(t, ctx, torrents[side], c, int64(i)*256<<10, 256<<10)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	torrents[0].AddPeers([]string{fmt.Sprintf("127.0.0.1:%d", engines[1].Port())})
	for _, tor := range torrents {
		wantBytes(t, ctx, tor, c, 0, 4<<20)
	}
}

func TestMetadataOfAnotherTorrentIsRefused(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{Faults: swarmtest.Faults{MetadataCorrupt: true}})
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, magnetOf(c, s.Addr()))
	ctx, cancel := context.WithCancel(testContext(t, 20*time.Second))
	defer cancel()
	ended := make(chan error, 1)
	go func() { _, err := tor.WaitInfo(ctx); ended <- err }()
	err := s.WaitFor(ctx, func(n swarmtest.Counters) bool { return n.MetadataPieces > 0 && n.ConnsOpen == 0 })
	if err != nil {
		t.Fatal("who sends another torrent's metadata stays connected: ", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || tor.Info() != nil {
		t.Errorf("metadata with a wrong hash: %v, %v", tor.Info(), err)
	}
}

func TestEncryption(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	ours := map[string]engine.Encryption{"Off": engine.EncryptionOff, "Allowed": engine.EncryptionAllowed, "Required": engine.EncryptionRequired}
	theirs := map[string]swarmtest.Encryption{"Off": swarmtest.EncryptionOff, "Allowed": swarmtest.EncryptionAllowed, "Required": swarmtest.EncryptionRequired}
	for our, e := range ours {
		for their, o := range theirs {
			t.Run(our+"Meets"+their, func(t *testing.T) {
				t.Parallel()
				s := openSeeder(t, c, swarmtest.SeederOptions{Encryption: o})
				tor := addTorrent(t, openEngine(t, engine.Options{Encryption: e}), magnetOf(c, s.Addr()))
				if our == "Off" && their == "Required" || our == "Required" && their == "Off" {
					readFromStrangers(t, tor)
					return
				}
				wantBytes(t, testContext(t, 20*time.Second), tor, c, 0, 1<<20)
			})
		}
	}
	for our, e := range ours {
		for their, o := range ours {
			t.Run("Engines"+our+"And"+their, func(t *testing.T) {
				t.Parallel()
				s := openSeeder(t, c, swarmtest.SeederOptions{Encryption: swarmtest.EncryptionAllowed})
				first := openEngine(t, engine.Options{Encryption: e})
				wantBytes(t, testContext(t, 20*time.Second), addTorrent(t, first, specOf(c, s.Addr())), c, 0, 1<<20)
				second := addTorrent(t, openEngine(t, engine.Options{Encryption: o}), specOf(c, portOf(first)))
				if our == "Off" && their == "Required" || our == "Required" && their == "Off" {
					readFromStrangers(t, second)
					return
				}
				wantBytes(t, testContext(t, 20*time.Second), second, c, 0, 1<<20)
			})
		}
	}
}

// readFromStrangers reads from a torrent whose only peer does not understand our handshake,
// until the engine reports that.
func readFromStrangers(t *testing.T, tor *engine.Torrent) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t, 20*time.Second))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- tor.ReadAt(ctx, make([]byte, 1), 0) }()
	waitWhy(t, ctx, tor, "1 peer known, none connected: the last one ")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("they understood each other: %v", err)
	}
	if n := tor.Stats().Downloaded; n > 0 {
		t.Errorf("%d bytes came", n)
	}
}

// TestPEX: a peer that only another peer knows of is found through it, unless
// the torrent is private.
func TestPEX(t *testing.T) {
	for name, private := range map[string]bool{"Public": false, "Private": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := swarmtest.NewContent(swarmtest.ContentOptions{
				Name: "pex", Private: private, Files: []swarmtest.File{{Path: []string{"a"}, Length: 1 << 20, Seed: 5}},
			})
			if err != nil {
				t.Fatal(err)
			}
			s := openSeeder(t, c, swarmtest.SeederOptions{})
			between := openEngine(t, engine.Options{})
			ctx := testContext(t, 20*time.Second)
			wantBytes(t, ctx, addTorrent(t, between, specOf(c, s.Addr())), c, 0, 1)
			far := addTorrent(t, openEngine(t, engine.Options{}), specOf(c, portOf(between)))
			if private {
				short, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				if err := far.ReadAt(short, make([]byte, 1<<20), 0); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("read of a private torrent whose peers nobody may tell: %v", err)
				}
				return
			}
			wantBytes(t, ctx, far, c, 0, 1<<20)
		})
	}
}
