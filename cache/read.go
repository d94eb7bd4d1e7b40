package cache

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/weirfs/weir"
)

// place is where a piece lies, with a reference to its generation.
type place struct {
	gen  *generation
	off  int64
	n    int64
	link bool // the row was written under another name
}

// seed returns the start value of the checksums of piece id, which lies here.
// They were made for the name that the row was written under, and that stands in
// its head. A head that is damaged gives a seed by which no block is right.
func (p place) seed(id weir.PieceID) uint32 {
	if p.link {
		id, _, _, _ = entryAt(p.gen.log, p.off)
	}
	return pieceSeed(id, p.n)
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
	if off < 0 || n < 0 || off+int64(n) > s.bytes() {
		return place{}, fmt.Errorf("read %d bytes at %d of %s, which has %d: %w", n, off, id, s.bytes(), weir.ErrInvalid)
	}
	if use {
		now := uint32(c.clock.Add(uint64(n)) >> 20)
		s.heat.touch(now, period(c.limit.Load(), s.bytes()))
	}
	s.gen.acquire()
	return place{s.gen, int64(s.off), s.bytes(), s.link()}, nil
}

// View calls use once, with the n bytes at off of the piece, if the piece is
// held, and returns whether it did. The bytes are valid during the call only and
// are the callee's to change. Every block is checked against its checksum first,
// at each read: a page that was right once can come back wrong from the disk. A
// piece that fails is dropped, Changed is told, and View says that it is not held.
//
// The error wraps weir.ErrInvalid when the range is outside of the piece and
// weir.ErrClosed after Close. View never waits for a writer.
func (c *Cache) View(id weir.PieceID, off int64, n int, use func(b []byte)) (bool, error) {
	p, err := c.find(id, off, n, true)
	if err != nil || p.gen == nil {
		return c.counted(false, err)
	}
	return c.counted(c.served(id, p, p.view(id, off, n, use)), nil)
}

// ReadAt fills dst from off of the piece, if the piece is held, and returns
// whether it did; when not, what dst holds means nothing. It is View with one copy
// less.
func (c *Cache) ReadAt(id weir.PieceID, dst []byte, off int64) (bool, error) {
	p, err := c.find(id, off, len(dst), true)
	if err != nil || p.gen == nil {
		return c.counted(false, err)
	}
	return c.counted(c.served(id, p, p.read(id, off, dst)), nil)
}

// served gives the reference in p back, and drops the piece if it was not right.
func (c *Cache) served(id weir.PieceID, p place, right bool) bool {
	p.gen.release()
	if !right {
		c.dropDamaged(id, p)
	}
	return right
}

func (c *Cache) counted(held bool, err error) (bool, error) {
	switch {
	case held:
		c.stats.hits.Add(1)
	case err == nil:
		c.stats.misses.Add(1)
	}
	return held, err
}

// buffers for what is read: see fill.
var (
	gather  = sync.Pool{New: func() any { return new([]byte) }}
	scratch = sync.Pool{New: func() any { return new([weir.BlockBytes]byte) }}
)

// view checks and hands out; false when the bytes are damaged.
func (p place) view(id weir.PieceID, off int64, n int, use func([]byte)) bool {
	buf := gather.Get().(*[]byte)
	defer gather.Put(buf)
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n:n]
	if !p.read(id, off, b) {
		return false
	}
	use(b)
	return true
}

// read fills dst from off of the piece; false when the bytes are damaged. A fault
// in the mapping (the disk failed to give a page) is damage too.
func (p place) read(id weir.PieceID, off int64, dst []byte) (ok bool) {
	err := guard(func() error {
		ok = p.fill(dst, p.seed(id), off)
		return nil
	})
	return ok && err == nil
}

// fill copies bytes from off of the piece on, and checks the blocks that they lie
// in. It is the copies that are checked: what is handed out is then what was
// right, and copying is the fastest way through memory that is in no cache of the
// processor (a checksum over the map takes twice the time of copy and checksum).
func (p place) fill(dst []byte, seed uint32, off int64) bool {
	for len(dst) > 0 {
		s := int(off / slabBytes)
		in := off - int64(s)*slabBytes
		n := slabLen(p.n, s)
		end := min(in+int64(len(dst)), n)
		if !p.fillSlab(dst[:end-in], seed, s, in) {
			return false
		}
		dst, off = dst[end-in:], off+end-in
	}
	return true
}

// fillSlab is fill inside of slab s.
func (p place) fillSlab(dst []byte, seed uint32, s int, off int64) bool {
	n, end := slabLen(p.n, s), off+int64(len(dst))
	value := slabOffset(p.off, p.n, s)
	if value+valueLen(n) > int64(len(p.gen.log)) {
		return false
	}
	start := value + tableLen(n)
	first, last := off/weir.BlockBytes, (end-1)/weir.BlockBytes
	if p.gen.populate(start+first*weir.BlockBytes, start+min((last+1)*weir.BlockBytes, n), value, start+n) != nil {
		return false
	}
	table, payload := p.gen.log[value:start], p.gen.log[start:start+n]
	for b := first; b <= last; b++ {
		from, to := b*weir.BlockBytes, min((b+1)*weir.BlockBytes, n)
		block := payload[from:to]
		number, sum := int64(s)*(slabBytes/weir.BlockBytes)+b, binary.LittleEndian.Uint32(table[4*b:])
		if off <= from && to <= end {
			whole := dst[from-off : to-off]
			copy(whole, block)
			if blockSum(seed, number, whole) != sum {
				return false
			}
		} else if !fillPart(dst, off-from, block, seed, number, sum) {
			return false
		}
	}
	return true
}

// fillPart copies the part of a block that dst, which begins skip bytes after the
// block, or before it when skip is negative, has room for.
func fillPart(dst []byte, skip int64, block []byte, seed uint32, number int64, sum uint32) bool {
	whole := scratch.Get().(*[weir.BlockBytes]byte)
	defer scratch.Put(whole)
	n := copy(whole[:], block)
	if blockSum(seed, number, whole[:n]) != sum {
		return false
	}
	if skip < 0 {
		copy(dst[-skip:], whole[:n])
	} else {
		copy(dst, whole[skip:n])
	}
	return true
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
	if !ti.V2 && !ti.Padded {
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
