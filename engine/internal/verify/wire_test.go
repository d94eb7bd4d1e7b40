package verify_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/verify"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestMagnet goes from a btmh magnet to verified pieces by messages alone: the
// metadata, the piece layers with their proofs, the blocks. The other side is the
// test kit's, which has BEP 52 from the page.
func TestMagnet(t *testing.T) {
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "sample", PieceLength: 2 * block, Version: swarmtest.V2,
		Files: []swarmtest.File{
			{Path: []string{"a"}, Length: 1100*2*block + 7, Seed: 1}, // three requests
			{Path: []string{"b"}, Length: 5, Seed: 2},
			{Path: []string{"c"}, Length: 3 * block, Seed: 3},
			{Path: []string{"d"}, Length: 3 * block, Seed: 3}, // the same root
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := swarmtest.New(t, swarmtest.Options{Contents: []*swarmtest.Content{c}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	magnet, err := source.ParseMagnet(s.Magnet(c))
	if err != nil {
		t.Fatal(err)
	}
	l, err := swarmtest.DialLeech(ctx, s.Peers()[0], magnet.InfoHash, swarmtest.LeechOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	infoBytes, err := l.Metadata(ctx)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := magnet.WithInfo(infoBytes)
	if err != nil {
		t.Fatal(err)
	}
	h := newHashes(t, spec.Info, spec.PieceHashes, spec.Roots)
	ask := func(r verify.HashRequest) ([][32]byte, error) {
		return l.Hashes(ctx, swarmtest.HashRequest{
			Root: r.Root, BaseLayer: uint32(r.BaseLayer), Index: uint32(r.Index), Length: uint32(r.Length), ProofLayers: uint32(r.ProofLayers),
		})
	}
	s.Seeder(0).SetFaults(swarmtest.Faults{HashesWrong: true})
	req, _ := h.RequestFor(600)
	hashes, err := ask(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Accept(req, hashes); !errors.Is(err, weir.ErrCorrupt) || h.Known(600) {
		t.Errorf("wrong hashes: %v", err)
	}
	s.Seeder(0).SetFaults(swarmtest.Faults{HashesReject: true})
	if _, err := ask(req); !errors.Is(err, swarmtest.ErrRejected) {
		t.Errorf("error %v, want a reject", err)
	}
	s.Seeder(0).SetFaults(swarmtest.Faults{})
	asked := 0
	for i := range spec.Info.Files {
		for _, req := range h.Requests(i) {
			hashes, err := ask(req)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Accept(req, hashes); err != nil {
				t.Fatalf("%+v: %v", req, err)
			}
			asked++
		}
	}
	if asked != 4 { // the last file's root is that of the one before
		t.Errorf("%d requests, want 4", asked)
	}
	for _, i := range []int{0, 600, 1100, 1101, 1102, 1103, 1104, 1105} {
		var blocks [][]byte
		for off, n := int64(0), spec.Info.PieceRange(i).Len(); off < n; off += block {
			b, err := l.Fetch(ctx, i, int(off), int(min(block, n-off)))
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(blocks, b)
		}
		if !h.Check(i, blocks) {
			t.Errorf("piece %d is refused", i)
		}
	}
	if n := s.Totals(); n.Violations > 0 || n.GapBytes > 0 {
		t.Errorf("counters %+v: %q", n, s.Violations())
	}
}
