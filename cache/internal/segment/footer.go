package segment

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
)

// A sealed segment ends with the list of its names and hashes, so that opening it
// reads that and no rows (little endian):
//
//	for each torrent: info hash (20) | names (4) | for each: index (4), bytes (4), offset of the row (4)
//	prints (8 each)
//	where the list begins (8) | torrents (4) | prints (4) | CRC32C of all that, masked (4) | magic (4)
//
// The top bit of the bytes says that the name is a link. The list is a copy, but
// for links: rows are what counts, and every block is checked when it is read.
const (
	nameBytes    = 4 + 4 + 4
	torrentBytes = 20 + 4
	printBytes   = 8
	footerBytes  = 8 + 4 + 4 + 4 + 4
	footerMagic  = 0x646e6577

	linkBit = 1 << 31
)

func (s *Segment) appendFooter(b []byte, names []Name, prints Prints) []byte {
	names = slices.Clone(names)
	slices.SortFunc(names, func(a, b Name) int {
		return cmp.Or(slices.Compare(a.ID.Torrent[:], b.ID.Torrent[:]), a.ID.Index-b.ID.Index)
	})
	le := binary.LittleEndian
	b = slices.Grow(b, len(names)*(nameBytes+printBytes)+1024)
	torrents := uint32(0)
	for len(names) > 0 {
		hash, end := names[0].ID.Torrent, 0
		for end < len(names) && names[end].ID.Torrent == hash {
			end++
		}
		b = le.AppendUint32(append(b, hash[:]...), uint32(end))
		for _, f := range names[:end] {
			n := uint32(f.N)
			if f.Link {
				n |= linkBit
			}
			b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, uint32(f.ID.Index)), n), uint32(f.Off))
		}
		names = names[end:]
		torrents++
	}
	for _, p := range prints {
		b = le.AppendUint64(b, uint64(p))
	}
	b = le.AppendUint64(b, uint64(s.next))
	b = le.AppendUint32(le.AppendUint32(b, torrents), uint32(len(prints)))
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli)^maskOf(s.Salt, s.next).block(noBlock))
	return le.AppendUint32(b, footerMagic)
}

// readFooter reads the list, and leaves next where the rows end.
func (s *Segment) readFooter() (names []Name, prints Prints, err error) {
	bad := func(what string) ([]Name, Prints, error) {
		return nil, nil, fmt.Errorf("list of pieces: %s: %w", what, weir.ErrCorrupt)
	}
	le := binary.LittleEndian
	size := int64(len(s.m))
	if size < headerBytes+footerBytes {
		return bad("none")
	}
	end := s.m[size-footerBytes:]
	start := le.Uint64(end)
	if le.Uint32(end[20:]) != footerMagic || start < headerBytes || start > uint64(size-footerBytes) {
		return bad("none")
	}
	if err := disk.Populate(s.m, int64(start), size); err != nil {
		return nil, nil, err
	}
	if crc32.Checksum(s.m[start:size-8], castagnoli)^maskOf(s.Salt, int64(start)).block(noBlock) != le.Uint32(end[16:]) {
		return bad("checksum")
	}
	b, printed := s.m[start:size-footerBytes], int64(le.Uint32(end[12:]))
	if int64(len(b)) < printed*printBytes {
		return bad("too short")
	}
	hashes := b[int64(len(b))-printed*printBytes:]
	b = b[:len(b)-len(hashes)]
	names = make([]Name, 0, len(b)/nameBytes)
	for range le.Uint32(end[8:]) {
		if len(b) < torrentBytes {
			return bad("too short")
		}
		id, count := weir.PieceID{Torrent: weir.InfoHash(b)}, int64(le.Uint32(b[20:]))
		b = b[torrentBytes:]
		if int64(len(b)) < nameBytes*count {
			return bad("too short")
		}
		for ; count > 0; count, b = count-1, b[nameBytes:] {
			n := le.Uint32(b[4:])
			id.Index = int(le.Uint32(b))
			f := Name{id, int64(le.Uint32(b[8:])), int64(n &^ linkBit), n&linkBit != 0}
			if id.Index >= MaxPieces || f.N == 0 || f.N > MaxPieceBytes || f.Off < headerBytes || f.Off+Span(f.N) > int64(start) {
				return bad("impossible piece")
			}
			names = append(names, f)
		}
	}
	if len(b) > 0 {
		return bad("too long")
	}
	prints = make(Prints, 0, printed)
	for ; len(hashes) > 0; hashes = hashes[printBytes:] {
		prints = append(prints, Print(le.Uint64(hashes)))
	}
	SortByRow(names)
	s.next, s.rows = int64(start), len(names)
	return names, prints, nil
}

// SortByRow brings names into the order of the rows; who wrote a row comes first.
func SortByRow(names []Name) {
	slices.SortFunc(names, func(a, b Name) int {
		if a.Off == b.Off && a.Link != b.Link {
			if b.Link {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Off, b.Off)
	})
}
