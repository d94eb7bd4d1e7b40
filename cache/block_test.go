package cache_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// blockID names a block of a torrent that allows it.
func blockID(tb testing.TB, ti *weir.TorrentInfo, piece, block int) weir.PieceID {
	tb.Helper()
	id, ok := ti.BlockID(piece, block)
	if p, b, back := ti.BlockOf(id.Index); !ok || !back || p != piece || b != block {
		tb.Fatalf("block %d of piece %d: number %d is block %d of piece %d, %v", block, piece, id.Index, b, p, ok)
	}
	return id
}

// TestBlocks: blocks are held without their pieces, counted, found after a restart, and
// forgotten for their pieces.
func TestBlocks(t *testing.T) {
	ti := &weir.TorrentInfo{InfoHash: weir.InfoHash{7}, PieceLength: 4 * weir.BlockBytes, Length: 10*4*weir.BlockBytes + weir.BlockBytes + 100, V2: true, Single: true}
	ti.Files = []weir.FileInfo{{Path: []string{"a"}, Length: ti.Length}}
	o := cache.Options{Dir: t.TempDir(), LimitBytes: 64 << 20, MinFreeBytes: -1}
	c := openCache(t, o)
	bytesOf := func(id weir.PieceID, n int) []byte { return bytes.Repeat([]byte{byte(id.Index)}, n) }
	put := func(id weir.PieceID, n int) {
		t.Helper()
		if err := c.PutHashed(id, bytes.Repeat([]byte{byte(id.Index)}, 32), [][]byte{bytesOf(id, n)}); err != nil {
			t.Fatal(err)
		}
	}
	first, second, short := blockID(t, ti, 3, 1), blockID(t, ti, 3, 2), blockID(t, ti, 10, 1)
	put(first, weir.BlockBytes)
	put(second, weir.BlockBytes)
	put(short, 100)
	want := func(held int64, numbers ...int) {
		t.Helper()
		if n := c.HeldBytes(ti, weir.Range{End: ti.Length}); n != held {
			t.Errorf("%d bytes are held, want %d", n, held)
		}
		if got := c.Numbers(ti.InfoHash); !slices.Equal(got, numbers) {
			t.Errorf("held are %v, want %v", got, numbers)
		}
	}
	want(2*weir.BlockBytes+100, first.Index, second.Index, short.Index)
	off := ti.PieceRange(3).Off
	if n := c.HeldBytes(ti, weir.Range{Off: off + weir.BlockBytes + 10, End: off + 2*weir.BlockBytes + 30}); n != weir.BlockBytes+20 {
		t.Errorf("%d bytes of a range are held", n)
	}
	if slices.Contains(c.Held(ti.InfoHash, ti.NumPieces()), true) {
		t.Error("a piece is held")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, o)
	want(2*weir.BlockBytes+100, first.Index, second.Index, short.Index)
	held, err := c.View(second, 5, 100, func(b []byte) {
		if !bytes.Equal(b, bytesOf(second, 100)) {
			t.Error("wrong bytes")
		}
	})
	if !held || err != nil {
		t.Errorf("a block is held: %v, %v", held, err)
	}
	// The piece comes: its blocks count once, and go.
	put(weir.PieceID{Torrent: ti.InfoHash, Index: 3}, 4*weir.BlockBytes)
	want(4*weir.BlockBytes+100, 3, first.Index, second.Index, short.Index)
	if err := c.Forget(blockID(t, ti, 3, 0), 4); err != nil {
		t.Fatal(err)
	}
	want(4*weir.BlockBytes+100, 3, short.Index)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, o)
	want(4*weir.BlockBytes+100, 3, short.Index)
	if err := c.Evict(ti.InfoHash, c.Numbers(ti.InfoHash)); err != nil {
		t.Fatal(err)
	}
	want(0)
}

// TestBlocksAreEvicted: blocks without their pieces make room as pieces do.
func TestBlocksAreEvicted(t *testing.T) {
	ti := &weir.TorrentInfo{InfoHash: weir.InfoHash{7}, PieceLength: 1 << 20, Length: 1 << 30}
	c := openCache(t, cache.Options{Dir: t.TempDir(), LimitBytes: 16 << 20, MinFreeBytes: -1})
	block := make([]byte, weir.BlockBytes)
	for i := range 40 << 20 / weir.BlockBytes {
		block[0], block[1] = byte(i), byte(i>>8)
		if err := c.Put(blockID(t, ti, i/64, i%64), [][]byte{block}); err != nil {
			t.Fatal(err)
		}
	}
	// A dropped segment may still be there: its file is removed beside the writer.
	if s := c.Stat(); s.DiskBytes > 19<<20 || s.Evictions == 0 || len(c.Numbers(ti.InfoHash)) < 200 {
		t.Errorf("%+v, %d blocks are held", s, len(c.Numbers(ti.InfoHash)))
	}
}
