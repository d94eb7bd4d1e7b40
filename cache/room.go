package cache

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/weirfs/weir"
)

// fullAgain is for how long the disk must have had room before the log is told
// again that it is full: while something else fills it, room comes and goes.
const fullAgain = time.Minute

// room returns the newest generation of a class, with space reserved for a piece
// of n bytes; with evict it may drop others for that. The caller has the turn.
func (c *Cache) room(to class, n int64, evict bool) (*generation, error) {
	span := pieceSpan(n)
	for try := 0; ; try++ {
		g, err := c.tryRoom(to, n, span, evict)
		if err == nil {
			return g, nil
		}
		// The budget had room and the disk has not: live within what we have.
		if !errors.Is(err, weir.ErrNoSpace) || !evict || try > 0 || !c.dropOne(true) {
			if isFull(err) {
				if time.Since(c.full) > fullAgain {
					c.log.Warn("the disk is full: the cache stops growing", "dir", c.folder.dir, "err", err)
				}
				c.full = time.Now()
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
	if err := g.flushHashes(); err != nil {
		c.log.Debug("hashes not written", "err", err)
	}
	sorted := sortPrints(g.hashes.byPrint)
	err = g.close()
	pieces := c.piecesOf(g)
	if err == nil {
		err = writeWhole(filepath.Join(g.dir, sealName), encodeSeal(pieces, g.next))
	}
	if isFull(err) || errors.Is(err, errGone) {
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
	g.hashes = hashes{sorted: sorted}
	c.mu.Unlock()
	g.settled.Store(true)
	return err
}
