package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// atMost checks that n bytes in d are not above the rate, but for a tenth and the
// moment's worth that a limit lets through after a pause. How far below they are
// depends on the machine.
func atMost(t *testing.T, what string, n int64, d time.Duration, rate float64) {
	t.Helper()
	got := float64(n) / d.Seconds()
	t.Logf("%s: %.3f MB/s, limit %.3f", what, got/1e6, rate/1e6)
	if float64(n) > 1.1*rate*d.Seconds()+rate/4 {
		t.Errorf("%s: %.0f bytes per second, want at most %.0f and a tenth", what, got, rate)
	}
}

// requestRepeatedly keeps requests at the peer until ctx ends, and calls got with each block.
func requestRepeatedly(ctx context.Context, l *swarmtest.Leech, c *swarmtest.Content, got func()) {
	if l.Interested() != nil || l.Wait(ctx, l.Unchoked) != nil {
		return
	}
	const ahead = 64 // many seconds of requests, so that a machine that is busy elsewhere leaves none out
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
				return
			}
		}
		piece, begin := at(i)
		if l.Wait(ctx, func() bool { b, _ := l.Block(piece, begin, weir.BlockBytes); return b != nil }) != nil {
			return
		}
		got()
	}
}

// TestUploadLimit: four leeches share the limit, over two torrents, evenly. It is so
// low that a busy machine isn't the lower one: that shares by its own rules.
func TestUploadLimit(t *testing.T) {
	t.Parallel()
	const limit, blocks = 256 << 10, 120 // to be shared
	e := openEngine(t, engine.Options{})
	ctx := testContext(t, 5*time.Minute)
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
	drinking, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var got, before [4]int // blocks, and what they had when all had one
	shared := -1           // since then
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range got {
		l := dialLeech(t, portOf(e), contents[i%2].InfoHash(), swarmtest.LeechOptions{})
		wg.Go(func() {
			requestRepeatedly(drinking, l, contents[i%2], func() {
				mu.Lock()
				defer mu.Unlock()
				if shared == blocks {
					return
				}
				got[i]++
				if shared >= 0 {
					shared++
				} else if !slices.Contains(got[:], 0) {
					shared, before = 0, got
				}
				if shared == blocks {
					stop()
				}
			})
		})
	}
	wg.Wait()
	took := time.Since(begin)
	if shared < blocks {
		t.Fatalf("%d blocks of %d have arrived: %v", shared, blocks, context.Cause(ctx))
	}
	for i, n := range got {
		if n -= before[i]; n < blocks/4*7/10 || n > blocks/4*13/10 {
			t.Errorf("leech %d got %d blocks, a fair share is %d", i, n, blocks/4)
		}
	}
	all := int64(got[0]+got[1]+got[2]+got[3]) * weir.BlockBytes
	atMost(t, "received", all, took, limit)
	sent := torrents[0].Stats().Uploaded + torrents[1].Stats().Uploaded
	atMost(t, "counted", sent, took, limit)
	if sent < all {
		t.Errorf("%d bytes counted, %d received", sent, all)
	}
}

// TestUploadLimitHoldsUpNothingElse: while blocks wait for hours, requests, haves and
// a change of the limit pass at once.
func TestUploadLimitHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	c := newContent(t, 8<<20, 1<<20)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openEngine(t, engine.Options{UploadLimit: 1})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, time.Minute)
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
	const limit, each = 2 << 20, 5 << 20
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
	ctx, stop := context.WithCancel(testContext(t, 5*time.Minute))
	defer stop()
	var wg sync.WaitGroup
	var first sync.Once
	begin := time.Now()
	for i, tor := range torrents {
		wg.Go(func() {
			for off := int64(0); off < each; off += 1 << 20 {
				if err := tor.ReadAt(ctx, make([]byte, 1<<20), off); err != nil {
					t.Errorf("torrent %d at %d: %v", i, off, err)
					return
				}
			}
			first.Do(func() {
				if other := torrents[1-i].Stats().Downloaded; other < each/2 {
					t.Errorf("torrent %d got %d bytes while the other got %d", 1-i, other, each)
				}
			})
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
	}
	atMost(t, "received", total, took, limit)
	// What may be asked for twice: the picker's HedgeBurst at each torrent's beginning and
	// its HedgeShare of the rest, and on a busy machine that is used up.
	if most := 2*64*weir.BlockBytes + total/50; wasted > most {
		t.Errorf("%d bytes of %d were of no use, want at most %d", wasted, total, most)
	}
	e.SetLimits(0, 0)
	if err := torrents[0].ReadAt(ctx, make([]byte, 64<<20), 0); err != nil {
		t.Error("without the limit: ", err)
	}
}
