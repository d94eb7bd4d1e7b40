package storage_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/picker"
	"github.com/weirfs/weir/engine/internal/storage"
)

// fakeStore keeps pieces in a map; err is what it answers to each Put.
type fakeStore struct {
	mu     sync.Mutex
	pieces map[weir.PieceID][]byte
	hashes [][]byte
	err    error
}

func (s *fakeStore) Put(id weir.PieceID, blocks [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.pieces[id] = bytes.Join(blocks, nil)
	}
	return s.err
}

func (s *fakeStore) PutHashed(id weir.PieceID, hash []byte, blocks [][]byte) error {
	s.mu.Lock()
	s.hashes = append(s.hashes, hash)
	s.mu.Unlock()
	return s.Put(id, blocks)
}

func (s *fakeStore) Forget(first weir.PieceID, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		delete(s.pieces, weir.PieceID{Torrent: first.Torrent, Index: first.Index + i})
	}
	return nil
}

func (s *fakeStore) Adopt(id weir.PieceID, hash []byte, n int64) bool { return string(hash) == "known" }

func (s *fakeStore) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.pieces[id]
	if ok {
		copy(p, b[off:])
	}
	return ok, nil
}

func (s *fakeStore) Has(id weir.PieceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pieces[id] != nil
}

// buffer counts how often it is freed.
type buffer struct {
	b     []byte
	freed *int
}

func (b buffer) Bytes() []byte { return b.b }
func (b buffer) Free()         { *b.freed++ }

const pieceBytes = weir.BlockBytes + 100

var info = &weir.TorrentInfo{PieceLength: pieceBytes, Length: 8 * pieceBytes}

// newPiece returns a piece of bytes that tell its index, and the count of its freed blocks.
func newPiece(index int) (*storage.Piece, []byte, *int) {
	b := bytes.Repeat([]byte{byte(index + 1)}, pieceBytes)
	freed := new(int)
	return storage.NewPiece(picker.Layout{Info: info}, index, []picker.Buffer{
		buffer{b[:weir.BlockBytes], freed}, buffer{b[weir.BlockBytes:], freed},
	}), b, freed
}

func noHash() []byte { return nil }

// TestCommit: a piece is read from memory until the Store has it, and from there
// afterwards; its blocks are freed once.
func TestCommit(t *testing.T) {
	for _, shares := range []bool{false, true} {
		store := &fakeStore{pieces: map[weir.PieceID][]byte{}}
		var sharing storage.Sharing
		if shares {
			sharing = store
		}
		pieces := storage.NewPool(store, sharing).NewPieces(weir.InfoHash{1}, nil)
		d, want, freed := newPiece(3)
		pieces.Add(d)
		got := make([]byte, 150)
		if !pieces.ReadMemory(3, got, weir.BlockBytes-50) || !bytes.Equal(got, want[:150]) {
			t.Error("not read from memory")
		}
		if n := pieces.Bytes(); n != pieceBytes || pieces.Committing() != 1 || !pieces.Has(3) || *freed != 0 {
			t.Errorf("%d bytes, %d committing, %d blocks freed", n, pieces.Committing(), *freed)
		}
		var failed error
		pieces.Commit(d, func() []byte { return []byte("hash") }, func(err error) { failed = err })
		pieces.Wait()
		if failed != nil || pieces.Bytes() != 0 || pieces.Committing() != 0 || *freed != 2 {
			t.Errorf("%v: %d bytes, %d committing, %d blocks freed", failed, pieces.Bytes(), pieces.Committing(), *freed)
		}
		clear(got)
		if ok, err := pieces.ReadAt(3, got, weir.BlockBytes-50); !ok || err != nil || !bytes.Equal(got, want[:150]) {
			t.Errorf("read from the Store: %v, %v", ok, err)
		}
		if pieces.ReadMemory(3, got, 0) || !pieces.Has(3) || pieces.Has(4) {
			t.Error("the piece is in the wrong place")
		}
		if hashed := len(store.hashes) == 1 && string(store.hashes[0]) == "hash"; hashed != shares {
			t.Errorf("hashes told: %q", store.hashes)
		}
		if pieces.Adopt(5, []byte("known"), pieceBytes) != shares || pieces.Adopt(5, []byte("new"), pieceBytes) {
			t.Error("adopted what it should not have, or did not")
		}
	}
}

// TestRefused: pieces that the Store refuses stay in memory up to the bound over all
// torrents; the oldest makes room, whosever it is. What ends leaves nothing.
func TestRefused(t *testing.T) {
	full := errors.New("full")
	pool := storage.NewPool(&fakeStore{err: full}, nil)
	pool.MaxUncached = 2 * pieceBytes
	var gone []int
	var all [2]*storage.Pieces
	for i := range all {
		all[i] = pool.NewPieces(weir.InfoHash{byte(i)}, func(index int) {
			gone = append(gone, index)
			all[i].Remove(index)
		})
	}
	var freed []*int
	for i := range 4 {
		d, _, f := newPiece(i)
		freed = append(freed, f)
		of := all[i%2]
		of.Add(d)
		of.Commit(d, noHash, func(err error) {
			if !errors.Is(err, full) {
				t.Errorf("piece %d: %v", i, err)
			}
		})
		of.Wait()
		of.Retain(i)
	}
	if !slices.Equal(gone, []int{0, 1}) || pool.UncachedBytes() != 2*pieceBytes {
		t.Errorf("gone: %v, %d bytes stay", gone, pool.UncachedBytes())
	}
	if all[0].Committing() != 0 || all[0].Bytes() != pieceBytes || !all[0].ReadMemory(2, make([]byte, 1), 0) {
		t.Error("what stays can't be read")
	}
	all[0].Close()
	all[1].Close()
	if pool.UncachedBytes() != 0 || all[0].Bytes() != 0 {
		t.Errorf("%d and %d bytes are left", pool.UncachedBytes(), all[0].Bytes())
	}
	for i, f := range freed {
		if *f != 2 {
			t.Errorf("piece %d: %d blocks freed", i, *f)
		}
	}
}

// TestWriter: writes are done one at a time, in order, and Wait waits for all.
func TestWriter(t *testing.T) {
	var w storage.Writer
	var got []int
	for i := range 100 {
		w.Post(func() { got = append(got, i) })
	}
	w.Wait()
	if len(got) != 100 || !slices.IsSorted(got) {
		t.Errorf("written: %v", got)
	}
}
