package control_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/control"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

const cachePieces, cachePieceBytes = 12, 64 << 10

// newTorrentCache opens a cache that holds a torrent: its pieces, all of them
// right but the ones in wrong, and with metadata its info dictionary.
func newTorrentCache(t *testing.T, metadata bool, wrong ...int) (*cache.Cache, weir.InfoHash) {
	t.Helper()
	content, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "kept", PieceLength: cachePieceBytes,
		Files: []swarmtest.File{{Path: []string{"file"}, Length: cachePieces*cachePieceBytes - 5, Seed: 7}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(cache.Options{Dir: t.TempDir(), LimitBytes: 64 << 20, MinFreeBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	ih := content.InfoHash()
	for i := range content.Info().NumPieces() {
		r := content.Info().PieceRange(i)
		b := make([]byte, r.Len())
		if _, err := content.ReadAt(b, r.Off); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(wrong, i) {
			b[100] ^= 1
		}
		if err := c.Put(weir.PieceID{Torrent: ih, Index: i}, [][]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if metadata {
		if err := c.PutRecord(engine.MetadataBucket, ih[:], content.InfoBytes()); err != nil {
			t.Fatal(err)
		}
	}
	return c, ih
}

// serveCache answers for a cache on a socket and returns a client of it.
func serveCache(t *testing.T, c *cache.Cache) *api.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	s := control.New(control.Options{Socket: socket, Cache: control.NewCache(c, "/the/folder", "/the/mount")})
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	client := api.NewClient(socket)
	t.Cleanup(func() {
		client.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func cacheContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestCacheStatResizeClear(t *testing.T) {
	ctx := cacheContext(t)
	c, _ := newTorrentCache(t, true)
	client := serveCache(t, c)
	s, err := client.CacheStat(ctx)
	if err != nil || s.Pieces != cachePieces || s.Bytes != cachePieces*cachePieceBytes-5 || s.Torrents != 1 || s.LimitBytes != 64<<20 ||
		s.DiskBytes == 0 || s.FreeBytes == 0 || s.Dir != "/the/folder" || s.Mountpoint != "/the/mount" || s.PID == 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := client.CacheResize(ctx, 32<<20); err != nil || s.LimitBytes != 32<<20 || c.Stat().LimitBytes != 32<<20 {
		t.Errorf("resize: %+v, %v, in force are %d", s, err, c.Stat().LimitBytes)
	}
	if _, err := client.CacheResize(ctx, 1); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("resize to a byte: %v, want ErrInvalid", err)
	}
	gone, err := client.CacheClear(ctx)
	if err != nil || gone.Pieces != cachePieces || gone.Bytes != s.Bytes || c.Stat().Pieces != 0 {
		t.Errorf("clear: %+v, %v, %d are left", gone, err, c.Stat().Pieces)
	}
}

func TestCacheVerify(t *testing.T) {
	ctx := cacheContext(t)
	t.Run("OK", func(t *testing.T) {
		c, _ := newTorrentCache(t, true)
		last, err := serveCache(t, c).CacheVerify(ctx, func(api.CacheVerify) {})
		if err != nil || !last.Done || last.Pieces != cachePieces || last.Total != cachePieces || last.Bytes != cachePieces*cachePieceBytes-5 || last.Unchecked+last.Damaged != 0 {
			t.Errorf("got %+v, %v", last, err)
		}
	})
	t.Run("Wrong", func(t *testing.T) {
		c, ih := newTorrentCache(t, true, 3, 8)
		last, err := serveCache(t, c).CacheVerify(ctx, func(api.CacheVerify) {})
		want := []api.PieceName{{InfoHash: ih.String(), Piece: 3}, {InfoHash: ih.String(), Piece: 8}}
		if err != nil || last.Damaged != 2 || !slices.Equal(last.Dropped, want) {
			t.Errorf("got %+v, %v, want %v dropped", last, err, want)
		}
		if c.Has(weir.PieceID{Torrent: ih, Index: 3}) || !c.Has(weir.PieceID{Torrent: ih, Index: 4}) {
			t.Error("not just the wrong pieces are gone")
		}
	})
	t.Run("NoMetadata", func(t *testing.T) {
		c, _ := newTorrentCache(t, false, 3)
		last, err := serveCache(t, c).CacheVerify(ctx, func(api.CacheVerify) {})
		if err != nil || last.Unchecked != cachePieces || last.Damaged != 0 || c.Stat().Pieces != cachePieces {
			t.Errorf("got %+v, %v", last, err)
		}
	})
	t.Run("ContextCanceled", func(t *testing.T) {
		c, _ := newTorrentCache(t, true)
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := serveCache(t, c).CacheVerify(ctx, func(api.CacheVerify) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want Canceled", err)
		}
	})
	t.Run("Closed", func(t *testing.T) {
		c, _ := newTorrentCache(t, true)
		client := serveCache(t, c)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := client.CacheClear(ctx); !errors.Is(err, weir.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}
