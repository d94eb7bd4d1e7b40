package engine_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// newLongContent makes a torrent whose pieces have 64 blocks.
func newLongContent(tb testing.TB, version swarmtest.Version) *swarmtest.Content {
	tb.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "blocks", PieceLength: 1 << 20, Version: version,
		Files: []swarmtest.File{
			{Path: []string{"long"}, Length: 6<<20 + 40_000, Seed: 1},
			{Path: []string{"one"}, Length: 300_000, Seed: 2}, // a piece, whose tree is lower
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func readSparse(ctx context.Context, tb testing.TB, t *engine.Torrent, c *swarmtest.Content, off int64, n int) {
	tb.Helper()
	got, want := make([]byte, n), make([]byte, n)
	if err := t.ReadSparse(ctx, got, off); err != nil {
		tb.Fatalf("read %d bytes at %d: %v", n, off, err)
	}
	if _, err := c.ReadAt(want, off); err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		tb.Fatalf("read %d bytes at %d: wrong content", n, off)
	}
}

// TestBlocksAlone: reads that skip about get their blocks and no more of v2 peers, and whole
// pieces where peers can't or won't tell the blocks' hashes.
func TestBlocksAlone(t *testing.T) {
	const reads = 5
	for name, c := range map[string]struct {
		version swarmtest.Version
		faults  swarmtest.Faults
		magnet  bool
		blocks  int64 // sent, 0 for those of whole pieces
	}{
		"V2":             {version: swarmtest.V2, blocks: reads},
		"Hybrid":         {version: swarmtest.Hybrid, blocks: reads},
		"Magnet":         {version: swarmtest.V2, magnet: true, blocks: reads},
		"Unchecked":      {version: swarmtest.V2, faults: swarmtest.Faults{HashesUnchecked: true}, blocks: reads},
		"Reject":         {version: swarmtest.V2, faults: swarmtest.Faults{HashesReject: true}},
		"WrongHashes":    {version: swarmtest.V2, faults: swarmtest.Faults{HashesWrong: true}},
		"SilentOnHashes": {version: swarmtest.V2, faults: swarmtest.Faults{HashesSilent: true}},
		"V1":             {version: swarmtest.V1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := newLongContent(t, c.version)
			opts := swarmtest.SeederOptions{Faults: c.faults}
			if c.version == swarmtest.Hybrid {
				opts.Only = v2Name(t, content)
			}
			s := openSeeder(t, content, opts)
			spec := parsed(t, content, s.Addr())
			if c.magnet {
				var err error
				if spec, err = source.ParseMagnet(content.Magnet(swarmtest.Hints{Peers: []string{s.Addr()}})); err != nil {
					t.Fatal(err)
				}
			}
			tor := addTorrent(t, openEngine(t, engine.Options{}), spec)
			ctx := testContext(t, 30*time.Second)
			info, err := tor.WaitInfo(ctx)
			if err != nil {
				t.Fatal(err)
			}
			one := info.Files[len(info.Files)-1]
			if one.Padding {
				one = info.Files[len(info.Files)-2]
			}
			offs := []int64{100, 3<<20 + 50*weir.BlockBytes, 4<<20 - 4096, 6<<20 + 39_000, one.Offset + 280_000}
			for range 2 { // what has come stays
				for _, off := range offs {
					readSparse(ctx, t, tor, content, off, 1000)
				}
			}
			n := s.Counters()
			switch {
			case c.blocks > 0 && n.Blocks != c.blocks:
				t.Errorf("%d blocks were sent for %d reads: %+v", n.Blocks, reads, n)
			case c.blocks == 0 && n.Blocks < 149:
				t.Errorf("%d blocks were sent: not the pieces", n.Blocks)
			}
			// The rest of a piece joins the block.
			wantBytes(t, ctx, tor, content, 3<<20, 1<<20)
			if n := s.Counters(); c.blocks > 0 && n.Blocks != c.blocks+62 {
				t.Errorf("%d blocks were sent, want %d", n.Blocks, c.blocks+62)
			}
			for _, v := range s.Violations() {
				t.Errorf("violation of the protocol: %s", v)
			}
		})
	}
}

// TestWrongBlockAlone: who sends a wrong block is banned for it, without the rest of its
// piece, and the block comes from another.
func TestWrongBlockAlone(t *testing.T) {
	c := newLongContent(t, swarmtest.V2)
	bad := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.2:0", Faults: swarmtest.Faults{Corrupt: func(int) bool { return true }}})
	good := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.3:0"})
	tor := addTorrent(t, openEngine(t, engine.Options{}), parsed(t, c, bad.Addr(), good.Addr()))
	ctx := testContext(t, 30*time.Second)
	for i := range int64(6) {
		readSparse(ctx, t, tor, c, i<<20+70_000, 1000)
	}
	if n := bad.Counters().Blocks + good.Counters().Blocks; n > 12 {
		t.Errorf("%d blocks were sent for 6 reads", n)
	}
}
