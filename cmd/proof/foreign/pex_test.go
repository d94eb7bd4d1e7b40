package foreign_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/proof/foreign"
	"github.com/weirfs/weir/engine/swarmtest"
)

// pexTimeout is far more than a minute: some send their first PEX message only then.
const pexTimeout = 5 * time.Minute

// hop is a torrent with a seeder that some shall hear of through others.
type hop struct {
	content *swarmtest.Content
	seeder  *swarmtest.Seeder
	torrent string // path of a .torrent whose tracker is tracker
	tracker *swarmtest.Tracker
}

func openHop(t *testing.T, lacks func(c *swarmtest.Content, piece int) bool) *hop {
	t.Helper()
	h := &hop{}
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "hop", PieceLength: 64 << 10, Files: []swarmtest.File{{Path: []string{"file.bin"}, Length: 16 * 64 << 10, Seed: 9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.content = c
	if h.seeder, err = swarmtest.OpenSeeder(swarmtest.SeederOptions{
		Addr: foreign.NextIP() + ":0", Contents: []*swarmtest.Content{c},
		Have: func(c *swarmtest.Content, piece int) bool { return lacks == nil || !lacks(c, piece) },
	}); err != nil {
		t.Fatal(err)
	}
	if h.tracker, err = swarmtest.OpenTracker(swarmtest.TrackerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.seeder.Close(); err != nil {
			t.Error(err)
		}
		if err := h.tracker.Close(); err != nil {
			t.Error(err)
		}
	})
	h.torrent = h.write(t, h.tracker.URL())
	return h
}

// write writes a .torrent with trackers.
func (h *hop) write(t *testing.T, trackers ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hop.torrent")
	hints := swarmtest.Hints{}
	if len(trackers) > 0 {
		hints.Trackers = [][]string{trackers}
	}
	if err := os.WriteFile(path, h.content.Torrent(hints), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// toldByWeir: weir knows the seeder and holds nothing; the client knows weir
// alone, and gets everything from the seeder.
func toldByWeir(t *testing.T, c foreign.Client, seen *seen) {
	h := openHop(t, nil)
	addr := freeAddr(t)
	m := start(t, "--listen="+addr, "--peer="+h.seeder.Addr(), h.write(t))
	ctx, cancel := context.WithTimeout(t.Context(), pexTimeout)
	defer cancel()
	if err := h.seeder.WaitFor(ctx, func(n swarmtest.Counters) bool { return n.ConnsOpen > 0 }); err != nil {
		t.Fatalf("weir has not connected to the seeder: %v", err)
	}
	h.tracker.SetPeers(addr)
	job := foreign.Job{Source: h.torrent, Dir: t.TempDir(), IP: foreign.NextIP(), PEX: true}
	c.Start(t, job).WaitComplete(t)
	m.Unmount(t)
	if !t.Failed() {
		seen.add(c, weirUploads, foreign.ByPEX)
	}
}

// toldByClient: the client knows the seeder, and has not got everything from it,
// so that it stays; weir knows the client alone, and joins the seeder. A client
// that tells of new peers only hears of the seeder after weir has come.
func toldByClient(t *testing.T, c foreign.Client, seen *seen) {
	h := openHop(t, func(c *swarmtest.Content, piece int) bool { return piece == c.Info().NumPieces()-1 })
	if !c.TellsNewOnly {
		h.tracker.SetPeers(h.seeder.Addr())
	}
	client := c.Start(t, foreign.Job{Source: h.torrent, Dir: t.TempDir(), IP: foreign.NextIP(), PEX: true})
	ctx, cancel := context.WithTimeout(t.Context(), pexTimeout)
	defer cancel()
	met := func() {
		if err := h.seeder.WaitFor(ctx, func(n swarmtest.Counters) bool { return n.ConnsOpen > 0 }); err != nil {
			t.Fatalf("the client has not connected to the seeder: %v", err)
		}
	}
	if !c.TellsNewOnly {
		met()
	}
	m := start(t, "--peer="+client.Addr, h.write(t))
	// weir alone knows with whom it speaks: some clients have its address too.
	joins := func(addr string) {
		joined := fmt.Sprintf("msg=\"peer joined\" torrent=%s peer=%s ", h.content.InfoHash(), addr)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for !strings.Contains(m.Log(), joined) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("weir has not joined %s", addr)
			}
		}
	}
	if c.TellsNewOnly {
		joins(client.Addr)
		h.tracker.SetPeers(h.seeder.Addr())
		met()
		// It hangs up on whom it exchanges nothing with for a minute, just before it
		// would send its message.
		f, err := os.Open(m.Path("hop", "file.bin"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
			t.Error(err)
		}
		f.Close()
	}
	joins(h.seeder.Addr())
	m.Unmount(t)
	if !t.Failed() {
		seen.add(c, weirDownloads, foreign.ByPEX)
	}
}

// freeAddr returns where weir can listen.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
