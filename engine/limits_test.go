package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// within checks that n bytes in d are the rate, to a tenth.
func within(t *testing.T, what string, n int64, d time.Duration, rate float64) {
	t.Helper()
	got := float64(n) / d.Seconds()
	t.Logf("%s: %.3f MB/s, limit %.3f", what, got/1e6, rate/1e6)
	if got < 0.9*rate || got > 1.1*rate {
		t.Errorf("%s: %.0f bytes per second, want %.0f ± 10 %%", what, got, rate)
	}
}

// drink keeps requests at the peer until ctx ends and returns the bytes received.
func drink(ctx context.Context, l *swarmtest.Leech, c *swarmtest.Content) int64 {
	if l.Interested() != nil || l.Wait(ctx, l.Unchoked) != nil {
		return 0
	}
	const ahead = 8
	perPiece := int(c.Info().PieceLength / weir.BlockBytes)
	at := func(i int) (piece, begin int) {
		i %= c.Info().NumPieces() * perPiece
		return i / perPiece, i % perPiece * weir.BlockBytes
	}
	asked := 0
	for i := 0; ; i++ {
		for ; asked < i+ahead; asked++ {
			piece, begin := at(asked)
			if l.Request(piece, begin, weir.BlockBytes) != nil {
				return int64(i) * weir.BlockBytes
			}
		}
		piece, begin := at(i)
		if l.Wait(ctx, func() bool { b, _ := l.Block(piece, begin, weir.BlockBytes); return b != nil }) != nil {
			return int64(i) * weir.BlockBytes
		}
	}
}

// TestUploadLimit: four leeches share the limit, over two torrents, evenly.
func TestUploadLimit(t *testing.T) {
	t.Parallel()
	const limit, d = 2 << 20, 5 * time.Second
	e := openEngine(t, engine.Options{})
	ctx := testContext(t, time.Minute)
	var contents []*swarmtest.Content
	var torrents []*engine.Torrent
	for i := range 2 {
		c, err := swarmtest.NewContent(swarmtest.ContentOptions{
			Name: fmt.Sprint("up", i), PieceLength: 1 << 20,
			Files: []swarmtest.File{{Path: []string{"a"}, Length: 16 << 20, Seed: uint64(i)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := openSeeder(t, c, swarmtest.SeederOptions{})
		tor := addTorrent(t, e, specOf(c, s.Addr()))
		wantBytes(t, ctx, tor, c, 0, 16<<20)
		contents, torrents = append(contents, c), append(torrents, tor)
	}
	e.SetLimits(limit, 0)
	drinking, stop := context.WithTimeout(ctx, d)
	defer stop()
	got := make([]int64, 4)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range got {
		c := contents[i%2]
		l := dialLeech(t, portOf(e), c.InfoHash(), swarmtest.LeechOptions{})
		wg.Go(func() { got[i] = drink(drinking, l, c) })
	}
	wg.Wait()
	took := time.Since(begin)
	var total int64
	for i, n := range got {
		total += n
		if n < limit/4*5*8/10 || n > limit/4*5*12/10 {
			t.Errorf("leech %d got %d bytes, a fair share is %d", i, n, limit/4*5)
		}
	}
	within(t, "received", total, took, limit)
	within(t, "counted", torrents[0].Stats().Uploaded+torrents[1].Stats().Uploaded, took, limit)
}

// TestUploadLimitHoldsUpNothingElse: while blocks wait for hours, requests, haves and
// a change of the limit pass at once.
func TestUploadLimitHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	c := newContent(t, 8<<20, 1<<20)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openEngine(t, engine.Options{UploadLimit: 1})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	wantBytes(t, ctx, tor, c, 0, 1<<20)
	l := dialLeech(t, portOf(e), c.InfoHash(), swarmtest.LeechOptions{})
	if _, err := l.Fetch(ctx, 0, 0, weir.BlockBytes); err != nil {
		t.Fatal(err) // the first block goes at once
	}
	for i := 1; i < 4; i++ {
		if err := l.Request(0, i*weir.BlockBytes, weir.BlockBytes); err != nil {
			t.Fatal(err)
		}
	}
	wantBytes(t, ctx, tor, c, 1<<20, 1<<20)
	if err := l.Wait(ctx, func() bool { return l.Has(1) }); err != nil {
		t.Error("no have arrives while blocks wait: ", err)
	}
	if err := l.Cancel(0, 2*weir.BlockBytes, weir.BlockBytes); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(ctx, func() bool { _, rejected := l.Block(0, 2*weir.BlockBytes, weir.BlockBytes); return rejected }); err != nil {
		t.Error("a cancel is not answered while blocks wait: ", err)
	}
	if b, _ := l.Block(0, weir.BlockBytes, weir.BlockBytes); b != nil {
		t.Error("a block passed the limit")
	}
	e.SetLimits(0, 0)
	if err := l.Wait(ctx, func() bool { b, _ := l.Block(0, 3*weir.BlockBytes, weir.BlockBytes); return b != nil }); err != nil {
		t.Error("blocks wait after the limit went: ", err)
	}
}

// TestDownloadLimit: reads of two torrents from four seeders each share the limit;
// little is fetched twice, although every peer looks slow.
func TestDownloadLimit(t *testing.T) {
	t.Parallel()
	const limit, d = 2 << 20, 5 * time.Second
	e := openEngine(t, engine.Options{DownloadLimit: limit})
	var torrents []*engine.Torrent
	for i := range 2 {
		c, err := swarmtest.NewContent(swarmtest.ContentOptions{
			Name: fmt.Sprint("down", i), PieceLength: 1 << 20,
			Files: []swarmtest.File{{Path: []string{"a"}, Length: 64 << 20, Seed: uint64(i)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var peers []string
		for j := range 4 {
			peers = append(peers, openSeeder(t, c, swarmtest.SeederOptions{Addr: fmt.Sprintf("127.0.0.%d:0", j+2)}).Addr())
		}
		tor := addTorrent(t, e, specOf(c, peers...))
		torrents = append(torrents, tor)
	}
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	var wg sync.WaitGroup
	begin := time.Now()
	for _, tor := range torrents {
		wg.Go(func() {
			for off := int64(0); tor.ReadAt(ctx, make([]byte, 1<<20), off) == nil; off += 1 << 20 {
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	var total, wasted int64
	for i, tor := range torrents {
		st := tor.Stats()
		t.Logf("torrent %d: %+v", i, st)
		total += st.Downloaded
		wasted += st.Wasted
		if st.Downloaded < limit*5/4 {
			t.Errorf("torrent %d got %d bytes of %d", i, st.Downloaded, limit*5)
		}
	}
	within(t, "received", total, took, limit)
	if wasted > total/20 {
		t.Errorf("%d bytes of %d were of no use", wasted, total)
	}
	e.SetLimits(0, 0)
	all, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	if err := torrents[0].ReadAt(all, make([]byte, 64<<20), 0); err != nil {
		t.Error("without the limit: ", err)
	}
}
