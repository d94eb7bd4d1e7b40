package cache

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/weirfs/weir"
)

// place is where a piece lies, with a reference to its generation.
type place struct {
	gen *generation
	off int64
	n   int64
}

// find looks a piece up for reading n bytes at off, and takes a reference that
// the caller gives back. With use it counts as one. No piece: gen is nil.
func (c *Cache) find(id weir.PieceID, off int64, n int, use bool) (place, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return place{}, fmt.Errorf("cache: %w", weir.ErrClosed)
	}
	t := c.torrents[id.Torrent]
	if t == nil {
		return place{}, nil
	}
	s := t.slot(id.Index)
	if s == nil {
		return place{}, nil
	}
	if off < 0 || n < 0 || off+int64(n) > int64(s.n) {
		return place{}, fmt.Errorf("read %d bytes at %d of %s, which has %d: %w", n, off, id, s.n, weir.ErrInvalid)
	}
	if use {
		now := uint32(c.clock.Add(uint64(n)) >> 20)
		s.heat.touch(now, period(c.limit.Load(), int64(s.n)))
	}
	s.gen.acquire()
	return place{s.gen, int64(s.off), int64(s.n)}, nil
}

// View calls use once, with the n bytes at off of the piece, if the piece is
// held, and returns whether it did. The bytes are valid during the call only and
// must not be changed; mostly they are the disk's own pages, not a copy. Every
// block is checked against its checksum first, at each read: a page that was
// right once can come back wrong from the disk. A piece that fails is dropped,
// Changed is told, and View says that it is not held.
//
// The error wraps weir.ErrInvalid when the range is outside of the piece and
// weir.ErrClosed after Close. View never waits for a writer.
func (c *Cache) View(id weir.PieceID, off int64, n int, use func(b []byte)) (bool, error) {
	held, err := c.read(id, off, n, true, use)
	switch {
	case held:
		c.stats.hits.Add(1)
	case err == nil:
		c.stats.misses.Add(1)
	}
	return held, err
}

// read is View; only with counts is it a use, to the policy.
func (c *Cache) read(id weir.PieceID, off int64, n int, counts bool, use func(b []byte)) (bool, error) {
	p, err := c.find(id, off, n, counts)
	if err != nil || p.gen == nil {
		return false, err
	}
	ok := p.view(id, off, n, use)
	p.gen.release()
	if !ok {
		c.dropDamaged(id, p)
	}
	return ok, nil
}

// ReadAt fills p from off of the piece, if the piece is held, and returns whether
// it did. It is View with a copy.
func (c *Cache) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	return c.View(id, off, len(p), func(b []byte) { copy(p, b) })
}

var gather = sync.Pool{New: func() any { return new([]byte) }}

// view checks and hands out; false when the bytes are damaged. A fault in the
// mapping (the disk failed to give a page) is damage too.
func (p place) view(id weir.PieceID, off int64, n int, use func([]byte)) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			// Only a fault has an address; the panics of use are not ours.
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			ok = false
		}
	}()
	seed := pieceSeed(id, p.n)
	end := off + int64(n)
	if n == 0 {
		use(nil)
		return true
	}
	first, last := int(off/slabBytes), int((end-1)/slabBytes)
	if first == last {
		b, ok := p.payload(seed, first, off-int64(first)*slabBytes, end-int64(first)*slabBytes)
		if ok {
			use(b)
		}
		return ok
	}
	buf := gather.Get().(*[]byte)
	defer gather.Put(buf)
	out := (*buf)[:0]
	for s := first; s <= last; s++ {
		base := int64(s) * slabBytes
		b, ok := p.payload(seed, s, max(off-base, 0), min(end-base, slabBytes))
		if !ok {
			return false
		}
		out = append(out, b...)
	}
	*buf = out
	use(out)
	return true
}

// payload returns bytes off … end of slab s, mapped, after checking the blocks
// that they lie in.
func (p place) payload(seed uint32, s int, off, end int64) ([]byte, bool) {
	n := slabLen(p.n, s)
	value := slabOffset(p.off, p.n, s)
	if value+valueLen(n) > int64(len(p.gen.log)) {
		return nil, false
	}
	start := value + tableLen(n)
	first, last := off/weir.BlockBytes, (end-1)/weir.BlockBytes
	if p.gen.populate(start+first*weir.BlockBytes, start+min((last+1)*weir.BlockBytes, n), value, start+n) != nil {
		return nil, false
	}
	table, payload := p.gen.log[value:start], p.gen.log[start:start+n]
	for b := first; b <= last; b++ {
		block := payload[b*weir.BlockBytes : min((b+1)*weir.BlockBytes, n)]
		if blockSum(seed, int64(s)*(slabBytes/weir.BlockBytes)+b, block) != binary.LittleEndian.Uint32(table[4*b:]) {
			return nil, false
		}
	}
	return payload[off:end:end], true
}

// Has reports whether a piece is held. It looks into memory only.
func (c *Cache) Has(id weir.PieceID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.torrents[id.Torrent]
	return t != nil && t.has(id.Index)
}

// Held returns, for the pieces 0 … n-1 of a torrent, which are held.
func (c *Cache) Held(ih weir.InfoHash, n int) []bool {
	held := make([]bool, n)
	c.mu.RLock()
	defer c.mu.RUnlock()
	if t := c.torrents[ih]; t != nil {
		for i := range min(n, 64*len(t.bitmap)) {
			held[i] = t.has(i)
		}
	}
	return held
}

// HeldBytes returns how many bytes of r, in the coordinates of the torrent, are
// held. It looks into memory only.
func (c *Cache) HeldBytes(ti *weir.TorrentInfo, r weir.Range) int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.torrents[ti.InfoHash]
	if t == nil {
		return 0
	}
	if !ti.V2 {
		return t.heldBytes(ti, r)
	}
	// The last piece of each file may be short: inside a file, only its last is.
	var sum int64
	for first, end := ti.FilesIn(r); first < end; first++ {
		if f := &ti.Files[first]; !f.Padding {
			sum += t.heldBytes(ti, r.Intersect(f.Range()))
		}
	}
	return sum
}

// heldBytes is HeldBytes for a range of which every piece but the last is of
// full length.
func (t *torrent) heldBytes(ti *weir.TorrentInfo, r weir.Range) int64 {
	first, end := ti.Pieces(r)
	if first == end {
		return 0
	}
	// The first and the last may be covered in part, and the last may be short.
	sum := int64(max(t.count(first+1, end-1), 0)) * ti.PieceLength
	if t.has(first) {
		sum += ti.PieceRange(first).Intersect(r).Len()
	}
	if end-1 > first && t.has(end-1) {
		sum += ti.PieceRange(end - 1).Intersect(r).Len()
	}
	return sum
}
