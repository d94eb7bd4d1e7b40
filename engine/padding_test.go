package engine_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// newPadded makes a v1 torrent with padding (BEP 47) at the end of a piece, as whole
// pieces, at the beginning and in the middle of a piece, and as the last file.
func newPadded(tb testing.TB) *swarmtest.Content {
	tb.Helper()
	const piece = 64 << 10
	pad := func(n int64) swarmtest.File {
		return swarmtest.File{Path: []string{".pad", "n"}, Length: n, Padding: true}
	}
	file := func(name string, n int64) swarmtest.File {
		return swarmtest.File{Path: []string{name}, Length: n, Seed: uint64(n)}
	}
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "padded", PieceLength: piece,
		Files: []swarmtest.File{
			file("a", 20_000), pad(piece - 20_000),
			file("b", 1600), pad(piece - 1600 + 2*piece + 20_000), // two pieces and a block of a third
			file("c", piece-20_000-30_000), pad(30_000),
			file("d", 5000), pad(40_000), file("e", 2*piece-45_000), // in the middle of a piece
			file("f", 100), pad(3*piece - 100),
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// parsed is the content as the metainfo says it, with a peer.
func parsed(tb testing.TB, c *swarmtest.Content, peers ...string) *source.Spec {
	tb.Helper()
	spec := parse(tb, c.Torrent(swarmtest.Hints{}), nil)
	spec.Peers = peers
	return spec
}

func TestPadding(t *testing.T) {
	c := newPadded(t)
	for name, f := range map[string]swarmtest.Faults{"Served": {}, "NotServed": {NoGaps: true}} {
		t.Run(name, func(t *testing.T) {
			s := openSeeder(t, c, swarmtest.SeederOptions{Faults: f})
			store := newMemStore()
			e := openEngine(t, engine.Options{Store: store})
			tor := addTorrent(t, e, parsed(t, c, s.Addr()))
			wantFiles(t, tor, c)
			ctx := testContext(t, 30*time.Second)
			wantBytes(t, ctx, tor, c, 0, int(c.Info().Length)) // zeros between the files
			for _, v := range s.Violations() {
				t.Errorf("violation of the protocol: %s", v)
			}
			content := tor.Info().ContentBytes()
			if n := s.Counters(); n.GapBytes > 0 || n.PayloadBytes != content {
				t.Errorf("%d bytes of padding asked for; %d bytes fetched for %d", n.GapBytes, n.PayloadBytes, content)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			for i := range tor.Info().BlankPieces {
				if store.Has(weir.PieceID{Torrent: c.InfoHash(), Index: i}) {
					t.Errorf("piece %d, all padding, is stored", i)
				}
			}
			// From what was kept, without any peer.
			again := addTorrent(t, openEngine(t, engine.Options{Store: store}), parsed(t, c))
			wantBytes(t, ctx, again, c, 0, int(c.Info().Length))
		})
	}
}

// TestPaddingIsServed: others that want all of it get padding, also whole pieces of
// it that were never fetched.
func TestPaddingIsServed(t *testing.T) {
	c := newPadded(t)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, parsed(t, c, s.Addr()))
	ctx := testContext(t, 30*time.Second)
	blank := 0
	for i := range tor.Info().BlankPieces {
		blank++
		l := dialLeech(t, portOf(e), c.InfoHash(), swarmtest.LeechOptions{})
		b, err := l.Fetch(ctx, i, 0, weir.BlockBytes)
		if err != nil || !bytes.Equal(b, make([]byte, weir.BlockBytes)) {
			t.Errorf("a block of piece %d, before anything was fetched: %v", i, err)
		}
		_ = l.Close() // was only asked
	}
	if blank < 4 {
		t.Fatalf("%d pieces are all padding", blank)
	}
	wantFiles(t, tor, c)
	l := dialLeech(t, portOf(e), c.InfoHash(), swarmtest.LeechOptions{})
	want := make([]byte, weir.BlockBytes)
	for i := range c.Info().NumPieces() {
		for r := c.Info().PieceRange(i); !r.Empty(); r.Off += weir.BlockBytes {
			n := min(weir.BlockBytes, r.Len())
			begin := r.Off - int64(i)*c.Info().PieceLength
			got, err := l.Fetch(ctx, i, int(begin), int(n))
			if err != nil {
				t.Fatalf("block at %d of piece %d: %v", begin, i, err)
			}
			if _, err := c.ReadAt(want[:n], r.Off); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want[:n]) {
				t.Errorf("block at %d of piece %d is wrong", begin, i)
			}
		}
	}
}

// TestPaddingOnParole: a piece with padding in its middle that failed is fetched
// again from single peers, and the liar is found.
func TestPaddingOnParole(t *testing.T) {
	c := newPadded(t)
	liar := openSeeder(t, c, swarmtest.SeederOptions{Faults: swarmtest.Faults{Corrupt: func(int) bool { return true }}})
	s := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.3:0"})
	tor := addTorrent(t, openEngine(t, engine.Options{}), parsed(t, c, liar.Addr(), s.Addr()))
	wantFiles(t, tor, c)
}
