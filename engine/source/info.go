package source

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"unicode/utf8"

	"github.com/weirfs/weir"
)

// The bounds on what an info dictionary may claim.
const (
	// maxPieceLength is 512 MiB. Pieces of 64 and 128 MiB exist; libtorrent, and so
	// most clients, refuses more than 512 MiB − 16 KiB, so nothing larger has a
	// swarm, and a piece must fit into memory to be verified.
	maxPieceLength = 512 << 20
	// maxLength keeps every sum of lengths and offsets far from overflow.
	maxLength = 1 << 60
	// maxFiles is one less than 2^24. No known torrent has a tenth of it, and each
	// file costs about 100 bytes of memory for as long as the torrent is mounted.
	maxFiles = 1<<24 - 1
	// minFileBytes is what a file takes in the list at least: that of
	// "d4:attr1:l4:pathl1:aee", a link.
	minFileBytes = 22
	hashSize     = sha1.Size
)

// The bound on the input already keeps the number of files within maxFiles; this
// doesn't compile when it no longer does.
const _ uint = maxFiles - MaxMetainfoBytes/minFileBytes

// ParseInfo reads an info dictionary that came from peers (BEP 9) or from our
// own records, and judges it like ParseTorrent. It returns the torrent's shape and
// the SHA-1 of each piece, 20 bytes each, which share no memory with infoBytes.
// The error wraps weir.ErrCorrupt when infoBytes is not what ih names, otherwise
// weir.ErrInvalid or weir.ErrHostile. Here nothing may follow the dictionary.
func ParseInfo(ih weir.InfoHash, infoBytes []byte) (*weir.TorrentInfo, []byte, error) {
	if len(infoBytes) > MaxMetainfoBytes {
		return nil, nil, fmt.Errorf("torrent %s: metadata of %d bytes (limit %d): %w", ih, len(infoBytes), MaxMetainfoBytes, weir.ErrInvalid)
	}
	if sum := weir.InfoHash(sha1.Sum(infoBytes)); sum != ih {
		return nil, nil, fmt.Errorf("torrent %s: metadata hashes to %s: %w", ih, sum, weir.ErrCorrupt)
	}
	info, hashes, err := parseInfo(ih, infoBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("torrent %s: %w", ih, err)
	}
	return info, hashes, nil
}

// infoDict holds the values of an info dictionary that we use, before they are
// judged. A nil slice is a key that was not there.
type infoDict struct {
	name, nameUTF8 []byte
	pieces         []byte
	pieceLength    int64
	length         []byte // raw values from here on
	files          []byte
	attr           []byte
	private        int64
	metaVersion    int64
}

func parseInfo(ih weir.InfoHash, b []byte) (*weir.TorrentInfo, []byte, error) {
	d, err := readInfoDict(b)
	if err != nil {
		return nil, nil, err
	}
	if err := d.check(); err != nil {
		return nil, nil, err
	}
	t := &weir.TorrentInfo{
		InfoHash:    ih,
		PieceLength: d.pieceLength,
		Private:     d.private != 0,
		Single:      d.files == nil,
	}
	name := d.name
	if len(d.nameUTF8) > 0 && utf8.Valid(d.nameUTF8) {
		name = d.nameUTF8
	}
	t.Name = string(name)
	if t.Name == "" && !t.Single {
		t.Name = ih.String() // the folder's name; the files have their own
	}
	if err := checkName(t.Name); err != nil {
		return nil, nil, fmt.Errorf("name: %w", err)
	}
	if t.Single {
		err = d.singleFile(t)
	} else {
		err = readFiles(t, d.files)
	}
	if err != nil {
		return nil, nil, err
	}
	if want, got := t.NumPieces(), len(d.pieces)/hashSize; want != got {
		return nil, nil, fmt.Errorf("%d piece hashes for %d bytes in pieces of %d bytes, want %d: %w",
			got, t.Length, t.PieceLength, want, weir.ErrInvalid)
	}
	return t, bytes.Clone(d.pieces), nil
}

// readInfoDict picks the known keys out of b. One that stands there twice is
// refused, because programs differ in which of them they take.
func readInfoDict(b []byte) (*infoDict, error) {
	d := &infoDict{}
	c := cursor{b: b}
	seen := make(map[string]bool)
	err := c.dict(func(key []byte) (err error) {
		switch string(key) {
		case "name":
			d.name, err = c.str()
		case "name.utf-8":
			d.nameUTF8, err = c.str()
		case "pieces":
			d.pieces, err = c.str()
		case "piece length":
			d.pieceLength, err = c.integer()
		case "length":
			d.length, err = c.raw()
		case "files":
			d.files, err = c.raw()
		case "attr":
			d.attr, err = c.str()
		case "private":
			d.private, err = c.integer()
		case "meta version":
			d.metaVersion, err = c.integer()
		default:
			return c.skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if seen[string(key)] {
			return fmt.Errorf("%s is given twice: %w", key, weir.ErrHostile)
		}
		seen[string(key)] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("info dictionary: %w", err)
	}
	if c.off != len(b) {
		return nil, fmt.Errorf("info dictionary: %d bytes too many: %w", len(b)-c.off, weir.ErrInvalid)
	}
	return d, nil
}

// check judges what needs no look at the files.
func (d *infoDict) check() error {
	switch {
	case d.metaVersion == 2 && d.pieces == nil:
		return fmt.Errorf("v2-only torrents are not supported yet: look for a v1 or hybrid torrent of it: %w", weir.ErrInvalid)
	case d.metaVersion < 0 || d.metaVersion > 2:
		return fmt.Errorf("meta version %d is not known: %w", d.metaVersion, weir.ErrInvalid)
	case d.pieces == nil:
		return fmt.Errorf("no piece hashes: %w", weir.ErrInvalid)
	case len(d.pieces)%hashSize != 0:
		return fmt.Errorf("piece hashes of %d bytes, not a multiple of %d: %w", len(d.pieces), hashSize, weir.ErrInvalid)
	case d.pieceLength <= 0:
		return fmt.Errorf("piece length %d: %w", d.pieceLength, weir.ErrInvalid)
	case d.pieceLength > maxPieceLength:
		return fmt.Errorf("piece length %d, more than %d: %w", d.pieceLength, int64(maxPieceLength), weir.ErrInvalid)
	case d.files != nil && d.length != nil:
		return fmt.Errorf("both a length and a list of files: %w", weir.ErrHostile)
	case d.files == nil && d.length == nil:
		return fmt.Errorf("neither a length nor a list of files: %w", weir.ErrInvalid)
	}
	return nil
}

func (d *infoDict) singleFile(t *weir.TorrentInfo) error {
	c := cursor{b: d.length}
	length, err := c.integer()
	if err == nil {
		err = checkLength(length)
	}
	if err != nil {
		return fmt.Errorf("length: %w", err)
	}
	t.Length = length
	// Padding and links make no sense for the only file there is.
	t.Files = []weir.FileInfo{{
		Path:       []string{t.Name},
		Length:     length,
		Executable: bytes.IndexByte(d.attr, 'x') >= 0,
	}}
	return nil
}

func checkLength(n int64) error {
	if n < 0 || n > maxLength {
		return fmt.Errorf("%d bytes: %w", n, weir.ErrHostile)
	}
	return nil
}
