package engine_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// storeRecords leaves in store what an engine would: the info dictionary, and with
// layers those of a v2 torrent.
func storeRecords(tb testing.TB, store *memStore, c *swarmtest.Content, layers bool) {
	tb.Helper()
	ih := c.InfoHash()
	if err := store.PutRecord(engine.MetadataBucket, ih[:], c.InfoBytes()); err != nil {
		tb.Fatal(err)
	}
	spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
	if err != nil {
		tb.Fatal(err)
	}
	if !spec.Info.V2 || !layers {
		return
	}
	for i := range spec.Info.Files {
		f := &spec.Info.Files[i]
		if first, end := spec.Info.Pieces(f.Range()); !f.Padding && end-first > 1 {
			key := binary.BigEndian.AppendUint32(append([]byte(nil), ih[:]...), uint32(i))
			if err := store.PutRecord(engine.LayersBucket, key, spec.PieceHashes[32*first:32*end]); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

func TestChecker(t *testing.T) {
	pieceOf := func(c *swarmtest.Content, i int) []byte {
		r := c.Info().PieceRange(i)
		b := make([]byte, r.Len())
		if _, err := c.ReadAt(b, r.Off); err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, version := range map[string]swarmtest.Version{"V1": swarmtest.V1, "V2": swarmtest.V2, "Hybrid": swarmtest.Hybrid} {
		t.Run(name, func(t *testing.T) {
			c := newV2Content(t, version)
			store := newMemStore()
			storeRecords(t, store, c, true)
			check := engine.NewChecker(store)
			for i := range c.Info().NumPieces() {
				id := weir.PieceID{Torrent: c.InfoHash(), Index: i}
				b := pieceOf(c, i)
				if err := check.Check(id, b); err != nil {
					t.Errorf("piece %d: %v", i, err)
				}
				if err := check.Check(weir.PieceID{Index: i}, b); !errors.Is(err, weir.ErrNotFound) || errors.Is(err, weir.ErrCorrupt) {
					t.Errorf("piece %d of an unknown torrent: %v, want ErrNotFound", i, err)
				}
				b[len(b)/2] ^= 1
				if err := check.Check(id, b); !errors.Is(err, weir.ErrCorrupt) {
					t.Errorf("piece %d with a flipped bit: %v, want ErrCorrupt", i, err)
				}
				if err := check.Check(id, b[:len(b)-1]); !errors.Is(err, weir.ErrCorrupt) {
					t.Errorf("piece %d cut short: %v, want ErrCorrupt", i, err)
				}
			}
			behind := weir.PieceID{Torrent: c.InfoHash(), Index: c.Info().NumPieces()}
			if version != swarmtest.V1 { // single blocks are numbered behind the pieces
				if err := check.Check(behind, []byte{1}); !errors.Is(err, weir.ErrNotFound) || errors.Is(err, weir.ErrCorrupt) {
					t.Errorf("a single block: %v, want ErrNotFound", err)
				}
				behind.Index *= 1 + int(c.Info().PieceLength/weir.BlockBytes)
			}
			if err := check.Check(behind, []byte{1}); !errors.Is(err, weir.ErrCorrupt) {
				t.Errorf("a piece behind the end: %v, want ErrCorrupt", err)
			}
		})
	}
	t.Run("V2WithoutLayers", func(t *testing.T) {
		c := newV2Content(t, swarmtest.V2)
		store := newMemStore()
		storeRecords(t, store, c, false)
		check := engine.NewChecker(store)
		last := c.Info().NumPieces() - 1 // of a file of one piece, whose root is its hash
		if err := check.Check(weir.PieceID{Torrent: c.InfoHash(), Index: last}, pieceOf(c, last)); err != nil {
			t.Errorf("a file of one piece: %v", err)
		}
		if err := check.Check(weir.PieceID{Torrent: c.InfoHash()}, pieceOf(c, 0)); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("a piece whose hash nobody has told: %v, want ErrNotFound", err)
		}
	})
	t.Run("DamagedRecord", func(t *testing.T) {
		c := newV2Content(t, swarmtest.V1)
		store := newMemStore()
		ih := c.InfoHash()
		b := append([]byte(nil), c.InfoBytes()...)
		b[10] ^= 1
		if err := store.PutRecord(engine.MetadataBucket, ih[:], b); err != nil {
			t.Fatal(err)
		}
		err := engine.NewChecker(store).Check(weir.PieceID{Torrent: ih}, pieceOf(c, 0))
		if !errors.Is(err, weir.ErrNotFound) || errors.Is(err, weir.ErrCorrupt) {
			t.Errorf("got %v, want ErrNotFound only: the piece may be right", err)
		}
	})
}
