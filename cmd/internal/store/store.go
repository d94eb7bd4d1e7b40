// Package store is what a mount holds of its torrents: pieces in its cache, and those in
// files of this machine that are served in place. The engine stores and reads pieces here,
// and open files are read from here.
//
// What must not live here: what is mounted, and which files belong to which torrent.
package store

import (
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/inplace"
	"github.com/weirfs/weir/reader"
)

// Store is the cache, and before it the files. While the cache is still being opened, its
// methods wait. It is safe for concurrent use.
type Store struct {
	once  sync.Once
	ready chan struct{} // closed when cache or err is set
	cache *cache.Cache
	err   error

	files files
}

var (
	_ engine.Store        = (*Store)(nil)
	_ engine.SharingStore = (*Store)(nil)
	_ reader.Cache        = (*Store)(nil)
)

// New returns a Store without a cache.
func New() *Store {
	s := &Store{ready: make(chan struct{})}
	s.files.opener = inplace.NewOpener()
	return s
}

// Ready returns a channel that is closed after Open or Fail.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Open gives it the cache, and releases the waiting calls.
func (s *Store) Open(c *cache.Cache) {
	s.once.Do(func() {
		s.cache = c
		close(s.ready)
	})
}

// Fail releases them with an error; it does nothing after Open.
func (s *Store) Fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.ready)
	})
}

func (s *Store) wait() (*cache.Cache, error) {
	<-s.ready
	return s.cache, s.err
}

// Put implements engine.Store.
func (s *Store) Put(id weir.PieceID, blocks [][]byte) error {
	c, err := s.wait()
	if err != nil {
		return err
	}
	return c.Put(id, blocks)
}

// ReadAt implements engine.Store. A piece in files may be hashed first.
func (s *Store) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	c, err := s.wait()
	if err != nil {
		return false, err
	}
	f := s.files.of(id.Torrent)
	if f == nil {
		return c.ReadAt(id, p, off)
	}
	if c.Has(id) {
		if ok, err := c.ReadAt(id, p, off); ok || err != nil {
			return ok, err
		}
	}
	return f.ReadAt(id.Index, p, off)
}

// Has implements engine.Store and reader.Cache.
func (s *Store) Has(id weir.PieceID) bool {
	c, err := s.wait()
	if err != nil {
		return false
	}
	if f := s.files.of(id.Torrent); f != nil && f.Has(id.Index) {
		return true
	}
	return c.Has(id)
}

// Held implements engine.Store.
func (s *Store) Held(ih weir.InfoHash, n int) []bool {
	c, err := s.wait()
	if err != nil {
		return make([]bool, n)
	}
	held := c.Held(ih, n)
	if f := s.files.of(ih); f != nil {
		f.Mark(held)
	}
	return held
}

// View implements reader.Cache. A piece in files that needs to be hashed is not there for
// it: whoever called it must not wait.
func (s *Store) View(id weir.PieceID, off int64, n int, use func([]byte)) (bool, error) {
	c, err := s.wait()
	if err != nil {
		return false, err
	}
	f := s.files.of(id.Torrent)
	if f == nil || c.Has(id) {
		return c.View(id, off, n, use)
	}
	return f.ViewRight(id.Index, off, n, use), nil
}

// HeldBytes returns how many bytes of files in a range of a torrent are held.
func (s *Store) HeldBytes(info *weir.TorrentInfo, r weir.Range) int64 {
	c, err := s.wait()
	if err != nil {
		return 0
	}
	if f := s.files.of(info.InfoHash); f != nil {
		return heldBytes(info, r, f, func(i int) bool { return c.Has(weir.PieceID{Torrent: info.InfoHash, Index: i}) })
	}
	return c.HeldBytes(info, r)
}

// PutRecord implements engine.Store.
func (s *Store) PutRecord(bucket string, key, value []byte) error {
	c, err := s.wait()
	if err != nil {
		return err
	}
	return c.PutRecord(bucket, key, value)
}

// Record implements engine.Store.
func (s *Store) Record(bucket string, key []byte) ([]byte, error) {
	c, err := s.wait()
	if err != nil {
		return nil, err
	}
	return c.Record(bucket, key)
}

// PutHashed implements engine.SharingStore.

func (s *Store) PutHashed(id weir.PieceID, hash []byte, blocks [][]byte) error {
	c, err := s.wait()
	if err != nil {
		return err
	}
	return c.PutHashed(id, hash, blocks)
}

// Adopt implements engine.SharingStore.
func (s *Store) Adopt(id weir.PieceID, hash []byte, n int64) bool {
	c, err := s.wait()
	return err == nil && c.Adopt(id, hash, n)
}

// Forget implements engine.SharingStore.
func (s *Store) Forget(first weir.PieceID, n int) error {
	c, err := s.wait()
	if err != nil {
		return err
	}
	return c.Forget(first, n)
}
