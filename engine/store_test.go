package engine_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/weirfs/weir"
)

// memStore is a Store in memory that can be made to fail and to lose pieces.
type memStore struct {
	mu      sync.Mutex
	pieces  map[weir.PieceID][]byte
	records map[string][]byte
	putErr  error
	gate    chan struct{} // if set, Put waits until it is closed
	discard bool          // Put forgets the bytes, for measuring the engine alone
	put     chan struct{} // closed, and made anew, when a piece was put
}

func newMemStore() *memStore {
	return &memStore{pieces: map[weir.PieceID][]byte{}, records: map[string][]byte{}, put: make(chan struct{})}
}

// waitFor waits until a piece is there: commits go on behind the reads.
func (m *memStore) waitFor(ctx context.Context, id weir.PieceID) {
	for {
		m.mu.Lock()
		_, ok := m.pieces[id]
		put := m.put
		m.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-put:
		case <-ctx.Done():
			panic("piece " + id.String() + " is never committed")
		}
	}
}

func (m *memStore) Put(id weir.PieceID, blocks [][]byte) error {
	m.mu.Lock()
	gate, err := m.gate, m.putErr
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if err != nil {
		return err
	}
	var b []byte
	if !m.discard {
		for _, s := range blocks {
			b = append(b, s...)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pieces[id] = b
	close(m.put)
	m.put = make(chan struct{})
	return nil
}

func (m *memStore) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.pieces[id]
	if !ok {
		return false, nil
	}
	if m.discard {
		return true, nil
	}
	if copy(p, b[off:]) < len(p) {
		return false, fmt.Errorf("read past the end of %s", id)
	}
	return true, nil
}

func (m *memStore) Has(id weir.PieceID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.pieces[id]
	return ok
}

func (m *memStore) Held(ih weir.InfoHash, n int) []bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := make([]bool, n)
	for id := range m.pieces {
		if id.Torrent == ih {
			held[id.Index] = true
		}
	}
	return held
}

func (m *memStore) evict(id weir.PieceID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pieces, id)
}

func (m *memStore) PutRecord(bucket string, key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[bucket+"\x00"+string(key)] = append([]byte(nil), value...)
	return nil
}

func (m *memStore) Record(bucket string, key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.records[bucket+"\x00"+string(key)]; ok {
		return v, nil
	}
	return nil, weir.ErrNotFound
}
