package cache_test

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

func TestMain(m *testing.M) {
	if runChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// openCache opens a cache in a fresh folder and closes it when the test ends.
func openCache(tb testing.TB, o cache.Options) *cache.Cache {
	tb.Helper()
	if o.Dir == "" {
		o.Dir = tb.TempDir()
	}
	if o.LimitBytes == 0 {
		o.LimitBytes = 256 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if o.MinFreeBytes == 0 {
		o.MinFreeBytes = -1
	}
	c, err := cache.Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

func hash(b byte) (h weir.InfoHash) {
	for i := range h {
		h[i] = b
	}
	return h
}

func piece(torrent byte, index int) weir.PieceID {
	return weir.PieceID{Torrent: hash(torrent), Index: index}
}

// randomBytes is where content comes from.
var randomBytes = sync.OnceValue(func() []byte {
	b := make([]byte, 2<<20)
	r := rand.NewPCG(1, 2)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
})

// content is what piece id of n bytes holds in every test: known from its name,
// and different in each block of each piece.
func content(id weir.PieceID, n int) []byte {
	b := make([]byte, n)
	shift := (int(id.Torrent[0])*7919 + id.Index*104_729) % (1 << 20)
	for off := 0; off < n; off += 1 << 20 {
		copy(b[off:min(off+1<<20, n)], randomBytes()[shift:])
	}
	for off := 0; off+20 <= n; off += weir.BlockBytes {
		binary.LittleEndian.PutUint64(b[off:], uint64(id.Index))
		binary.LittleEndian.PutUint64(b[off+8:], uint64(off))
		copy(b[off+16:], id.Torrent[:4])
	}
	return b
}

// blocks cuts b as the engine does.
func blocks(b []byte) (out [][]byte) {
	for len(b) > weir.BlockBytes {
		out = append(out, b[:weir.BlockBytes])
		b = b[weir.BlockBytes:]
	}
	return append(out, b)
}

func put(tb testing.TB, c *cache.Cache, id weir.PieceID, n int) {
	tb.Helper()
	if err := c.Put(id, blocks(content(id, n))); err != nil {
		tb.Fatal(err)
	}
}
