package source_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// maxSeedBytes keeps the few huge refusals out of the corpora, where they would
// only slow the fuzzer down. TestParseTorrentRefuses has them.
const maxSeedBytes = 16 << 10

func torrentSeeds(f *testing.F) (seeds [][]byte) {
	for _, c := range refusals(f) {
		seeds = append(seeds, c.raw)
	}
	for _, good := range []map[string][]byte{goodTorrents(f), goodV2(f)} {
		for _, raw := range good {
			seeds = append(seeds, raw)
		}
	}
	return slices.DeleteFunc(seeds, func(b []byte) bool { return len(b) > maxSeedBytes })
}

// checkRefusal fails when an error is not of the kinds that are promised.
func checkRefusal(tb testing.TB, err error) {
	tb.Helper()
	if !errors.Is(err, weir.ErrInvalid) && !errors.Is(err, weir.ErrHostile) {
		tb.Fatalf("error %q is neither invalid nor hostile", err)
	}
	if len(err.Error()) > 1000 {
		tb.Fatalf("error of %d bytes", len(err.Error()))
	}
}

func FuzzParseTorrent(f *testing.F) {
	for _, b := range torrentSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		spec, err := source.ParseTorrent(b)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkSpec(t, spec)
		if !bytes.Contains(b, spec.InfoBytes) {
			t.Fatalf("info bytes from elsewhere")
		}
		for _, tier := range spec.Trackers {
			if len(tier) == 0 || slices.Contains(tier, "") {
				t.Fatalf("trackers %q", spec.Trackers)
			}
		}
		// What was accepted from a file is accepted from peers and records.
		info, pieces, err := parseInfo(spec.InfoHash, spec.InfoBytes)
		if err != nil {
			t.Fatalf("its dictionary alone: %v", err)
		}
		hashesKept := bytes.Equal(pieces, spec.PieceHashes) || info.V2 && pieces == nil
		if info.Length != spec.Info.Length || info.V2 != spec.Info.V2 || len(info.Files) != len(spec.Info.Files) || !hashesKept {
			t.Fatalf("its dictionary alone differs: %+v, %+v", info, spec.Info)
		}
	})
}

// FuzzWithInfo takes each dictionary by both of its names.
func FuzzWithInfo(f *testing.F) {
	for _, b := range torrentSeeds(f) {
		if _, info, ok := bytes.Cut(b, []byte("4:info")); ok && len(info) > 0 {
			f.Add(info[:len(info)-1])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v2 := sha256.Sum256(b)
		spec, err := (&source.Spec{InfoHash: source.Truncate(v2), InfoHashV2: v2}).WithInfo(b)
		if err == nil {
			checkSpec(t, spec)
		} else {
			checkRefusal(t, err)
		}
		info, pieces, err := parseInfo(infoHash(b), b)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkInfo(t, info, pieces)
		wrong := infoHash(b)
		wrong[0] ^= 1
		if _, _, err := parseInfo(wrong, b); !errors.Is(err, weir.ErrCorrupt) {
			t.Fatalf("under another hash: error %v", err)
		}
	})
}

func FuzzParseMagnet(f *testing.F) {
	for _, c := range goodMagnets {
		f.Add(c.magnet)
	}
	for _, c := range badMagnets {
		if len(c.magnet) <= maxSeedBytes {
			f.Add(c.magnet)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		spec, err := source.ParseMagnet(s)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if spec.InfoHash.IsZero() || spec.Info != nil || spec.InfoBytes != nil || spec.PieceHashes != nil {
			t.Fatalf("spec %+v", spec)
		}
		for _, peer := range spec.Peers {
			if again, err := source.ParsePeer(peer); err != nil || again != peer {
				t.Fatalf("peer %q becomes %q, %v", peer, again, err)
			}
		}
		for i, span := range spec.SelectOnly {
			if span.First < 0 || span.Last < span.First || i > 0 && span.First <= spec.SelectOnly[i-1].Last+1 {
				t.Fatalf("selection %v", spec.SelectOnly)
			}
		}
		for _, tier := range spec.Trackers {
			if len(tier) != 1 || tier[0] == "" {
				t.Fatalf("trackers %q", spec.Trackers)
			}
		}
	})
}
