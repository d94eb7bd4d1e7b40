package daemon_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/reader"
)

// TestBlocksAreCached: what a small read fetched is in the cache, is read from there without a
// peer, and goes when its piece is whole.
func TestBlocksAreCached(t *testing.T) {
	for version, name := range map[swarmtest.Version]string{swarmtest.V2: "V2", swarmtest.Hybrid: "Hybrid"} {
		t.Run(name, func(t *testing.T) {
			c, err := swarmtest.NewContent(swarmtest.ContentOptions{
				Name: "blocks", PieceLength: 1 << 20, Version: version,
				Files: []swarmtest.File{{Path: []string{"a"}, Length: 3<<20 + 70_000, Seed: 1}},
			})
			if err != nil {
				t.Fatal(err)
			}
			kept, err := cache.Open(cache.Options{Dir: t.TempDir(), LimitBytes: 64 << 20, MinFreeBytes: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer kept.Close()
			spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			held := func() int64 { return kept.HeldBytes(spec.Info, spec.Info.Files[0].Range()) }
			run := func(peers []string, do func(read func(off int64, n int))) {
				t.Helper()
				e := engine.New(engine.Options{Store: kept, Listen: "off", Peers: peers})
				defer e.Close()
				tor, err := e.Add(spec)
				if err != nil {
					t.Fatal(err)
				}
				files := reader.NewTorrent(kept, oneSwarm{tor}, reader.NewBudget(0))
				defer files.Close()
				h, err := files.Open(spec.Info, 0, reader.Full)
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				do(func(off int64, n int) {
					t.Helper()
					got, want := make([]byte, n), make([]byte, n)
					miss, err := h.View(off, n, func(b []byte) { copy(got, b) })
					if miss != nil {
						err = h.Fetch(ctx, miss, got)
					}
					if err != nil {
						t.Fatal(err)
					}
					if _, err := c.ReadAt(want, off); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("read %d bytes at %d: wrong content (%v)", n, off, err)
					}
				})
			}
			opts := swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}}
			if sum, ok := c.InfoHashV2(); ok {
				opts.Only = source.Truncate(sum)
			}
			s, err := swarmtest.OpenSeeder(opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			run([]string{s.Addr()}, func(read func(off int64, n int)) {
				read(1<<20+500_000, 4096)
				read(100, 4096)
				read(3<<20+69_000, 1000)
				eventually(t, "the blocks are in the cache", func() bool { return held() == 2*weir.BlockBytes+70_000-4*weir.BlockBytes })
			})
			if n := s.Counters().Blocks; n != 3 {
				t.Errorf("%d blocks were sent for 3 reads", n)
			}
			run(nil, func(read func(off int64, n int)) {
				read(3<<20+69_100, 900)
				read(1<<20+499_999, 5000)
				read(0, 16<<10)
			})
			run([]string{s.Addr()}, func(read func(off int64, n int)) {
				read(16<<10, 128<<10) // goes on from none
				read(144<<10, 128<<10)
				eventually(t, "the piece is in the cache instead of its block", func() bool {
					return kept.Has(weir.PieceID{Torrent: spec.InfoHash, Index: 0}) && len(kept.Numbers(spec.InfoHash)) == 3
				})
			})
		})
	}
}
