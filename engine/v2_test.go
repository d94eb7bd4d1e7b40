package engine_test

import (
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// newV2Content makes a torrent of several files, some of several pieces.
func newV2Content(tb testing.TB, version swarmtest.Version) *swarmtest.Content {
	tb.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "v2", PieceLength: 64 << 10, Version: version,
		Files: []swarmtest.File{
			{Path: []string{"big"}, Length: 3<<20 + 4321, Seed: 1},
			{Path: []string{"empty"}, Bytes: []byte{}},
			{Path: []string{"exact"}, Length: 128 << 10, Seed: 2},
			{Path: []string{"small"}, Length: 1000, Seed: 3},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// wantFiles reads every file and compares it with the content.
func wantFiles(tb testing.TB, tor *engine.Torrent, c *swarmtest.Content) {
	tb.Helper()
	ctx := testContext(tb, 20*time.Second)
	info, err := tor.WaitInfo(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range info.Files {
		if !f.Padding && f.Length > 0 {
			wantBytes(tb, ctx, tor, c, f.Offset, int(f.Length))
		}
	}
}

func TestV2(t *testing.T) {
	for version, name := range map[swarmtest.Version]string{swarmtest.V2: "V2", swarmtest.Hybrid: "Hybrid"} {
		c := newV2Content(t, version)
		for how, text := range map[string]func(peer string) (*source.Spec, error){
			"Torrent": func(p string) (*source.Spec, error) {
				s, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
				if err == nil {
					s.Peers = []string{p}
				}
				return s, err
			},
			"TorrentWithoutLayers": func(p string) (*source.Spec, error) {
				s, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{NoLayers: true}))
				if err == nil {
					s.Peers = []string{p}
				}
				return s, err
			},
			"Magnet": func(p string) (*source.Spec, error) {
				return source.ParseMagnet(c.Magnet(swarmtest.Hints{Peers: []string{p}}))
			},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				s := openSeeder(t, c, swarmtest.SeederOptions{})
				spec, err := text(s.Addr())
				if err != nil {
					t.Fatal(err)
				}
				store := newMemStore()
				e := openEngine(t, engine.Options{Store: store})
				wantFiles(t, addTorrent(t, e, spec), c)
				if err := e.Close(); err != nil { // all is committed
					t.Fatal(err)
				}
				for _, v := range s.Violations() {
					t.Errorf("violation of the protocol: %s", v)
				}
				// Without any peer, from what was kept.
				offline := *spec
				offline.Peers = nil
				again := addTorrent(t, openEngine(t, engine.Options{Store: store}), &offline)
				wantFiles(t, again, c)
			})
		}
	}
}

// TestV2HashesFromOthers: peers that send wrong hashes, refuse or don't answer cost only time.
func TestV2HashesFromOthers(t *testing.T) {
	for name, f := range map[string]swarmtest.Faults{
		"Wrong": {HashesWrong: true}, "Reject": {HashesReject: true}, "Silent": {HashesSilent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newV2Content(t, swarmtest.V2)
			good := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.2:0"})
			bad := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.3:0", Faults: f})
			spec, err := source.ParseMagnet(c.Magnet(swarmtest.Hints{Peers: []string{bad.Addr(), good.Addr()}}))
			if err != nil {
				t.Fatal(err)
			}
			wantFiles(t, addTorrent(t, openEngine(t, engine.Options{}), spec), c)
		})
	}
}

// TestV2HashesWithoutProof: a peer that refuses proofs is asked for the whole layer;
// so is nobody who gives them.
func TestV2HashesWithoutProof(t *testing.T) {
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "v2", PieceLength: 16 << 10, Version: swarmtest.V2,
		Files: []swarmtest.File{{Path: []string{"long"}, Length: 600 * 16 << 10, Seed: 4}}, // more than one request tells
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		fault            swarmtest.Faults
		requests, hashes int64
	}{
		"Refuses": {swarmtest.Faults{HashesNoProof: true}, 2, 1024},
		"Gives":   {swarmtest.Faults{}, 1, 512 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSeeder(t, c, swarmtest.SeederOptions{Faults: test.fault})
			spec, err := source.ParseMagnet(c.Magnet(swarmtest.Hints{Peers: []string{s.Addr()}}))
			if err != nil {
				t.Fatal(err)
			}
			tor := addTorrent(t, openEngine(t, engine.Options{}), spec)
			ctx := testContext(t, 20*time.Second)
			if _, err := tor.WaitInfo(ctx); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, ctx, tor, c, 10*16<<10, 3*16<<10)
			if n := s.Counters(); n.HashRequests != test.requests || n.Hashes != test.hashes {
				t.Errorf("%d requests for hashes, %d hashes told, want %d and %d", n.HashRequests, n.Hashes, test.requests, test.hashes)
			}
		})
	}
}

// TestV2Corrupt: a wrong block of a v2 piece is found, and who sent it.
func TestV2Corrupt(t *testing.T) {
	c := newV2Content(t, swarmtest.V2)
	good := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.2:0"})
	bad := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.3:0", Faults: swarmtest.Faults{Corrupt: func(int) bool { return true }}})
	spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
	if err != nil {
		t.Fatal(err)
	}
	spec.Peers = []string{bad.Addr(), good.Addr()}
	wantFiles(t, addTorrent(t, openEngine(t, engine.Options{}), spec), c)
}

// TestV2Uploads: weir answers hash requests, and requests that reach into the gap
// behind a file, as libtorrent makes them.
func TestV2Uploads(t *testing.T) {
	c := newV2Content(t, swarmtest.V2)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
	if err != nil {
		t.Fatal(err)
	}
	spec.Peers = []string{s.Addr()}
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, spec)
	wantFiles(t, tor, c)
	l := dialLeech(t, portOf(e), c.InfoHash(), swarmtest.LeechOptions{})
	ctx := testContext(t, 20*time.Second)
	info := tor.Info()
	last := info.PieceRange(48) // the end of "big": 4321 bytes
	if last.Len() != 4321 {
		t.Fatalf("piece 48 has %d bytes", last.Len())
	}
	b, err := l.Fetch(ctx, 48, 0, weir.BlockBytes)
	if err != nil {
		t.Fatal("the gap behind a file can't be asked for: ", err)
	}
	want := make([]byte, weir.BlockBytes)
	if _, err := c.ReadAt(want[:4321], last.Off); err != nil {
		t.Fatal(err)
	}
	if string(b) != string(want) {
		t.Error("the block with the gap is wrong")
	}
	if b, err = l.Fetch(ctx, 48, 0, 4321); err != nil || string(b) != string(want[:4321]) {
		t.Errorf("the block without the gap: %v", err)
	}
	magnet, err := source.ParseMagnet(c.Magnet(swarmtest.Hints{Peers: []string{portOf(e)}}))
	if err != nil {
		t.Fatal(err)
	}
	wantFiles(t, addTorrent(t, openEngine(t, engine.Options{}), magnet), c) // its hashes come from weir
}
