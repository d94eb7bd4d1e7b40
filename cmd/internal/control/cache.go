package control

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/engine"
)

// Cache is an open cache with the operations of the API. The command line uses one directly
// when no mount has the cache, so that both do the same. It is safe for concurrent use.
type Cache struct {
	store      *cache.Cache
	dir        string
	mountpoint string
}

// NewCache wraps an open cache, which its caller closes. mountpoint may be empty.
func NewCache(store *cache.Cache, dir, mountpoint string) *Cache {
	return &Cache{store: store, dir: dir, mountpoint: mountpoint}
}

// CacheStat and the methods below do what those of api.Client do.
func (c *Cache) CacheStat(context.Context) (api.CacheStat, error) {
	s := c.store.Stat()
	return api.CacheStat{
		Dir: c.dir, PID: os.Getpid(), Mountpoint: c.mountpoint,
		Pieces: s.Pieces, Bytes: s.Bytes, Shared: s.Shared, SharedBytes: s.SharedBytes, Torrents: s.Torrents,
		DiskBytes: s.DiskBytes, LimitBytes: s.LimitBytes, FreeBytes: s.FreeBytes, MinFree: s.MinFreeBytes, PinnedBytes: s.PinnedBytes,
		Hits: s.Hits, Misses: s.Misses, Evictions: s.Evictions, Moves: s.Moves, Damaged: s.Damaged,
	}, nil
}

// CacheResize changes the budget, now and for later starts.
func (c *Cache) CacheResize(ctx context.Context, limit int64) (api.CacheStat, error) {
	if err := c.store.SetLimit(limit); err != nil {
		return api.CacheStat{}, err
	}
	return c.CacheStat(ctx)
}

// CacheClear drops every piece.
func (c *Cache) CacheClear(context.Context) (api.CacheCleared, error) {
	before := c.store.Stat()
	return api.CacheCleared{Pieces: before.Pieces, Bytes: before.Bytes}, c.store.Clear()
}

// progressEvery is how often a verification reports its progress.
const progressEvery = 200 * time.Millisecond

// CacheVerify hashes every piece against its torrent. When ctx ends, it returns
// what it has found so far and the error.
func (c *Cache) CacheVerify(ctx context.Context, progress func(api.CacheVerify)) (api.CacheVerify, error) {
	now := api.CacheVerify{Total: c.store.Stat().Pieces}
	checker := engine.NewChecker(c.store)
	reported := time.Now()
	report, err := c.store.Verify(ctx, func(id weir.PieceID, data []byte) error {
		now.Pieces++
		now.Bytes += int64(len(data))
		if time.Since(reported) >= progressEvery {
			reported = time.Now()
			progress(now)
		}
		return checker.Check(id, data)
	})
	now.Pieces, now.Bytes, now.Unchecked, now.Damaged = report.Pieces, report.Bytes, report.Unchecked, len(report.Dropped)
	for _, id := range report.Dropped {
		now.Dropped = append(now.Dropped, api.PieceName{InfoHash: id.Torrent.String(), Piece: id.Index})
	}
	now.Done = err == nil
	return now, err
}

func (s *Server) cacheStat(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.opt.Cache.CacheStat(r.Context())
}

func (s *Server) cacheResize(w http.ResponseWriter, r *http.Request) (any, error) {
	var req api.CacheLimit
	if err := readJSON(w, r, &req); err != nil {
		return nil, err
	}
	return s.opt.Cache.CacheResize(r.Context(), req.LimitBytes)
}

func (s *Server) cacheClear(_ http.ResponseWriter, r *http.Request) (any, error) {
	return s.opt.Cache.CacheClear(r.Context())
}

// cacheVerify streams the progress of a verification. The status is 200 once it
// has begun: what goes wrong later is in the last line.
func (s *Server) cacheVerify(w http.ResponseWriter, r *http.Request) {
	l := newLines(w)
	last, err := s.opt.Cache.CacheVerify(r.Context(), func(p api.CacheVerify) {
		_ = l.write(p) // a client that is gone ends the context
	})
	if err != nil {
		last.Error, _ = api.ErrorOf(err)
	}
	_ = l.write(last)
}
