package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/weirfs/weir"
)

// inFlight is how many slabs badger works on at once: it bounds the memory of a
// write.
const inFlight = 4

// Put stores a whole, verified piece, given as consecutive slices; the caller
// may use them again afterwards. When it returns nil, View serves the piece. It
// is synchronous, one piece at a time, and waits for the disk when the disk is
// behind. A piece that is held already is left as it is.
//
// The error wraps weir.ErrNoSpace when the piece fits neither into the budget nor
// on the disk (what is held can still be read, and a later Put may succeed),
// weir.ErrInvalid when there is no such piece, weir.ErrClosed after Close.
func (c *Cache) Put(id weir.PieceID, blocks [][]byte) error {
	var n int64
	for _, b := range blocks {
		n += int64(len(b))
	}
	if id.Index < 0 || id.Index >= maxPieces || n == 0 || n > maxPieceBytes {
		return fmt.Errorf("put %s of %d bytes: %w", id, n, weir.ErrInvalid)
	}
	if err := c.takeTurn(); err != nil {
		return err
	}
	defer c.endTurn()
	if c.Has(id) {
		return nil
	}
	to := probation
	switch {
	case c.pinned(id):
		to = kept
	case c.ghost.take(id, c.pieces()):
		to = mainRow
	}
	rest := append([][]byte(nil), blocks...)
	fill := func(p []byte) error {
		for len(p) > 0 {
			k := copy(p, rest[0])
			p = p[k:]
			if rest[0] = rest[0][k:]; len(rest[0]) == 0 {
				rest = rest[1:]
			}
		}
		return nil
	}
	if err := c.store(id, n, to, 0, true, fill); err != nil {
		return fmt.Errorf("put %s: %w", id, err)
	}
	c.notes = append(c.notes, note{id, true})
	return nil
}

func (c *Cache) pieces() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.held
}

// store writes a piece into the newest generation of a class and enters it. fill
// gives the next bytes of the piece. The caller has the turn.
func (c *Cache) store(id weir.PieceID, n int64, to class, uses uint8, evict bool, fill func([]byte) error) error {
	g, err := c.room(to, n, evict)
	if err != nil {
		return err
	}
	off := g.next
	if err := c.write(g, id, n, fill); err != nil {
		// What badger has written of it is unknown: leave this one.
		c.retire(to)
		return err
	}
	c.clock.Add(uint64(n))
	c.mu.Lock()
	c.index(found{id, off, n}, g)
	c.torrents[id.Torrent].slot(id.Index).heat.store(uses, c.now())
	c.mu.Unlock()
	return nil
}

func (c *Cache) now() uint32 { return uint32(c.clock.Load() >> 20) }

// buffer holds one slab on its way to badger.
type buffer struct {
	value []byte
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

// write commits the slabs of a piece, one transaction each: badger keeps the
// order of transactions, and none inside of them. Up to inFlight are on their
// way at once.
func (c *Cache) write(g *generation, id weir.PieceID, n int64, fill func([]byte) error) error {
	off, seed := g.next, pieceSeed(id, n)
	var err error
	for s := 0; s < slabCount(n) && err == nil; s++ {
		b := &c.buffers[s%inFlight]
		if err = b.wait(); err != nil {
			break
		}
		if err = b.slab(slabLen(n, s), seed, s, fill); err == nil {
			err = b.commit(g.db, appendKey(nil, id, s, n), g.version())
		}
	}
	for i := range c.buffers {
		err = errors.Join(err, c.buffers[i].wait())
	}
	if err == nil {
		err = g.checkRows(id, n, off)
	}
	if err != nil {
		return err
	}
	g.next = off + pieceSpan(n)
	g.entries += slabCount(n)
	return nil
}

// commit sends the row on its way.
func (b *buffer) commit(db *badger.DB, key []byte, version uint64) error {
	txn := db.NewTransactionAt(version, true)
	if err := txn.SetEntry(badger.NewEntry(key, b.value)); err != nil {
		txn.Discard()
		return err
	}
	if err := txn.CommitAt(version, func(err error) { b.done <- err }); err != nil {
		return err
	}
	b.busy = true
	return nil
}

// slab builds the value of slab s, of n bytes.
func (b *buffer) slab(n int64, seed uint32, s int, fill func([]byte) error) error {
	if b.done == nil {
		b.value, b.done = make([]byte, valueLen(slabBytes)), make(chan error, 1)
	}
	table := tableLen(n)
	b.value = b.value[:valueLen(n)]
	payload := b.value[table : table+n]
	clear(b.value[table+n:])
	if err := fill(payload); err != nil {
		return err
	}
	first := int64(s) * (slabBytes / weir.BlockBytes)
	for i := int64(0); i*weir.BlockBytes < n; i++ {
		block := payload[i*weir.BlockBytes : min((i+1)*weir.BlockBytes, n)]
		binary.LittleEndian.PutUint32(b.value[4*i:], blockSum(seed, first+i, block))
	}
	return nil
}

// room returns the newest generation of a class, with space reserved for a piece
// of n bytes; with evict it may drop others for that. The caller has the turn.
func (c *Cache) room(to class, n int64, evict bool) (*generation, error) {
	span := pieceSpan(n)
	for try := 0; ; try++ {
		g, err := c.tryRoom(to, n, span, evict)
		if err == nil {
			c.full = false
			return g, nil
		}
		// The budget had room and the disk has not: live within what we have.
		if !errors.Is(err, weir.ErrNoSpace) || !evict || try > 0 || !c.dropOne() {
			if isFull(err) && !c.full {
				c.full = true
				c.log.Warn("the disk is full: the cache stops growing", "dir", c.folder.dir, "err", err)
			}
			return nil, err
		}
		c.waitRemoved()
	}
}

func (c *Cache) tryRoom(to class, n, span int64, evict bool) (*generation, error) {
	g := c.active[to]
	if g != nil && !g.fits(n) {
		c.retire(to)
		g = nil
	}
	if g == nil {
		return c.newest(to, n, span, evict)
	}
	end := g.next + span
	if end <= g.alloc {
		return g, nil
	}
	end = min(g.cap, max(end, g.alloc+reserveBytes))
	if evict {
		before := g.next
		if err := c.makeRoom(end - g.alloc); err != nil {
			return nil, err
		}
		if c.active[to] != g || g.next != before { // pieces that stay moved here
			return c.tryRoom(to, n, span, evict)
		}
	}
	grown := end - g.alloc
	if err := g.reserve(end); err != nil {
		return nil, err
	}
	c.mu.Lock()
	g.disk += grown
	c.mu.Unlock()
	return g, nil
}

// newest starts a generation for a piece of n bytes.
func (c *Cache) newest(to class, n, span int64, evict bool) (*generation, error) {
	// A whole number of such pieces, so that large ones leave no room unused.
	capacity := logHeaderBytes + (c.generationBytes()+span-1)/span*span
	first := min(capacity, max(reserveBytes, logHeaderBytes+span))
	if evict {
		c.merge()
		if err := c.makeRoom(first + fixedBytes); err != nil {
			return nil, err
		}
		if c.active[to] != nil { // pieces that stay moved and started it
			return c.tryRoom(to, n, span, evict)
		}
	}
	g := c.takeSpare(to, n, capacity)
	if g == nil {
		var err error
		g, err = createGeneration(c.root, c.nextSeq, to, capacity, first, min(n, slabBytes), c.log)
		c.nextSeq++
		if err != nil {
			return nil, err
		}
	}
	c.active[to] = g
	c.mu.Lock()
	c.gens = append(c.gens, g)
	c.mu.Unlock()
	if to == probation {
		c.prepareSpare(capacity, min(n, slabBytes))
	}
	return c.tryRoom(to, n, span, evict)
}

// prepareSpare makes the next generation of the row that grows fastest, in the
// background: badger syncs several small files for it, which on a busy disk
// takes as long as writing some pieces.
func (c *Cache) prepareSpare(capacity, rowBytes int64) {
	avail, _, err := freeBytes(c.folder.dir)
	if err != nil || c.sparing || avail-4*reserveBytes < max(c.minFree, 0) {
		return
	}
	c.sparing = true
	seq := c.nextSeq
	c.nextSeq++
	go func() {
		g, err := createGeneration(c.root, seq, probation, capacity, min(reserveBytes, capacity), rowBytes, c.log)
		if err != nil {
			c.log.Debug("no spare generation", "err", err)
		}
		c.spare <- g
	}()
}

// takeSpare returns the prepared generation if there is one that suits, or nil.
func (c *Cache) takeSpare(to class, n, capacity int64) *generation {
	if to != probation || !c.sparing {
		return nil
	}
	g := <-c.spare
	c.sparing = false
	if g != nil && (!g.fits(n) || g.cap > 2*capacity || capacity > 2*g.cap) {
		g.abandon()
		return nil
	}
	return g
}

func (c *Cache) generationBytes() int64 {
	return max(minGenerationBytes, min(maxGenerationBytes, c.limit.Load()/generationShare))
}

// retire ends writing to the newest generation of a class; the next piece of it
// starts another. Closing (badger syncs the log) goes on in the background, one
// at a time: a writer that is faster than the disk waits here.
func (c *Cache) retire(which class) {
	g := c.active[which]
	if g == nil {
		return
	}
	c.active[which] = nil
	<-c.sealing
	seal := func() {
		defer func() { c.sealing <- struct{}{} }()
		if err := c.seal(g); err != nil {
			c.log.Warn("generation not closed in good order", "err", err)
		}
	}
	// On a nearly full disk the close lives on the ballast, and the next
	// generation must not take that away from it meanwhile.
	if avail, _, err := freeBytes(g.dir); err == nil && avail < 2*ballastBytes {
		seal()
		return
	}
	go seal()
}

// seal closes a generation and writes the list of its pieces. It needs the
// sealing token and no lock.
func (c *Cache) seal(g *generation) error {
	avail, _, err := freeBytes(g.dir)
	tight := err == nil && avail < ballastBytes
	if tight {
		c.folder.dropBallast()
	}
	err = g.close()
	pieces := c.piecesOf(g)
	if err == nil {
		err = writeWhole(filepath.Join(g.dir, sealName), encodeSeal(pieces, g.next))
	}
	if isFull(err) {
		err = nil // the next start finds the pieces by walking the log
	}
	if tight {
		if berr := c.folder.setBallast(); berr != nil {
			c.log.Debug("no ballast", "err", berr)
		}
	}
	_ = os.Remove(filepath.Join(g.dir, "reserve"))
	disk := allocatedBytes(g.dir)
	c.mu.Lock()
	g.disk, g.sealed = disk, true
	c.mu.Unlock()
	return err
}
