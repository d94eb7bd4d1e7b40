package engine_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newContent makes a torrent of one file.
func newContent(tb testing.TB, length, pieceLength int64) *swarmtest.Content {
	tb.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "content", PieceLength: pieceLength,
		Files: []swarmtest.File{{Path: []string{"file.bin"}, Length: length, Seed: 7}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func openSeeder(tb testing.TB, c *swarmtest.Content, o swarmtest.SeederOptions) *swarmtest.Seeder {
	tb.Helper()
	o.Contents = append(o.Contents, c)
	s, err := swarmtest.OpenSeeder(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func openEngine(tb testing.TB, o engine.Options) *engine.Engine {
	tb.Helper()
	if o.Store == nil {
		o.Store = newMemStore()
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	e := engine.New(o)
	if err := e.Open(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}

// specOf is the content as a .torrent with peers and without trackers.
func specOf(c *swarmtest.Content, peers ...string) *source.Spec {
	return &source.Spec{
		InfoHash: c.InfoHash(), Name: c.Info().Name, Info: c.Info(), InfoBytes: c.InfoBytes(), PieceHashes: c.PieceHashes(),
		Peers: peers,
	}
}

// magnetOf is the content as a magnet with peers.
func magnetOf(c *swarmtest.Content, peers ...string) *source.Spec {
	return &source.Spec{InfoHash: c.InfoHash(), Peers: peers}
}

func addTorrent(tb testing.TB, e *engine.Engine, s *source.Spec) *engine.Torrent {
	tb.Helper()
	t, err := e.Add(s)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// testContext ends after four times the time that a test may take on an idle machine.
func testContext(tb testing.TB, d time.Duration) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*d)
	tb.Cleanup(cancel)
	return ctx
}

// wantBytes reads n bytes at off and compares them with the content.
func wantBytes(tb testing.TB, ctx context.Context, t *engine.Torrent, c *swarmtest.Content, off int64, n int) {
	tb.Helper()
	got, want := make([]byte, n), make([]byte, n)
	if err := t.ReadAt(ctx, got, off); err != nil {
		tb.Fatalf("read %d bytes at %d: %v", n, off, err)
	}
	if _, err := c.ReadAt(want, off); err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		tb.Fatalf("read %d bytes at %d: wrong content", n, off)
	}
}

func TestReadFetchesThePieceAndNoMore(t *testing.T) {
	c := newContent(t, 8<<20, 1<<20)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	wantBytes(t, ctx, tor, c, 3<<20+100, 4096)
	wantBytes(t, ctx, tor, c, 3<<20+70000, 4096)
	if got := s.Counters().PayloadBytes; got != 1<<20 {
		t.Errorf("the seeder sent %d bytes, want one piece of %d", got, 1<<20)
	}
}

func TestReadAcrossPieces(t *testing.T) {
	c := newContent(t, 3<<20+12345, 1<<20)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	wantBytes(t, testContext(t, 20*time.Second), tor, c, 0, 3<<20+12345)
	if v := s.Violations(); len(v) > 0 {
		t.Errorf("violations of the protocol: %q", v)
	}
}

func TestMagnet(t *testing.T) {
	c := newContent(t, 4<<20, 64<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := newMemStore()
	e := openEngine(t, engine.Options{Store: store})
	tor := addTorrent(t, e, magnetOf(c, s.Addr()))
	if tor.Info() != nil {
		t.Fatal("metadata is known before any peer was asked")
	}
	ctx := testContext(t, 20*time.Second)
	wantBytes(t, ctx, tor, c, 1<<20, 128<<10)
	again := openEngine(t, engine.Options{Store: store})
	if addTorrent(t, again, magnetOf(c)).Info() == nil {
		t.Error("a second engine on the same store has to ask for the metadata again")
	}
}

func TestInterruptedReadIsCancelled(t *testing.T) {
	c := newContent(t, 8<<20, 4<<20)
	s := openSeeder(t, c, swarmtest.SeederOptions{Link: simnet.Link{RTT: 5 * time.Millisecond, BytesPerSec: 500 << 10}})
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 1)
	go func() { errs <- tor.ReadAt(ctx, make([]byte, 4096), 0) }()
	if err := s.WaitFor(testContext(t, 10*time.Second), func(n swarmtest.Counters) bool { return n.Blocks >= 4 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted read returned %v, want context.Canceled", err)
	}
	if err := s.WaitFor(testContext(t, 10*time.Second), func(n swarmtest.Counters) bool { return n.CancelsInTime > 0 }); err != nil {
		t.Error("the seeder saw no cancel: ", err)
	}
}

func TestRemovedWhileReading(t *testing.T) {
	c := newContent(t, 1<<20, 1<<20)
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, specOf(c)) // no peers
	errs := make(chan error, 1)
	go func() { errs <- tor.ReadAt(context.Background(), make([]byte, 1), 0) }()
	if err := e.Remove(tor.InfoHash()); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, weir.ErrRemoved) {
		t.Errorf("read of a removed torrent returned %v, want %v", err, weir.ErrRemoved)
	}
}
