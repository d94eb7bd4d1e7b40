// Package metainfo decides what stands in a .torrent that weir makes: the order of
// files, the length of pieces, padding, and each byte of the bencoding. What it
// decides is libtorrent's way, so that both make the same torrent of the same files.
// It is handed files' names and lengths and their hashes; the disk, the clock and
// hashing are the business of engine/publish. It must not import any other package of
// weir but the root, engine/internal/bencode and engine/source/merkle.
package metainfo

import (
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source/merkle"
)

// Version says which halves a torrent has.
type Version int

// The versions. A hybrid torrent is in the swarms of both others.
const (
	Hybrid Version = iota
	V1             // BEP 3
	V2             // BEP 52
)

func (v Version) hasV1() bool { return v != V2 }
func (v Version) hasV2() bool { return v != V1 }

// File is a file or a symbolic link beneath the torrent's folder.
type File struct {
	Path       []string // names beneath the torrent's folder
	Length     int64
	Executable bool
	// Link has the names of a symbolic link's target, from the torrent's folder on; "."
	// alone is that folder. It is nil for all that is no link. A link has no Length.
	Link []string
}

// Shape is what is asked for.
type Shape struct {
	Version     Version
	PieceLength int64 // 0: libtorrent's choice
	Name        string
	// Aligned has each file begin with a piece in version 1 alone, too, with padding before it
	// (BEP 47): in the others it always does. What does not change between two torrents then
	// has the same pieces in both.
	Aligned bool
	// Single makes a torrent without a folder: of one file, whose Path counts for nothing.
	Single bool
}

// The bounds. What is beyond them no client would open.
const (
	// MinPieceLength and MaxPieceLength bound the length of pieces, a power of two.
	MinPieceLength = merkle.LeafBytes
	MaxPieceLength = 512 << 20
	// maxPieces is what libtorrent opens at most.
	maxPieces = 1 << 21
	// maxLength keeps sums far from overflow, as engine/source does.
	maxLength    = 1 << 60
	maxNameBytes = 4096
	maxPathNames = 256
)

// steps are the total sizes up to which a piece length is libtorrent's choice; each
// is four times the one before it, and the piece length doubles.
var steps = [...]int64{2684355, 10737418, 42949673, 171798692, 687194767, 2748779069, 10995116278, 43980465111, 175921860444, 703687441777}

// Layout says what lies where in a torrent.
type Layout struct {
	Shape         // with a PieceLength
	Files  []File // in torrent order
	Bytes  int64  // of all files, without padding
	pieces int
	first  []int // with aligned, the first piece of each file
	// aligned: each file begins with a piece. Of version 1 alone pieces go on from one
	// file into the next.
	aligned bool
	padded  bool // in the v1 half, padding follows each file that ends inside a piece
}

// New lays files out. It sorts files and keeps them. Errors wrap weir.ErrInvalid and
// say what to do.
func New(files []File, shape Shape) (*Layout, error) {
	l := &Layout{Shape: shape, Files: files, aligned: shape.Version.hasV2() || shape.Aligned, padded: shape.Version.hasV1() && (shape.Version == Hybrid || shape.Aligned) && len(files) > 1}
	if err := checkName(shape.Name); err != nil {
		return nil, weir.Errorf(weir.ErrInvalid, "the torrent's name: %w", err)
	}
	if shape.Single {
		if len(files) != 1 || files[0].Link != nil {
			return nil, weir.Errorf(weir.ErrInvalid, "want one file, got %d entries", len(files))
		}
		files[0].Path = []string{shape.Name}
	}
	if l.aligned && l.count(maxLength) > maxPieces { // before so many are sorted
		return nil, l.tooMuch()
	}
	if err := l.checkFiles(); err != nil {
		return nil, err
	}
	if l.Bytes == 0 {
		return nil, weir.Errorf(weir.ErrInvalid, "there are no bytes in it: a torrent needs a file that is not empty")
	}
	if err := l.choosePieceLength(); err != nil {
		return nil, err
	}
	l.pieces = int(l.count(l.PieceLength))
	if l.aligned {
		l.first = make([]int, len(files))
		next := 0
		for i := range files {
			l.first[i] = next
			next += int(pieces(files[i].Length, l.PieceLength))
		}
	}
	return l, nil
}

// checkFiles sorts the files and judges them.
func (l *Layout) checkFiles() error {
	slices.SortFunc(l.Files, func(a, b File) int { return slices.Compare(a.Path, b.Path) })
	for i := range l.Files {
		f := &l.Files[i]
		if err := l.checkFile(f); err != nil {
			return err
		}
		if i > 0 {
			if last := l.Files[i-1].Path; len(f.Path) >= len(last) && slices.Equal(f.Path[:len(last)], last) {
				return weir.Errorf(weir.ErrInvalid, "%q is there twice", strings.Join(last, "/"))
			}
		}
		if f.Length < 0 || f.Length > maxLength-l.Bytes {
			return weir.Errorf(weir.ErrInvalid, "%q: with its %d bytes the torrent has more than a torrent can have (%d)", strings.Join(f.Path, "/"), f.Length, int64(maxLength))
		}
		l.Bytes += f.Length
	}
	return nil
}

func (l *Layout) checkFile(f *File) error {
	path := strings.Join(f.Path, "/")
	switch {
	case len(f.Path) == 0:
		return weir.Errorf(weir.ErrInvalid, "a file without a name")
	case len(f.Path) > maxPathNames:
		return weir.Errorf(weir.ErrInvalid, "%q lies more than %d folders deep", path, maxPathNames)
	case l.Version.hasV1() && !l.Single && looksLikePadding(f.Path):
		return weir.Errorf(weir.ErrInvalid, "%q: programs take a file of this name for padding: rename it, or make a torrent of version 2 alone (--v2)", path)
	case f.Link != nil && f.Length != 0:
		return weir.Errorf(weir.ErrInvalid, "%q is a link and has %d bytes", path, f.Length)
	}
	for _, name := range f.Path {
		if err := checkName(name); err != nil {
			return weir.Errorf(weir.ErrInvalid, "%q: %w", path, err)
		}
	}
	if f.Link == nil || len(f.Link) == 1 && f.Link[0] == "." {
		return nil
	}
	if len(f.Link) == 0 || len(f.Link) > maxPathNames {
		return weir.Errorf(weir.ErrInvalid, "%q is a link to %d names", path, len(f.Link))
	}
	for _, name := range f.Link {
		if err := checkName(name); err != nil {
			return weir.Errorf(weir.ErrInvalid, "%q is a link to %q: %w", path, strings.Join(f.Link, "/"), err)
		}
	}
	return nil
}

// looksLikePadding reports whether a path is one that programs gave to padding (BEP 47
// and before): some ask for no bytes of such files.
func looksLikePadding(path []string) bool {
	return path[0] == padFolder || path[0] == ".____padding_file" || slices.ContainsFunc(path, func(name string) bool {
		return strings.HasPrefix(name, "_____padding_file_")
	})
}

// checkName judges one component of a path, or a torrent's name.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return weir.Errorf(weir.ErrInvalid, "%q names no file", name)
	case len(name) > maxNameBytes:
		return weir.Errorf(weir.ErrInvalid, "a name of %d bytes is too long, %d are possible", len(name), maxNameBytes)
	case strings.ContainsAny(name, "/\x00"):
		return weir.Errorf(weir.ErrInvalid, "the name %q has a slash or a NUL in it", name)
	case !utf8.ValidString(name):
		return weir.Errorf(weir.ErrInvalid, "the name %q is not UTF-8, as names in torrents must be: rename it", name)
	}
	return nil
}

// choosePieceLength sets PieceLength, or judges the one that was asked for.
func (l *Layout) choosePieceLength() error {
	length, asked := l.PieceLength, l.PieceLength != 0
	if asked && (length < MinPieceLength || length > MaxPieceLength || length&(length-1) != 0) {
		return weir.Errorf(weir.ErrInvalid, "a piece length of %d bytes: want a power of two from 16KiB to 512MiB", length)
	}
	if !asked {
		length = MinPieceLength
		for _, most := range steps {
			if l.Bytes > most {
				length *= 2
			}
		}
	}
	n := l.count(length)
	for n > maxPieces && length < MaxPieceLength {
		length *= 2
		n = l.count(length)
		if asked && n <= maxPieces {
			return weir.Errorf(weir.ErrInvalid, "pieces of %d KiB are too many, programs open %d at most: take --piece-length %dKiB", l.PieceLength>>10, maxPieces, length>>10)
		}
	}
	if n > maxPieces {
		return l.tooMuch()
	}
	l.PieceLength = length
	return nil
}

func (l *Layout) tooMuch() error {
	return weir.Errorf(weir.ErrInvalid, "%d files are too much for one torrent: it has %d pieces of %d MiB at most, and each file has its own: make several", len(l.Files), maxPieces, MaxPieceLength>>20)
}

// count returns how many pieces of a length there would be.
func (l *Layout) count(pieceLength int64) int64 {
	if !l.aligned {
		return pieces(l.Bytes, pieceLength)
	}
	var n int64
	for i := range l.Files {
		n += pieces(l.Files[i].Length, pieceLength)
	}
	return n
}

// pieces returns how many pieces a file has.
func pieces(length, pieceLength int64) int64 {
	if length <= 0 {
		return 0
	}
	return (length-1)/pieceLength + 1
}

// NumPieces returns how many pieces the torrent has.
func (l *Layout) NumPieces() int { return l.pieces }

// Piece is a piece of the torrent.
type Piece struct {
	Index int
	Parts []Part // in order; more than one of version 1 alone
	// Padding is how many zeros the piece's SHA-1 covers beyond its bytes.
	Padding int64
	// Depth is the number of layers of hashes above the piece's leaves (BEP 52).
	Depth int
}

// Part is what a piece has of one file.
type Part struct {
	File   int
	Offset int64 // in the file
	Length int64
}

// Pieces returns all pieces, in order.
func (l *Layout) Pieces() iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		var p Piece
		var have int64
		for i := range l.Files {
			length := l.Files[i].Length
			for off := int64(0); off < length; {
				n := min(l.PieceLength-have, length-off)
				p.Parts = append(p.Parts, Part{i, off, n})
				have += n
				off += n
				if have < l.PieceLength && (!l.aligned || off < length) {
					continue // the piece goes on in the next file
				}
				p.Depth = l.depth(length)
				if l.padded {
					p.Padding = l.PieceLength - have
				}
				if !yield(p) {
					return
				}
				p, have = Piece{Index: p.Index + 1}, 0
			}
		}
		if have > 0 {
			yield(p)
		}
	}
}

// depth returns the depth of the tree over each piece of a file.
func (l *Layout) depth(length int64) int {
	return merkle.Depth(pieces(min(length, l.PieceLength), merkle.LeafBytes))
}

// padding returns how many bytes of padding follow a file in the v1 half.
func (l *Layout) padding(file int) int64 {
	over := l.Files[file].Length % l.PieceLength
	if !l.padded || over == 0 {
		return 0
	}
	return l.PieceLength - over
}
