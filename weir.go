// Package weir holds the vocabulary that every other package of weir speaks:
// the names of torrents, pieces, files and byte ranges, the priorities of
// wanting them, and the sentinel errors. It imports only the standard library,
// does no I/O and keeps no state, so that any package may import it; the
// packages below it (fs, reader, cache, engine) never import each other.
package weir

import (
	"cmp"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// BlockBytes is the unit of transfer between peers, 16 KiB (BEP 3).
const BlockBytes = 16 << 10

// InfoHash names a torrent: the SHA-1 of its info dictionary (BEP 3), or the
// first 20 bytes of the SHA-256 for a v2-only torrent (BEP 52).
type InfoHash [20]byte

// String returns the 40 lower-case hexadecimal digits.
func (h InfoHash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h was never set.
func (h InfoHash) IsZero() bool { return h == InfoHash{} }

// ParseInfoHash reads 40 hexadecimal digits or 32 base32 characters (BEP 9).
// The error wraps ErrInvalid.
func ParseInfoHash(s string) (InfoHash, error) {
	var h InfoHash
	switch len(s) {
	case 40:
		if _, err := hex.Decode(h[:], []byte(s)); err != nil {
			return InfoHash{}, Errorf(ErrInvalid, "info hash %q: not hexadecimal", s)
		}
	case 32:
		b, err := base32.StdEncoding.DecodeString(strings.ToUpper(s))
		if err != nil || len(b) != len(h) { // the decoder takes padding and skips line ends
			return InfoHash{}, Errorf(ErrInvalid, "info hash %q: not base32", s)
		}
		copy(h[:], b)
	default:
		return InfoHash{}, Errorf(ErrInvalid, "info hash %q: want 40 hexadecimal digits or 32 base32 characters", s)
	}
	return h, nil
}

// PieceID names one piece of one torrent. It is comparable.
type PieceID struct {
	Torrent InfoHash
	Index   int // 0 … TorrentInfo.NumPieces()-1
}

func (id PieceID) String() string { return fmt.Sprintf("%s/%d", id.Torrent, id.Index) }

// Range is a half-open range of bytes, in the coordinates of a torrent (its
// files end to end, padding included) unless something else is said.
type Range struct {
	Off int64
	End int64
}

// Len returns the number of bytes in r.
func (r Range) Len() int64 { return max(0, r.End-r.Off) }

// Empty reports whether r holds no byte.
func (r Range) Empty() bool { return r.End <= r.Off }

// Intersect returns the bytes in both ranges; the result may be empty.
func (r Range) Intersect(o Range) Range {
	return Range{Off: max(r.Off, o.Off), End: min(r.End, o.End)}
}

// Miss is a read of which the cache did not hold everything. What was found out goes
// with it to whoever waits for the rest: its range has been checked, and no piece
// has to be looked up again.
type Miss struct {
	Range  Range  // of the read, in torrent coordinates
	Pieces []int  // that were not held, in order
	Sparse bool   // the reader skips about: blocks are enough, if they can be verified
	Held   []byte // nil if all were missing; else as long as Range, with what was held in its place
}

// Priority orders what is wanted; a higher value goes first.
type Priority uint8

// The priorities, lowest first.
const (
	Unwanted   Priority = iota // nobody asked for it; never requested
	Background                 // pinned or kept: whenever nothing else is wanted
	Window                     // read-ahead of an open file
	Blocked                    // a read is waiting for it now
)

func (p Priority) String() string {
	switch p {
	case Unwanted:
		return "unwanted"
	case Background:
		return "background"
	case Window:
		return "window"
	case Blocked:
		return "blocked"
	}
	return fmt.Sprintf("Priority(%d)", uint8(p))
}

// FileInfo describes one file of a torrent as its metainfo names it. Names are
// validated (no empty name, no "." or "..", no NUL), and decoded where the metainfo
// says how, but otherwise raw, so that they may hold slashes and bytes that are no
// UTF-8: whoever shows them in a file system makes them safe. Two files may have one path, and
// the path of a file may be a folder of another.
type FileInfo struct {
	Path       []string // components beneath the torrent's folder, at least one
	Offset     int64    // of the first byte, in torrent coordinates
	Length     int64    // bytes, ≥ 0; a link has none
	Padding    bool     // BEP 47 padding, or a gap of a v2 torrent: present in the coordinates, never shown
	Hidden     bool     // a symbolic link without a target inside the torrent: never shown
	Executable bool     // BEP 47 attribute x
	// Link is the target of a symbolic link (BEP 47), empty for all that is none. It
	// is relative to the torrent's folder, whichever folder the link is in, and stays
	// inside: names like those of Path with a slash between them, no "..", and "." for
	// the folder itself. There may be nothing at the target.
	Link string
}

// Shown reports whether the file has a name in a file system.
func (f *FileInfo) Shown() bool { return !f.Padding && !f.Hidden }

// Range returns the bytes of the torrent that the file covers.
func (f *FileInfo) Range() Range { return Range{f.Offset, f.Offset + f.Length} }

// TorrentInfo is the validated shape of a torrent. It is immutable: share it
// freely between goroutines.
//
// With V2 the pieces follow BEP 52: each file that isn't empty begins with a
// piece, no piece has bytes of two files, and the last piece of a file ends with
// it. The gap behind such a file, up to the next piece, is an entry of Files with
// Padding, unless no bytes follow: the last piece ends with the torrent. No peer
// sends the bytes of a gap.
//
// With Padded the same goes for the padding of a v1 torrent, which is zeros (BEP
// 47): what ends a piece does not belong to it, and a piece may be nothing but
// padding. Its hash, and what peers may ask for, cover all of it.
type TorrentInfo struct {
	InfoHash    InfoHash
	Name        string     // from the metainfo, validated and decoded like a path component
	PieceLength int64      // bytes, > 0; pieces may be shorter: see PieceRange
	Length      int64      // bytes in total, padding included
	Files       []FileInfo // in torrent order, end to end, padding included
	V2          bool       // pieces as in BEP 52, not as in BEP 3
	Hybrid      bool       // not V2, and the same is a v2 torrent, too
	Padded      bool       // not V2, and some of Files are Padding
	Single      bool       // single-file form: Files has one entry, named Name
	Private     bool       // BEP 27
	Created     time.Time  // zero when the metainfo does not say
	Raw         *RawNames  // nil when no name had to be decoded
}

// RawNames are the names of a torrent that was made in another character set than
// UTF-8, as they stand in the metainfo.
type RawNames struct {
	Name  string
	Paths map[int][]string // by index into Files, of those that are not the same decoded
}

// RawName returns the torrent's name as it stands in the metainfo.
func (t *TorrentInfo) RawName() string {
	if t.Raw != nil {
		return t.Raw.Name
	}
	return t.Name
}

// RawPath returns the path of a file as it stands in the metainfo. It has as many
// components as Path.
func (t *TorrentInfo) RawPath(file int) []string {
	if t.Raw != nil {
		if path, ok := t.Raw.Paths[file]; ok {
			return path
		}
	}
	return t.Files[file].Path
}

// NumPieces returns how many pieces the torrent has.
func (t *TorrentInfo) NumPieces() int {
	return int((t.Length + t.PieceLength - 1) / t.PieceLength)
}

// PieceRange returns the bytes of piece index, in torrent coordinates. It begins
// at index times PieceLength. It ends a PieceLength further, with the torrent, or in
// a v2 torrent with the piece's file, whichever comes first, and with Padded before
// the padding at that end. It is empty for a piece that is all padding and for no
// other.
func (t *TorrentInfo) PieceRange(index int) Range {
	r := t.FullRange(index)
	switch {
	case index < 0 || r.Empty():
	case t.V2:
		r.End = min(r.End, t.Files[t.fileAt(r.Off)].Range().End)
	case t.Padded:
		r.End = t.contentEnd(r)
	}
	return r
}

// FullRange returns what the numbers of a v1 torrent make of piece index: the bytes
// that its hash covers, with all padding.
func (t *TorrentInfo) FullRange(index int) Range {
	off := int64(index) * t.PieceLength
	return Range{off, min(off+t.PieceLength, t.Length)}
}

// BlockRange returns the bytes of a block of piece index that peers are to be asked
// for: all of it but the padding at either end. It is empty when all is padding.
func (t *TorrentInfo) BlockRange(index, block int) Range {
	r := t.PieceRange(index)
	r = r.Intersect(Range{r.Off + int64(block)*BlockBytes, r.Off + int64(block+1)*BlockBytes})
	if t.Padded && !r.Empty() {
		r.End = t.contentEnd(r)
		for i := t.fileAt(r.Off); r.Off < r.End && (t.Files[i].Padding || t.Files[i].Length == 0); i++ {
			r.Off = min(r.End, t.Files[i].Range().End)
		}
	}
	return r
}

// maxSingleBlocks bounds the blocks of a torrent of which any is kept without its piece:
// 256 GiB. An index of them takes memory by the highest number.
const maxSingleBlocks = 1 << 24

// blocksPerPiece returns how many blocks a piece has at most.
func (t *TorrentInfo) blocksPerPiece() int { return int((t.PieceLength + BlockBytes - 1) / BlockBytes) }

// BlockID names a block of piece index that is kept without the rest of its piece: such
// blocks are numbered from NumPieces on. False for torrents too large for that.
func (t *TorrentInfo) BlockID(index, block int) (PieceID, bool) {
	n, per := t.NumPieces(), t.blocksPerPiece()
	return PieceID{t.InfoHash, n + index*per + block}, int64(n)*int64(per) <= maxSingleBlocks
}

// BlockOf returns the piece and the block that a number names which is not that of a piece.
func (t *TorrentInfo) BlockOf(number int) (index, block int, ok bool) {
	n, per := t.NumPieces(), t.blocksPerPiece()
	number -= n
	return number / per, number % per, number >= 0 && number < n*per
}

// contentEnd returns where r, which is not empty, ends without the padding at its
// end.
func (t *TorrentInfo) contentEnd(r Range) int64 {
	for i := t.fileAt(r.End - 1); r.End > r.Off; i-- {
		f := &t.Files[i]
		if f.Length == 0 {
			continue
		}
		if !f.Padding {
			break
		}
		r.End = max(r.Off, f.Offset)
	}
	return r.End
}

// BlankPieces calls yield with the pieces that are all padding until it returns
// false.
func (t *TorrentInfo) BlankPieces(yield func(index int) bool) {
	if !t.Padded {
		return
	}
	var run Range // of padding, end to end
	for i := range t.Files {
		f := &t.Files[i]
		switch {
		case f.Length == 0:
			continue
		case f.Padding && run.Empty():
			run = f.Range()
		case f.Padding:
			run.End = f.Range().End
		}
		if f.Padding && run.End < t.Length {
			continue
		}
		for p := int((run.Off + t.PieceLength - 1) / t.PieceLength); !run.Empty(); p++ {
			if r := t.FullRange(p); r.Empty() || r.End > run.End {
				break
			}
			if !yield(p) {
				return
			}
		}
		run = Range{}
	}
}

// ContentBytes returns the bytes of all files without padding.
func (t *TorrentInfo) ContentBytes() int64 {
	sum := t.Length
	if t.V2 || t.Padded {
		for i := range t.Files {
			if f := &t.Files[i]; f.Padding {
				sum -= f.Length
			}
		}
	}
	return sum
}

// fileAt returns the index of the file that byte off, which is in the torrent,
// belongs to.
func (t *TorrentInfo) fileAt(off int64) int {
	// The first file that ends after off. Not slices.BinarySearchFunc, which
	// copies a FileInfo at each step: this is called for every block.
	low, high := 0, len(t.Files)
	for low < high {
		mid := int(uint(low+high) / 2)
		if f := &t.Files[mid]; f.Offset+f.Length > off {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// Pieces returns the first piece that r touches and the one after the last.
// An empty range, one outside of the torrent, or one of padding that belongs to no
// piece, touches none. With Padded there may be pieces between that are all padding.
func (t *TorrentInfo) Pieces(r Range) (first, end int) {
	r = r.Intersect(Range{0, t.Length})
	if r.Empty() {
		return 0, 0
	}
	first, end = int(r.Off/t.PieceLength), int((r.End-1)/t.PieceLength)+1
	if t.V2 || t.Padded {
		// Of all these pieces r has the first byte, but perhaps not of the first piece,
		// of which it may have the gap behind it alone.
		for first < end && t.PieceRange(first).End <= r.Off {
			first++
		}
		for first < end && t.PieceRange(end-1).Empty() {
			end--
		}
		if first == end {
			return 0, 0
		}
	}
	return first, end
}

// FilesIn returns the indices first … end-1 of the files whose bytes r
// touches. Files of no length inside the span may be included.
func (t *TorrentInfo) FilesIn(r Range) (first, end int) {
	r = r.Intersect(Range{0, t.Length})
	if r.Empty() {
		return 0, 0
	}
	// The first file that ends after r begins, the first that begins at or after its end.
	first = t.fileAt(r.Off)
	end, _ = slices.BinarySearchFunc(t.Files, r.End, func(f FileInfo, off int64) int {
		return cmp.Or(cmp.Compare(f.Offset, off), 1)
	})
	return first, end
}
