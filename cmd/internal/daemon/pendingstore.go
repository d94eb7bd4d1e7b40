package daemon

import (
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine"
)

// pendingStore is the engine's store while the cache is still being opened: its methods
// wait until it is open.
type pendingStore struct {
	once  sync.Once
	ready chan struct{} // closed when cache or err is set
	cache *cache.Cache
	err   error
}

var (
	_ engine.Store        = (*pendingStore)(nil)
	_ engine.SharingStore = (*pendingStore)(nil)
)

func newPendingStore() *pendingStore { return &pendingStore{ready: make(chan struct{})} }

// open releases the waiting calls.
func (s *pendingStore) open(c *cache.Cache) {
	s.once.Do(func() {
		s.cache = c
		close(s.ready)
	})
}

// fail releases them with an error; it does nothing after open.
func (s *pendingStore) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.ready)
	})
}

func (s *pendingStore) wait() (*cache.Cache, error) {
	<-s.ready
	return s.cache, s.err
}

func (s *pendingStore) Put(id weir.PieceID, blocks [][]byte) error {
	c, err := s.wait()
	if err != nil {
		return err
	}
	return c.Put(id, blocks)
}

func (s *pendingStore) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	c, err := s.wait()
	if err != nil {
		return false, err
	}
	return c.ReadAt(id, p, off)
}

func (s *pendingStore) Has(id weir.PieceID) bool {
	c, err := s.wait()
	return err == nil && c.Has(id)
}

func (s *pendingStore) Held(ih weir.InfoHash, n int) []bool {
	c, err := s.wait()
	if err != nil {
		return make([]bool, n)
	}
	return c.Held(ih, n)
}

func (s *pendingStore) PutRecord(bucket string, key, value []byte) error {
	c, err := s.wait()
	if err != nil {
		return err
	}
	return c.PutRecord(bucket, key, value)
}

func (s *pendingStore) Record(bucket string, key []byte) ([]byte, error) {
	c, err := s.wait()
	if err != nil {
		return nil, err
	}
	return c.Record(bucket, key)
}

// PutHashed and Adopt share pieces between torrents.

func (s *pendingStore) PutHashed(id weir.PieceID, hash []byte, blocks [][]byte) error {
	c, err := s.wait()
	if err != nil {
		return err
	}
	return c.PutHashed(id, hash, blocks)
}

func (s *pendingStore) Adopt(id weir.PieceID, hash []byte, n int64) bool {
	c, err := s.wait()
	return err == nil && c.Adopt(id, hash, n)
}
