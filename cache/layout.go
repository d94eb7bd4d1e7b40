package cache

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/weirfs/weir"
)

// A piece is stored as slabs, so that memory for a write is bounded whatever the
// piece length; each slab is one row of badger, whose value lies in the value
// log. The key carries the length of the whole piece, so that keys alone say
// what is held:
//
//	key    info hash (20) | piece index (4, big endian) | slab number (4) | bytes in the piece (4)
//	value  CRC32C of each 16 KiB block (4 each, little endian) | payload | zeros up to minValueBytes
const (
	keyBytes  = 20 + 4 + 4 + 4
	slabBytes = 512 << 10

	// maxPieceBytes keeps the rows of a piece inside one value log file, which
	// badger limits to 2 GiB.
	maxPieceBytes = 1 << 30

	// minValueBytes is the shortest value that badger puts into the value log
	// and not beside the key.
	minValueBytes = 64
)

// slabCount returns how many slabs a piece of n bytes has.
func slabCount(n int64) int { return int((n + slabBytes - 1) / slabBytes) }

// slabLen returns the payload of slab number s of a piece of n bytes.
func slabLen(n int64, s int) int64 { return min(slabBytes, n-int64(s)*slabBytes) }

// tableLen returns the bytes of checksums in front of a payload of n bytes.
func tableLen(n int64) int64 { return 4 * ((n + weir.BlockBytes - 1) / weir.BlockBytes) }

// valueLen returns the bytes of the value that holds a payload of n bytes.
func valueLen(n int64) int64 { return max(minValueBytes, tableLen(n)+n) }

// appendKey appends the key of one slab.
func appendKey(b []byte, id weir.PieceID, slab int, n int64) []byte {
	b = append(b, id.Torrent[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(id.Index))
	b = binary.BigEndian.AppendUint32(b, uint32(slab))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// parseKey is the inverse of appendKey. It returns false for whatever appendKey
// can't have made.
func parseKey(b []byte) (id weir.PieceID, slab int, n int64, ok bool) {
	if len(b) != keyBytes {
		return id, 0, 0, false
	}
	copy(id.Torrent[:], b)
	index := binary.BigEndian.Uint32(b[20:])
	id.Index = int(index)
	slab = int(binary.BigEndian.Uint32(b[24:]))
	n = int64(binary.BigEndian.Uint32(b[28:]))
	ok = index < maxPieces && n > 0 && n <= maxPieceBytes && slab < slabCount(n)
	return id, slab, n, ok
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockSum is the checksum of one block. It starts from the name of the piece
// and the number of the block, so that the right bytes at the wrong place are as
// wrong as any other.
func blockSum(seed uint32, block int64, b []byte) uint32 {
	return crc32.Update(seed+uint32(block), castagnoli, b)
}

// pieceSeed is the start value of all checksums of a piece: a mixture of its
// name and length. It need not be strong, only different for pieces that might
// be mistaken for each other.
func pieceSeed(id weir.PieceID, n int64) uint32 {
	const odd = 0x9e3779b97f4a7c15
	le := binary.LittleEndian
	h := le.Uint64(id.Torrent[:])*odd ^ le.Uint64(id.Torrent[8:])
	h = h*odd ^ uint64(le.Uint32(id.Torrent[16:]))<<32 ^ uint64(uint32(id.Index))
	h = h*odd ^ uint64(n)
	return uint32(h * odd >> 32)
}

// The layout of badger's value log, as far as weir reads it by itself (badger
// v4: value.go, structs.go): a file header, then entries of
//
//	meta | user meta | key length, value length, expiry (uvarints) | key, 8 bytes of version | value | CRC32C (4)
//
// TestWalkAgreesWithBadger fails when badger changes that.
const (
	logHeaderBytes = 20
	versionBytes   = 8
	logKeyBytes    = keyBytes + versionBytes
)

// entryHead returns the bytes in front of the value of an entry.
func entryHead(value int64) int64 { return 2 + 1 + uvarintLen(uint64(value)) + 1 + logKeyBytes }

// entryLen returns the bytes of an entry whose value has so many.
func entryLen(value int64) int64 { return entryHead(value) + value + crc32.Size }

func uvarintLen(v uint64) int64 {
	n := int64(1)
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// pieceSpan returns the bytes in the log of all entries of a piece of n bytes.
func pieceSpan(n int64) int64 {
	full := int64(slabCount(n) - 1)
	return full*entryLen(valueLen(slabBytes)) + entryLen(valueLen(slabLen(n, int(full))))
}

// slabOffset returns where the value of slab s begins when the first entry of
// its piece begins at off.
func slabOffset(off, n int64, s int) int64 {
	return off + int64(s)*entryLen(valueLen(slabBytes)) + entryHead(valueLen(slabLen(n, s)))
}

// found is a piece in a value log: all of its slabs, end to end.
type found struct {
	id   weir.PieceID
	off  int64 // of the first entry
	n    int64 // bytes in the piece
	link bool  // the entries were written under another name
}

// walk steps over the entries of a value log from off on, without touching their
// values, and calls piece for each piece of which every slab is there. It stops
// at the first bytes that are no entry of ours and returns where the last whole
// entry ends. It trusts nothing: log may be any bytes.
func walk(log []byte, off int64, piece func(found)) int64 {
	var cur found
	next := 0 // the slab that would continue cur
	for {
		id, slab, n, ok := entryAt(log, off)
		if !ok {
			return off
		}
		if slab == 0 {
			cur, next = found{id: id, off: off, n: n}, 0
		}
		if slab == next && cur.id == id && cur.n == n {
			next++
			if next == slabCount(n) {
				piece(cur)
				cur, next = found{}, 0
			}
		} else {
			cur, next = found{}, 0
		}
		off += entryLen(valueLen(slabLen(n, slab)))
	}
}

// entryAt reads the head of the entry at off.
func entryAt(log []byte, off int64) (id weir.PieceID, slab int, n int64, ok bool) {
	const shortest = 2 + 1 + 1 + 1 + logKeyBytes
	if off < 0 || off+shortest > int64(len(log)) {
		return id, 0, 0, false
	}
	b := log[off+2:]
	klen, k := binary.Uvarint(b[:1])
	if k != 1 || klen != logKeyBytes {
		return id, 0, 0, false
	}
	b = b[k:]
	vlen, k := binary.Uvarint(b[:min(5, len(b))])
	if k <= 0 || len(b) < k+1+logKeyBytes || b[k] != 0 {
		return id, 0, 0, false
	}
	id, slab, n, ok = parseKey(b[k+1:][:keyBytes])
	if !ok {
		return id, 0, 0, false
	}
	value := valueLen(slabLen(n, slab))
	ok = vlen == uint64(value) && int64(k) == uvarintLen(vlen) && off+entryLen(value) <= int64(len(log))
	return id, slab, n, ok
}
