package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/swarmtest"
)

// ends waits until the connection is closed.
func (p *barePeer) ends(ctx context.Context) bool {
	for {
		select {
		case _, open := <-p.in:
			if !open {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// newSeedingEngine returns an engine that holds all of the contents and has no peers.
func newSeedingEngine(t *testing.T, o engine.Options, contents ...*swarmtest.Content) (*engine.Engine, []*engine.Torrent) {
	t.Helper()
	e := openEngine(t, o)
	ctx := testContext(t, 20*time.Second)
	var torrents []*engine.Torrent
	for _, c := range contents {
		s := openSeeder(t, c, swarmtest.SeederOptions{})
		tor := addTorrent(t, e, specOf(c, s.Addr()))
		wantBytes(t, ctx, tor, c, 0, int(c.Info().Length))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		torrents = append(torrents, tor)
	}
	awaitConnSlots(t, ctx, e, 0)
	return e, torrents
}

// awaitConnSlots waits until n connection slots are in use.
func awaitConnSlots(t *testing.T, ctx context.Context, e *engine.Engine, want int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		open, dialing := e.ConnSlots()
		if open == want && dialing == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d connections count, %d of them dials; want %d", open, dialing, want)
		}
	}
}

func numberedContent(t *testing.T, n int) *swarmtest.Content {
	t.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: fmt.Sprint("content", n), PieceLength: 256 << 10,
		Files: []swarmtest.File{{Path: []string{"a"}, Length: 1 << 20, Seed: uint64(n)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestIncomingWhenTheTorrentIsFull: a new peer replaces an idle one, and no other.
func TestIncomingWhenTheTorrentIsFull(t *testing.T) {
	c := numberedContent(t, 1)
	e, torrents := newSeedingEngine(t, engine.Options{MaxPeers: 3, Peers: nil}, c)
	ctx := testContext(t, 20*time.Second)
	busy, idle := dialBare(t, portOf(e), c.InfoHash()), dialBareMany(t, ctx, portOf(e), c.InfoHash(), 2)
	busy.send(wire.AppendBare(nil, pp.Interested))
	busy.expect(ctx, "unchoke", isType(pp.Unchoke))
	if !dialBare(t, portOf(e), c.InfoHash()).ends(ctx) {
		t.Error("a fourth peer was let in, while none is useless")
	}
	awaitConnSlots(t, ctx, e, 3)
	torrents[0].Age(time.Minute)
	dialBareMany(t, ctx, portOf(e), c.InfoHash(), 2)
	for i, p := range idle {
		if !p.ends(ctx) {
			t.Errorf("idle peer %d has not given way", i)
		}
	}
	if !dialBare(t, portOf(e), c.InfoHash()).ends(ctx) {
		t.Error("a peer that waits for its turn gave way after a minute")
	}
	busy.send(wire.AppendRequest(nil, pp.Request, 0, 0, weir.BlockBytes))
	busy.expect(ctx, "block", isType(pp.Piece))
	awaitConnSlots(t, ctx, e, 3)
	if err := e.Remove(c.InfoHash()); err != nil {
		t.Fatal(err)
	}
	awaitConnSlots(t, ctx, e, 0)
}

// TestIncomingWhenTheEngineIsFull: the same over all torrents.
func TestIncomingWhenTheEngineIsFull(t *testing.T) {
	first, second := numberedContent(t, 1), numberedContent(t, 2)
	e, torrents := newSeedingEngine(t, engine.Options{MaxConnections: 3}, first, second)
	ctx := testContext(t, 20*time.Second)
	old := dialBareMany(t, ctx, portOf(e), first.InfoHash(), 3)
	if !dialBare(t, portOf(e), second.InfoHash()).ends(ctx) {
		t.Error("a fourth peer was let in, while none is useless")
	}
	torrents[0].Age(time.Minute)
	dialBareMany(t, ctx, portOf(e), second.InfoHash(), 3)
	for i, p := range old {
		if !p.ends(ctx) {
			t.Errorf("idle peer %d of the other torrent has not given way", i)
		}
	}
	awaitConnSlots(t, ctx, e, 3)
}

// TestReadGetsItsShare: a read of one torrent gets through although the connections
// are used up by another one.
func TestReadGetsItsShare(t *testing.T) {
	first, second := numberedContent(t, 1), numberedContent(t, 2)
	e := openEngine(t, engine.Options{MaxConnections: 4})
	ctx := testContext(t, 20*time.Second)
	var peers []string
	for i := range 8 { // twice as many as it gets
		peers = append(peers, openSeeder(t, first, swarmtest.SeederOptions{Addr: fmt.Sprintf("127.0.0.%d:0", i+2)}).Addr())
	}
	hog := addTorrent(t, e, specOf(first, peers...))
	wantBytes(t, ctx, hog, first, 0, 1)
	awaitConnSlots(t, ctx, e, 4)
	tor := addTorrent(t, e, specOf(second, openSeeder(t, second, swarmtest.SeederOptions{}).Addr()))
	wantBytes(t, ctx, tor, second, 0, 1<<20)
	wantBytes(t, ctx, hog, first, 0, 1<<20)
	if open, _ := e.ConnSlots(); open > 4 {
		t.Errorf("%d connections, the bound is 4", open)
	}
}

// TestEverybodyIsServedByTurns: more leeches than slots, none of which leaves. The
// first eight are served at once, the others when time passes.
func TestEverybodyIsServedByTurns(t *testing.T) {
	c := numberedContent(t, 1)
	e, torrents := newSeedingEngine(t, engine.Options{}, c)
	ctx := testContext(t, 20*time.Second)
	var leeches []*swarmtest.Leech
	for i := range 10 {
		l := dialLeech(t, portOf(e), c.InfoHash(), swarmtest.LeechOptions{})
		if err := l.Interested(); err != nil {
			t.Fatal(err)
		}
		if i < 8 {
			if err := l.Wait(ctx, l.Unchoked); err != nil {
				t.Fatalf("leech %d has no slot, though one is free: %v", i, err)
			}
		}
		leeches = append(leeches, l)
	}
	// AgeChoker than any turn; the answer to a request shows that both were heard.
	for _, l := range leeches[8:] {
		if _, err := l.Metadata(ctx); err != nil {
			t.Fatal(err)
		}
		if l.Unchoked() {
			t.Fatal("more peers than slots are served")
		}
	}
	torrents[0].AgeChoker(40 * time.Second)
	for i, l := range leeches[8:] {
		if _, err := l.Fetch(ctx, i%4, 0, weir.BlockBytes); err != nil {
			t.Errorf("leech %d: %v", i+8, err)
		}
	}
}
