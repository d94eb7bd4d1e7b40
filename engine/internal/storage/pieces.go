package storage

import (
	"context"
	"sync"

	"github.com/weirfs/weir"
)

// Pieces are the verified pieces of one torrent: in memory until they are committed,
// then in the Store. Reads are served from memory meanwhile.
type Pieces struct {
	pool *Pool
	ih   weir.InfoHash
	drop func(index int)

	commits sync.WaitGroup // pieces that are being put

	mu       sync.RWMutex
	pieces   map[int]*Piece
	bytes    int64            // of pieces
	uncached map[int]struct{} // of them, those that the Store did not take
}

// Add takes a verified piece into memory.
func (p *Pieces) Add(d *Piece) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pieces[d.Index] = d
	p.bytes += d.bytes
}

// Commit puts a piece that was added into the Store, in a goroutine, and calls done in
// it. The piece has left memory then, unless the Store refused it.
func (p *Pieces) Commit(d *Piece, hash func() []byte, done func(err error)) {
	p.commits.Go(func() {
		weight := commitWeight(d.bytes)
		_ = p.pool.committing.Acquire(context.Background(), weight) // without a deadline it can't fail
		err := p.put(d, hash)
		p.pool.committing.Release(weight)
		if err == nil {
			p.Remove(d.Index)
		}
		done(err)
	})
}

func (p *Pieces) put(d *Piece, hash func() []byte) error {
	id := weir.PieceID{Torrent: p.ih, Index: d.Index}
	if p.pool.sharing == nil {
		return p.pool.store.Put(id, d.Blocks())
	}
	return p.pool.sharing.PutHashed(id, hash(), d.Blocks())
}

// CommitBlock puts a verified block of a piece that is not whole into the Store, under a
// name of its own and with its hash, in a goroutine. A Store that knows no hashes keeps none.
func (p *Pieces) CommitBlock(id weir.PieceID, hash, block []byte) {
	if p.pool.sharing == nil {
		return
	}
	p.commits.Go(func() {
		_ = p.pool.committing.Acquire(context.Background(), 1) // without a deadline it can't fail
		defer p.pool.committing.Release(1)
		_ = p.pool.sharing.PutHashed(id, hash, [][]byte{block}) // else it is fetched again
	})
}

// ForgetBlocks takes the blocks of a piece that is whole now out of the Store: n from first
// on. It may wait for the disk.
func (p *Pieces) ForgetBlocks(first weir.PieceID, n int) {
	if p.pool.sharing != nil {
		_ = p.pool.sharing.Forget(first, n) // else they are evicted one day
	}
}

// Wait returns when no piece is put any more.
func (p *Pieces) Wait() { p.commits.Wait() }

// Adopt makes a piece of n bytes held if the Store has the same bytes under another
// name, and reports whether it is held now.
func (p *Pieces) Adopt(index int, hash []byte, n int64) bool {
	return p.pool.sharing != nil && p.pool.sharing.Adopt(weir.PieceID{Torrent: p.ih, Index: index}, hash, n)
}

// Has reports whether a piece is in memory or in the Store.
func (p *Pieces) Has(index int) bool {
	p.mu.RLock()
	held := p.pieces[index] != nil
	p.mu.RUnlock()
	return held || p.pool.store.Has(weir.PieceID{Torrent: p.ih, Index: index})
}

// ReadAt fills b from a piece at off, and reports whether it is held. It may read the
// disk.
func (p *Pieces) ReadAt(index int, b []byte, off int64) (bool, error) {
	if p.ReadMemory(index, b, off) {
		return true, nil
	}
	return p.pool.store.ReadAt(weir.PieceID{Torrent: p.ih, Index: index}, b, off)
}

// ReadMemory fills b from a piece at off if the piece is in memory. It holds the lock
// while it copies: that is what keeps the blocks alive.
func (p *Pieces) ReadMemory(index int, b []byte, off int64) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	d := p.pieces[index]
	if d == nil {
		return false
	}
	d.copyTo(b, off)
	return true
}

// Committing returns how many pieces are on their way to the Store.
func (p *Pieces) Committing() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.pieces) - len(p.uncached)
}

// Bytes returns the size of the pieces in memory.
func (p *Pieces) Bytes() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.bytes
}

// Retain leaves a piece in memory that the Store refused, in place of the oldest such
// pieces of all torrents.
func (p *Pieces) Retain(index int) {
	p.mu.Lock()
	d := p.pieces[index]
	p.uncached[index] = struct{}{}
	p.mu.Unlock()
	for _, g := range p.pool.add(uncached{p, index, d.bytes}) {
		g.pieces.drop(g.index)
	}
}

// Remove lets a piece go from memory.
func (p *Pieces) Remove(index int) {
	p.mu.Lock()
	d := p.pieces[index]
	delete(p.pieces, index)
	delete(p.uncached, index)
	if d != nil {
		p.bytes -= d.bytes
	}
	p.mu.Unlock()
	if d != nil {
		d.free()
	}
}

// Close lets all pieces go from memory. Nobody reads any more.
func (p *Pieces) Close() {
	p.pool.leave(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.pieces {
		d.free()
	}
	clear(p.pieces)
	clear(p.uncached)
	p.bytes = 0
}
