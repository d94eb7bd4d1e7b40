package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
)

// A row holds one piece, and says so by itself (little endian):
//
//	head   magic (4) | bytes in the piece (4) | index (4) | bytes in the hash (1), kind (1), 0 (2) |
//	       info hash (20) | hash, zeros behind a short one (32) | CRC32C of all that (4)
//	sums   the CRC32C of each 16 KiB block (4 each)
//	the piece
//
// Each checksum is stored XOR a mask that follows from the salt of the segment,
// the offset of the row and the number of the block: right bytes in the wrong
// place are as wrong as any other, and what a sum is of need not be known to make
// it. A row of the kind free stands in for rows that are gone: its length is all
// that they took, and behind its head is a hole.
const (
	rowMagic  = 0x776f7277
	headBytes = 4 + 4 + 4 + 4 + 20 + maxHash + 4
	maxHash   = 32

	kindPiece = 1
	kindFree  = 2
)

const (
	minHash = 20
	noBlock = 1 << 40 // the number of the head, among the blocks
)

// GoodHash reports whether b has the length of a SHA-1 or of a SHA-256.
func GoodHash(b []byte) bool { return len(b) == minHash || len(b) == maxHash }

func blockCount(n int64) int64 { return (n + weir.BlockBytes - 1) / weir.BlockBytes }

// rowHead returns the bytes of a row before its piece of n bytes.
func rowHead(n int64) int64 { return headBytes + 4*blockCount(n) }

// Span returns the bytes of the row of a piece of n bytes, and Listed those that it
// takes at most with its entries in the list.
func Span(n int64) int64   { return rowHead(n) + n }
func Listed(n int64) int64 { return Span(n) + rowListed }

// mask is what the checksums of a row are stored XOR.
type mask uint64

func maskOf(salt uint64, off int64) mask { return mask((salt ^ uint64(off)) * 0x9e3779b97f4a7c15) }

func (m mask) block(b int64) uint32 {
	x := uint64(m) + uint64(b)*0xd1342543de82ef95
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return uint32(x >> 32)
}

// Row is a piece on its way into a segment.
type Row struct {
	id     weir.PieceID
	n      int64
	head   []byte   // of the row; the sums are bare, and what follows from its place is not set
	blocks [][]byte // the piece

	Off int64 // where Append put it
}

// ID returns the name of the piece.
func (r *Row) ID() weir.PieceID { return r.id }

// Bytes returns the length of the piece.
func (r *Row) Bytes() int64 { return r.n }

// Hash returns the hash of the piece, none if it is not known.
func (r *Row) Hash() []byte { return r.head[16+20:][:r.head[12]] }

// Set makes r the row of a piece, given as consecutive slices, which stay the
// caller's. hash may be empty.
func (r *Row) Set(id weir.PieceID, hash []byte, blocks [][]byte, n int64) {
	r.id, r.n, r.blocks = id, n, blocks
	if need := int(rowHead(n)); cap(r.head) < need {
		r.head = make([]byte, need)
	} else {
		r.head = r.head[:need]
	}
	putHead(r.head, kindPiece, n, id, hash)
	sums, sum, left := r.head[headBytes:headBytes], uint32(0), int64(weir.BlockBytes)
	for _, b := range blocks {
		for len(b) > 0 {
			k := min(int64(len(b)), left)
			sum = crc32.Update(sum, castagnoli, b[:k])
			b = b[k:]
			if left -= k; left == 0 {
				sums, sum, left = binary.LittleEndian.AppendUint32(sums, sum), 0, weir.BlockBytes
			}
		}
	}
	if left < weir.BlockBytes {
		binary.LittleEndian.AppendUint32(sums, sum)
	}
}

// Forget lets go of the piece.
func (r *Row) Forget() { r.blocks = nil }

// putHead writes a head without its checksum.
func putHead(b []byte, kind byte, n int64, id weir.PieceID, hash []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, rowMagic)
	le.PutUint32(b[4:], uint32(n))
	le.PutUint32(b[8:], uint32(id.Index))
	b[12], b[13], b[14], b[15] = byte(len(hash)), kind, 0, 0
	copy(b[16:], id.Torrent[:])
	clear(b[36+copy(b[36:headBytes-4], hash) : headBytes-4])
}

// sealHead sets what follows from the place of a head.
func sealHead(b []byte, m mask) {
	sum := crc32.Checksum(b[:headBytes-4], castagnoli) ^ m.block(noBlock)
	binary.LittleEndian.PutUint32(b[headBytes-4:], sum)
}

// flipSums turns bare sums into those that are stored at a place, and back.
func flipSums(sums []byte, m mask) {
	le := binary.LittleEndian
	for b := int64(0); len(sums) > 0; b, sums = b+1, sums[4:] {
		le.PutUint32(sums, le.Uint32(sums)^m.block(b))
	}
}

// parsed is the head of a row.
type parsed struct {
	id   weir.PieceID
	n    int64
	kind byte
	hash []byte // in the map
}

// headAt reads the head at off, whose row lies before end.
func (s *Segment) headAt(off, end int64) (p parsed, ok bool) {
	if off < headerBytes || off+headBytes > min(end, int64(len(s.m))) {
		return p, false
	}
	le := binary.LittleEndian
	b := s.m[off:][:headBytes]
	if le.Uint32(b) != rowMagic ||
		crc32.Checksum(b[:headBytes-4], castagnoli)^maskOf(s.Salt, off).block(noBlock) != le.Uint32(b[headBytes-4:]) {
		return p, false
	}
	index := le.Uint32(b[8:])
	p = parsed{weir.PieceID{Torrent: weir.InfoHash(b[16:]), Index: int(index)}, int64(le.Uint32(b[4:])), b[13], b[36:][:min(b[12], maxHash)]}
	span := p.n
	if p.kind == kindPiece {
		span = Span(p.n)
		ok = index < MaxPieces && p.n > 0 && p.n <= MaxPieceBytes
	} else {
		ok = p.kind == kindFree && span >= headBytes
	}
	return p, ok && off+span <= end
}

// walk steps over the rows by their heads, up to the first bytes that are none,
// and leaves next there.
func (s *Segment) walk() (names []Name, prints Prints) {
	s.next, s.rows = headerBytes, 0
	for {
		p, ok := s.headAt(s.next, int64(len(s.m)))
		if !ok {
			return names, prints.Sorted()
		}
		if p.kind == kindFree {
			s.next += p.n
			continue
		}
		names = append(names, Name{ID: p.id, Off: s.next, N: p.n})
		if GoodHash(p.hash) {
			prints = append(prints, NewPrint(p.hash, s.next))
		}
		s.next += Span(p.n)
		s.rows++
	}
}

// Has reports whether the row at off holds a piece of n bytes with this hash, and
// the name that it was written under.
func (s *Segment) Has(off int64, hash []byte, n int64) (written weir.PieceID, ok bool) {
	err := disk.Guard(func() error {
		var p parsed
		p, ok = s.headAt(off, int64(len(s.m)))
		written, ok = p.id, ok && p.kind == kindPiece && p.n == n && string(p.hash) == string(hash)
		return nil
	})
	return written, ok && err == nil
}

// Load makes r the row at off, under another name maybe, so that it can be
// appended to another segment while the caller holds a reference to this one.
// Nothing is copied or checked but the head: the sums go along, and are as wrong
// there as they are here.
func (s *Segment) Load(r *Row, id weir.PieceID, off int64) error {
	return disk.Guard(func() error {
		p, ok := s.headAt(off, int64(len(s.m)))
		if !ok || p.kind != kindPiece {
			return fmt.Errorf("head of %s at %d of %s: %w", id, off, s.path, weir.ErrCorrupt)
		}
		at := rowHead(p.n)
		r.id, r.n, r.blocks = id, p.n, [][]byte{s.m[off+at:][:p.n]}
		r.head = append(r.head[:0], s.m[off:][:at]...)
		putHead(r.head, kindPiece, p.n, id, p.hash)
		flipSums(r.head[headBytes:], maskOf(s.Salt, off))
		return nil
	})
}
