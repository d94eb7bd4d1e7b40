package seeding

import (
	"slices"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/inplace"
)

var _ engine.Store = (*store)(nil)

// store is the engine's Store of one torrent that lies in files. It takes no pieces, and
// records stay in memory.
type store struct {
	ih      weir.InfoHash
	content *inplace.Content // nil until the engine knows the torrent

	mu      sync.Mutex
	records map[string][]byte
}

func (s *store) of(id weir.PieceID) bool { return s.content != nil && id.Torrent == s.ih }

func (s *store) Put(weir.PieceID, [][]byte) error {
	return weir.Errorf(weir.ErrNoSpace, "nothing is stored while files are served from their place")
}

func (s *store) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	if !s.of(id) {
		return false, nil
	}
	return s.content.ReadAt(id.Index, p, off)
}

func (s *store) Has(id weir.PieceID) bool { return s.of(id) && s.content.Has(id.Index) }

func (s *store) Held(ih weir.InfoHash, n int) []bool {
	held := make([]bool, n)
	if s.of(weir.PieceID{Torrent: ih}) {
		s.content.Mark(held)
	}
	return held
}

func (s *store) PutRecord(bucket string, key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[bucket+"/"+string(key)] = slices.Clone(value)
	return nil
}

func (s *store) Record(bucket string, key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.records[bucket+"/"+string(key)]
	if !ok {
		return nil, weir.Errorf(weir.ErrNotFound, "no record of it")
	}
	return b, nil
}
