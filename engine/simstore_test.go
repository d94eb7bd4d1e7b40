package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest"
)

// errDisk is what a simStore fails with.
var errDisk = errors.New("simulated disk error")

// simFaults are the faults of a script's Store. Shares are per mille of calls.
type simFaults struct {
	Ready             time.Duration // until then every call waits
	PutDelay          time.Duration
	ReadDelay         time.Duration
	PutFails          int
	ReadFails         int
	RecordFails       int // of those written, and of those read: not found
	FullFrom, FullFor time.Duration
}

// simStore is a Store that fails by its script. Which call fails depends on the seed
// and on how often the same was asked, not on the order of goroutines.
type simStore struct {
	*memStore
	faults   simFaults
	seed     uint64
	born     time.Time
	ready    chan struct{}
	contents map[weir.InfoHash]*swarmtest.Content

	mu    sync.Mutex
	calls map[string]uint64
	lost  map[weir.InfoHash]int64 // bytes of pieces that were forgotten, not taken or not given
	wrong []string
}

func newSimStore(seed uint64, f simFaults) *simStore {
	return &simStore{
		memStore: newMemStore(), faults: f, seed: seed, born: time.Now(), ready: make(chan struct{}),
		contents: map[weir.InfoHash]*swarmtest.Content{}, calls: map[string]uint64{}, lost: map[weir.InfoHash]int64{},
	}
}

// fails draws whether a call fails.
func (s *simStore) fails(share int, call string) bool {
	if share == 0 {
		return false
	}
	s.mu.Lock()
	s.calls[call]++
	n := s.calls[call]
	s.mu.Unlock()
	h := s.seed
	for _, c := range []byte(call) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(h, n)).IntN(1000) < share
}

func (s *simStore) full() bool {
	at := time.Since(s.born) - s.faults.FullFrom
	return 0 <= at && at < s.faults.FullFor
}

// Put fails by the script, and records pieces whose content is wrong.
func (s *simStore) Put(id weir.PieceID, blocks [][]byte) error {
	<-s.ready
	time.Sleep(s.faults.PutDelay)
	got := bytes.Join(blocks, nil)
	if c := s.contents[id.Torrent]; c != nil {
		r := c.Info().PieceRange(id.Index)
		want := make([]byte, len(got))
		if n, _ := c.ReadAt(want, r.Off); n < len(got) || !bytes.Equal(got, want) {
			s.mu.Lock()
			s.wrong = append(s.wrong, fmt.Sprintf("piece %d of %s, %d bytes", id.Index, id.Torrent, len(got)))
			s.mu.Unlock()
		}
	}
	err := error(nil)
	switch {
	case s.full():
		err = fmt.Errorf("simulated disk is full: %w", weir.ErrNoSpace)
	case s.fails(s.faults.PutFails, "put"+id.String()):
		err = errDisk
	}
	if err != nil {
		s.loses(id.Torrent, int64(len(got)))
		return err
	}
	return s.memStore.Put(id, [][]byte{got})
}

// ReadAt fails by the script.
func (s *simStore) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	<-s.ready
	time.Sleep(s.faults.ReadDelay)
	if s.fails(s.faults.ReadFails, "read"+id.String()) {
		return false, errDisk
	}
	return s.memStore.ReadAt(id, p, off)
}

func (s *simStore) Has(id weir.PieceID) bool {
	<-s.ready
	return s.memStore.Has(id)
}

func (s *simStore) Held(ih weir.InfoHash, n int) []bool {
	<-s.ready
	return s.memStore.Held(ih, n)
}

func (s *simStore) PutRecord(bucket string, key, value []byte) error {
	<-s.ready
	if s.fails(s.faults.RecordFails, "put"+bucket) {
		return errDisk
	}
	return s.memStore.PutRecord(bucket, key, value)
}

func (s *simStore) Record(bucket string, key []byte) ([]byte, error) {
	<-s.ready
	if s.fails(s.faults.RecordFails, "get"+bucket) {
		return nil, fmt.Errorf("simulated loss: %w", weir.ErrNotFound)
	}
	return s.memStore.Record(bucket, key)
}

// lose forgets a share of the pieces, per mille.
func (s *simStore) lose(share int) {
	s.memStore.mu.Lock()
	defer s.memStore.mu.Unlock()
	for id, b := range s.pieces {
		if s.fails(share, "lose"+id.String()) {
			delete(s.pieces, id)
			s.loses(id.Torrent, int64(len(b)))
		}
	}
}

func (s *simStore) loses(ih weir.InfoHash, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[ih] += bytes
}

func (s *simStore) lostBytes(ih weir.InfoHash) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost[ih]
}

// delayOf is how long a read of so many pieces may take beyond its deadline, which the
// Store does not know.
func (s *simStore) delayOf(pieces int) time.Duration {
	return time.Duration(pieces) * s.faults.ReadDelay
}

// longestDelay is how long what the Store was told to do may keep others waiting.
func (s *simStore) longestDelay() time.Duration {
	return s.faults.Ready + s.faults.PutDelay + s.faults.ReadDelay
}
