package engine_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// v2Name is the hash of the content's v2 swarm.
func v2Name(tb testing.TB, c *swarmtest.Content) weir.InfoHash {
	tb.Helper()
	sum, ok := c.InfoHashV2()
	if !ok {
		tb.Fatal("no v2 half")
	}
	return source.Truncate(sum)
}

// TestHybridHandshakes: both swarms are served, and who asks for it is taken to the
// v2 swarm.
func TestHybridHandshakes(t *testing.T) {
	c := newV2Content(t, swarmtest.Hybrid)
	v1, v2 := c.InfoHash(), v2Name(t, c)
	sum, _ := c.InfoHashV2()
	for name, spec := range map[string]*source.Spec{
		"Torrent": parsed(t, c), "Magnet": {InfoHash: v1, InfoHashV2: sum}, "V2Torrent": nil,
	} {
		if spec == nil { // the v2 half is taken
			var err error
			if spec, err = (&source.Spec{InfoHash: v2, InfoHashV2: sum}).WithInfo(c.InfoBytes()); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, engine.Options{})
			addTorrent(t, e, spec)
			for _, ask := range []struct {
				name    weir.InfoHash
				upgrade bool
				want    weir.InfoHash
			}{{v1, false, v1}, {v1, true, v2}, {v2, false, v2}, {v2, true, v2}} {
				conn, err := net.Dial("tcp", portOf(e))
				if err != nil {
					t.Fatal(err)
				}
				hello := wire.Handshake{InfoHash: ask.name, PeerID: [20]byte{'h'}, Bits: wire.OurBits()}
				if ask.upgrade {
					hello = hello.Upgrading()
				}
				if _, err := conn.Write(hello.Append(nil)); err != nil {
					t.Fatal(err)
				}
				got, err := wire.ReadHandshake(conn)
				if err != nil || got.InfoHash != ask.want || !got.UpgradesToV2() {
					t.Errorf("handshake under %s, upgrade %v: answer %s, its upgrade bit %v, %v", ask.name, ask.upgrade, got.InfoHash, got.UpgradesToV2(), err)
				}
				_ = conn.Close() // was only asked
			}
		})
	}
	plain := newContent(t, 1000, 16<<10)
	e := openEngine(t, engine.Options{})
	addTorrent(t, e, specOf(plain))
	conn, err := net.Dial("tcp", portOf(e))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(wire.Handshake{InfoHash: plain.InfoHash(), Bits: wire.OurBits()}.Upgrading().Append(nil)); err != nil {
		t.Fatal(err)
	}
	if got, err := wire.ReadHandshake(conn); err != nil || got.InfoHash != plain.InfoHash() || got.UpgradesToV2() {
		t.Errorf("a v1 torrent is upgraded: %+v, %v", got, err)
	}
}

// TestHybridIsDialedByBothNames: a peer that knows one of the names only is a peer.
func TestHybridIsDialedByBothNames(t *testing.T) {
	c := newV2Content(t, swarmtest.Hybrid)
	for name, only := range map[string]weir.InfoHash{"V1": c.InfoHash(), "V2": v2Name(t, c)} {
		t.Run(name, func(t *testing.T) {
			s := openSeeder(t, c, swarmtest.SeederOptions{Only: only})
			wantFiles(t, addTorrent(t, openEngine(t, engine.Options{}), parsed(t, c, s.Addr())), c)
		})
	}
}

func TestHybridIsAnnouncedInBothSwarms(t *testing.T) {
	c := newV2Content(t, swarmtest.Hybrid)
	s := swarmtest.New(t, swarmtest.Options{Contents: []*swarmtest.Content{c}})
	sum, _ := c.InfoHashV2()
	for name, spec := range map[string]*source.Spec{
		"Torrent": parsed(t, c), "V1Magnet": {InfoHash: c.InfoHash()}, "V2Magnet": {InfoHash: v2Name(t, c), InfoHashV2: sum},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Trackers = [][]string{{s.Tracker().URL()}}
			e := openEngine(t, engine.Options{})
			tor := addTorrent(t, e, spec)
			ctx := testContext(t, time.Minute)
			if _, err := tor.WaitInfo(ctx); err != nil {
				t.Fatal(err)
			}
			wantFiles(t, tor, c)
			for _, ih := range []weir.InfoHash{c.InfoHash(), v2Name(t, c)} {
				_, err := s.Tracker().WaitAnnounce(ctx, func(a swarmtest.Announce) bool { return a.InfoHash == ih && int(a.Addr.Port()) == e.Port() })
				if err != nil {
					t.Errorf("not announced as %s: %v", ih, err)
				}
			}
		})
	}
}

// TestHashesAreTold compares what weir answers with what the test kit does: layers of
// pieces, and of blocks of what is held, for v2 and hybrid torrents, also after a
// restart.
func TestHashesAreTold(t *testing.T) {
	for name, v := range map[string]swarmtest.Version{"V2": swarmtest.V2, "Hybrid": swarmtest.Hybrid} {
		t.Run(name, func(t *testing.T) {
			c := newV2Content(t, v)
			s := openSeeder(t, c, swarmtest.SeederOptions{})
			store := newMemStore()
			first := openEngine(t, engine.Options{Store: store})
			spec := parsed(t, c, s.Addr())
			tor := addTorrent(t, first, spec)
			wantFiles(t, tor, c)
			if err := tor.StoreMetadata(); err != nil {
				t.Fatal(err)
			}
			if err := first.Close(); err != nil { // all is committed
				t.Fatal(err)
			}
			again := openEngine(t, engine.Options{Store: store})
			addTorrent(t, again, &source.Spec{InfoHash: spec.InfoHash, InfoHashV2: spec.InfoHashV2})
			ctx := testContext(t, time.Minute)
			theirs := dialLeech(t, s.Addr(), v2Name(t, c), swarmtest.LeechOptions{})
			ours := dialLeech(t, portOf(again), v2Name(t, c), swarmtest.LeechOptions{})
			asked := 0
			for f, root := range c.Roots() {
				if root == [32]byte{} {
					continue
				}
				blocks := int(c.Info().Files[f].Length+weir.BlockBytes-1) / weir.BlockBytes
				for _, r := range []swarmtest.HashRequest{
					{BaseLayer: 2, Index: 0, Length: 2}, {BaseLayer: 2, Index: 16, Length: 16, ProofLayers: 5}, // pieces of four blocks
					{BaseLayer: 0, Index: 0, Length: 2}, {BaseLayer: 0, Index: 0, Length: 2, ProofLayers: 1}, {BaseLayer: 0, Index: 4, Length: 4},
					{BaseLayer: 0, Index: uint32(blocks-1) / 4 * 4, Length: 4, ProofLayers: 2}, {BaseLayer: 0, Index: 4, Length: 2, ProofLayers: 3},
					{BaseLayer: 1, Index: 2, Length: 2},
				} {
					r.Root = root
					want, err := theirs.Hashes(ctx, r)
					if err != nil {
						continue // no such layer
					}
					asked++
					if got, err := ours.Hashes(ctx, r); err != nil || !slices.Equal(got, want) {
						t.Errorf("file %d, %+v: %d hashes, %v, want %d", f, r, len(got), err, len(want))
					}
				}
				// What nobody has is refused, not ignored.
				if got, err := ours.Hashes(ctx, swarmtest.HashRequest{Root: [32]byte{9}, Length: 2}); err == nil {
					t.Errorf("hashes of no file: %x", got)
				}
			}
			if asked < 8 {
				t.Errorf("%d requests could be compared", asked)
			}
		})
	}
}
