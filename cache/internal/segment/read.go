package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
)

const (
	// stretchBytes is how much is brought into memory at once: about what the
	// kernel reads ahead in any case.
	stretchBytes = 64 << 10

	// warmTime is how long a stretch counts as being in memory, in seconds. When
	// it has left sooner, page faults bring it back, which is as right and only
	// less considerate (see disk.Populate).
	warmTime = 8

	// A reader that goes through a segment in order comes to a standstill at each
	// stretch, while the disk reads, and the disk while it copies and checks. So at
	// each announceEvery-th stretch as many are announced that lie announceAhead
	// further on, and at the first of them all up to there.
	announceEvery = 16
	announceAhead = 16 * announceEvery
)

var started = time.Now()

// scratch holds blocks of which only a part is asked for.
var scratch = sync.Pool{New: func() any { return new([weir.BlockBytes]byte) }}

// Read fills dst from off of the piece of n bytes in the row at row, and reports
// whether the bytes are right; when not, what dst holds means nothing. A fault in
// the map (the disk failed to give a page) is damage too.
func (s *Segment) Read(dst []byte, row, n, off int64) (ok bool) {
	err := disk.Guard(func() error {
		ok = s.read(dst, row, n, off)
		return nil
	})
	return ok && err == nil
}

// read copies each block and checks the copy: what is handed out is then what was
// right, and copying is the fastest way through memory that is in no cache of the
// processor (a checksum over the map takes twice the time of copy and checksum).
func (s *Segment) read(dst []byte, row, n, off int64) bool {
	if len(dst) == 0 {
		return true
	}
	start := row + rowHead(n)
	if start+n > int64(len(s.m)) {
		return false
	}
	end := off + int64(len(dst))
	first, last := off/weir.BlockBytes, (end-1)/weir.BlockBytes
	sums := row + headBytes + 4*first
	if s.populate(sums, row+headBytes+4*(last+1), row, start+n) != nil ||
		s.populate(start+first*weir.BlockBytes, start+min((last+1)*weir.BlockBytes, n), row, start+n) != nil {
		return false
	}
	table, payload, m := s.m[row+headBytes:start], s.m[start:start+n], maskOf(s.Salt, row)
	for b := first; b <= last; b++ {
		from, to := b*weir.BlockBytes, min((b+1)*weir.BlockBytes, n)
		block, sum := payload[from:to], binary.LittleEndian.Uint32(table[4*b:])^m.block(b)
		if off <= from && to <= end {
			whole := dst[from-off : to-off]
			copy(whole, block)
			if crc32.Checksum(whole, castagnoli) != sum {
				return false
			}
		} else if !readPart(dst, off-from, block, sum) {
			return false
		}
	}
	return true
}

// Equals reports whether the row at off holds the bytes of r, with the right sums.
func (s *Segment) Equals(off int64, r *Row) (same bool) {
	err := disk.Guard(func() error {
		start, end := off+rowHead(r.n), off+Span(r.n)
		if end > int64(len(s.m)) {
			return nil
		}
		if err := s.populate(off, end, off, end); err != nil {
			return err
		}
		sums := slices.Clone(s.m[off+headBytes : start])
		flipSums(sums, maskOf(s.Salt, off))
		same = bytes.Equal(sums, r.head[headBytes:])
		for _, b := range r.blocks {
			same = same && bytes.Equal(b, s.m[start:][:len(b)])
			start += int64(len(b))
		}
		return nil
	})
	return same && err == nil
}

// readPart copies the part of a block that dst, which begins skip bytes after the
// block, or before it when skip is negative, has room for.
func readPart(dst []byte, skip int64, block []byte, sum uint32) bool {
	whole := scratch.Get().(*[weir.BlockBytes]byte)
	defer scratch.Put(whole)
	n := copy(whole[:], block)
	if crc32.Checksum(whole[:n], castagnoli) != sum {
		return false
	}
	if skip < 0 {
		copy(dst[-skip:], whole[:n])
	} else {
		copy(dst, whole[skip:n])
	}
	return true
}

// populate makes sure that off … end of the map, inside the row lo … hi, were in
// memory just now.
func (s *Segment) populate(off, end, lo, hi int64) error {
	now := uint32(time.Since(started)/time.Second) + warmTime
	for i := off / stretchBytes; i <= (end-1)/stretchBytes; i++ {
		if now-s.warm[i].Load() < warmTime {
			continue
		}
		if err := disk.Populate(s.m, max(i*stretchBytes, lo), min((i+1)*stretchBytes, hi)); err != nil {
			return err
		}
		s.warm[i].Store(now)
		if i%announceEvery == 0 && s.settled.Load() {
			s.announce(i, now)
		}
	}
	return nil
}

// announce tells the kernel what comes some stretches behind stretch i, if those
// before it were read just now.
func (s *Segment) announce(i int64, now uint32) {
	recent := func(i int64) bool { return i >= 0 && now-s.warm[i].Load() < warmTime }
	if !recent(i - announceEvery/2) {
		return
	}
	from, to := i+1, i+1+announceAhead
	if recent(i-announceEvery) && recent(i-announceEvery-announceEvery/2) {
		from = to - announceEvery
	}
	n := int64(len(s.m))
	disk.Announce(s.m, min(from*stretchBytes, n), min(to*stretchBytes, n))
}
