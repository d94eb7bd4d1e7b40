package cache

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
)

// inFlight is how many buffers badger works on at once: it bounds the memory of
// a write. transactionBytes is how much of small pieces goes into one of them:
// badger begins with the first while the next is filled.
const (
	inFlight         = 4
	transactionBytes = 128 << 10
)

// batch is what is written to a generation in one go: any number of rows, on
// their way in up to inFlight transactions. It belongs to whoever has the turn.
type batch struct {
	gen     *generation
	pieces  []*incoming
	start   int64 // where the first entry begins in the log
	bytes   int64 // in the pieces
	err     error // the first one
	buffers [inFlight]buffer
	filling int // the buffer that takes the next row
}

// has reports whether a piece of this name, or one with this hash, is in it.
func (b *batch) has(id weir.PieceID, hash []byte) bool {
	for _, w := range b.pieces {
		if w.id == id || len(hash) > 0 && string(w.hash) == string(hash) {
			return true
		}
	}
	return false
}

// fits reports whether a piece of n bytes can be added in g, without making room
// and without going beyond a group.
func (b *batch) fits(g *generation, n int64) bool {
	return g != nil && (b.gen == g || b.gen == nil) && b.bytes+n <= groupBytes && g.fits(n) && g.next+pieceSpan(n) <= g.alloc
}

// add sends a piece on its way to g, or gets it ready for that. There is room for
// it.
func (b *batch) add(w *incoming, g *generation) {
	if len(b.pieces) == 0 {
		b.gen, b.start = g, g.next
	}
	b.pieces = append(b.pieces, w)
	b.bytes += w.n
	b.err = errors.Join(b.err, g.zeroed(g.next+pieceSpan(w.n)))
	g.next += pieceSpan(w.n)
	g.entries += slabCount(w.n)
	seed := pieceSeed(w.id, w.n)
	for s := 0; s < slabCount(w.n) && b.err == nil; s++ {
		// badger keeps the order of transactions, and none inside of them: small
		// pieces may lie side by side in any order, the slabs of a large one not.
		alone := slabCount(w.n) > 1
		if buf := &b.buffers[b.filling]; alone || buf.alone || buf.used+valueLen(slabLen(w.n, s)) > transactionBytes {
			b.send()
		}
		if b.err == nil {
			buf := &b.buffers[b.filling]
			buf.alone = alone
			b.err = buf.add(g, appendKey(nil, w.id, s, w.n), slabLen(w.n, s), seed, s, w.fill)
		}
	}
}

// send lets badger begin with what is in the buffer that is being filled.
func (b *batch) send() {
	buf := &b.buffers[b.filling]
	if b.err != nil || buf.txn == nil {
		return
	}
	if b.err = buf.send(b.gen.version()); b.err == nil {
		b.filling = (b.filling + 1) % inFlight
		b.err = b.buffers[b.filling].wait()
	}
}

// flush returns once badger has everything.
func (b *batch) flush() error {
	if buf := &b.buffers[b.filling]; b.err == nil && buf.txn != nil {
		b.err = buf.sendAndWait(b.gen.version())
	}
	for i := range b.buffers {
		b.err = errors.Join(b.err, b.buffers[i].wait())
	}
	return b.err
}

// locate finds where the pieces are in the log, and whether all of each is there.
func (b *batch) locate() error {
	at := b.start
	for at < b.gen.next {
		id, slab, n, ok := entryAt(b.gen.log, at)
		w := b.piece(id)
		switch {
		case !ok || w == nil || w.n != n || w.slabs != slab:
			return fmt.Errorf("byte %d of %s is not what was written: %w", at, b.gen.dir, weir.ErrCorrupt)
		case slab == 0:
			w.off = at
		case at != w.off+int64(slab)*entryLen(valueLen(slabBytes)):
			return fmt.Errorf("%s slab %d at byte %d of %s is away from the others: %w", id, slab, at, b.gen.dir, weir.ErrCorrupt)
		}
		w.slabs++
		at += entryLen(valueLen(slabLen(n, slab)))
	}
	return nil
}

func (b *batch) piece(id weir.PieceID) *incoming {
	for _, w := range b.pieces {
		if w.id == id {
			return w
		}
	}
	return nil
}

// take empties the batch for the next use and returns the pieces that were in it.
func (b *batch) take() []*incoming {
	pieces := b.pieces
	b.gen, b.pieces, b.bytes, b.err = nil, nil, 0, nil
	for i := range b.buffers {
		b.buffers[i].drop()
	}
	return pieces
}

// commit writes a batch and enters its pieces: all of them, or with an error
// none. The caller has the turn, and takes the batch back.
func (c *Cache) commit(b *batch) error {
	if len(b.pieces) == 0 {
		return nil
	}
	g := b.gen
	err := b.flush()
	if err == nil {
		err = b.locate()
	}
	if err != nil {
		// What badger has written of it is unknown: leave this one.
		g.next = b.start
		c.retire(g.class)
		return err
	}
	c.clock.Add(uint64(b.bytes))
	c.mu.Lock()
	for _, w := range b.pieces {
		c.index(found{id: w.id, off: w.off, n: w.n}, g)
		c.torrents[w.id.Torrent].slot(w.id.Index).heat.store(w.uses, c.now())
		if w.hash != nil {
			g.hashes.add(w.off, w.hash)
		}
	}
	c.mu.Unlock()
	if g.hashes.pending() >= hashesBatch {
		if err := g.flushHashes(); err != nil {
			c.log.Debug("hashes not written", "err", err)
		}
	}
	return nil
}

// store writes one piece into the newest generation of its class, without
// dropping others for it, and enters it. The caller has the turn.
func (c *Cache) store(w *incoming) (place, error) {
	g, err := c.room(w.to, w.n, false)
	if err != nil {
		return place{}, err
	}
	b := &c.batch
	b.add(w, g)
	err = c.commit(b)
	b.take()
	return place{gen: g, off: w.off, n: w.n}, err
}

func (c *Cache) now() uint32 { return uint32(c.clock.Load() >> 20) }

// buffer holds rows on their way to badger: one slab of a large piece, or small
// pieces up to transactionBytes, or one that is larger than that.
type buffer struct {
	space []byte // of the longest value, once it was used
	used  int64
	alone bool // it takes no second row
	txn   *badger.Txn
	done  chan error // of its commit, while busy
	busy  bool
}

// wait returns when badger no longer needs the buffer, with what became of it.
func (b *buffer) wait() error {
	if !b.busy {
		return nil
	}
	b.busy = false
	return <-b.done
}

// drop forgets what was not sent.
func (b *buffer) drop() {
	if b.txn != nil {
		b.txn.Discard()
	}
	b.txn, b.used, b.alone = nil, 0, false
}

// add builds the row of slab s, of n bytes.
func (b *buffer) add(g *generation, key []byte, n int64, seed uint32, s int, fill func([]byte) error) error {
	if b.txn == nil {
		b.txn = g.db.NewTransactionAt(g.lastVersion, true)
	}
	if b.space == nil {
		b.space, b.done = make([]byte, valueLen(slabBytes)), make(chan error, 1)
	}
	value := b.space[b.used:][:valueLen(n):valueLen(n)]
	b.used += valueLen(n)
	table := tableLen(n)
	payload := value[table : table+n]
	clear(value[table+n:])
	if err := fill(payload); err != nil {
		return err
	}
	first := int64(s) * (slabBytes / weir.BlockBytes)
	for i := int64(0); i*weir.BlockBytes < n; i++ {
		block := payload[i*weir.BlockBytes : min((i+1)*weir.BlockBytes, n)]
		binary.LittleEndian.PutUint32(value[4*i:], blockSum(seed, first+i, block))
	}
	return b.txn.SetEntry(badger.NewEntry(key, value))
}

// send commits the rows; wait tells when that is done.
func (b *buffer) send(version uint64) error {
	defer b.drop()
	if err := b.txn.CommitAt(version, func(err error) { b.done <- err }); err != nil {
		return err
	}
	b.busy = true
	return nil
}

// sendAndWait commits the rows, without a goroutine in between.
func (b *buffer) sendAndWait(version uint64) error {
	defer b.drop()
	return b.txn.CommitAt(version, nil)
}
