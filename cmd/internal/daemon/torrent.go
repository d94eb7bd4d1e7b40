package daemon

import (
	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/reader"
)

// torrent shows one of the engine's torrents to fs: what is held is the cache's
// to say, and files are read through reader.
type torrent struct {
	*engine.Torrent
	cache *cache.Cache
}

var _ fs.Torrent = torrent{}

func (t torrent) HeldBytes(r weir.Range) int64 {
	info := t.Info()
	if info == nil {
		return 0
	}
	return t.cache.HeldBytes(info, r)
}

func (t torrent) OpenFile(index int) (fs.File, error) {
	return reader.Open(reader.Options{Info: t.Info(), File: index, Cache: t.cache, Swarm: swarm{t.Torrent}}), nil
}

// swarm shows the same torrent to reader.
type swarm struct{ *engine.Torrent }

func (s swarm) NewWant() reader.Want { return s.Torrent.NewWant() }
