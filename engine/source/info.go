package source

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/source/merkle"
)

// The bounds on what an info dictionary may claim.
const (
	// maxPieceLength is what libtorrent, and so most clients, takes at most: nothing
	// larger has a swarm. A piece must fit into memory to be verified.
	maxPieceLength = 1<<30 - 1
	// maxLength keeps every sum of lengths and offsets far from overflow.
	maxLength = 1 << 60
	// maxFiles is one less than 2^24. No known torrent has a tenth of it, and each
	// file costs about 100 bytes of memory for as long as the torrent is mounted.
	maxFiles = 1<<24 - 1
	// minFileBytes is what a file takes in the list at least: that of
	// "d4:attr1:l4:pathl1:aee", a link.
	minFileBytes = 22
	// minTreeFileBytes is the same for a file tree, "1:ad0:d4:attr1:lee". One that
	// needs a gap before the next takes more than three times as much.
	minTreeFileBytes = 18
	hashSize         = sha1.Size
)

// The bound on the input already keeps the number of files within maxFiles; this
// doesn't compile when it no longer does.
const (
	_ uint = maxFiles - MaxMetainfoBytes/minFileBytes
	_ uint = maxFiles - MaxMetainfoBytes/minTreeFileBytes
)

// WithInfo returns a copy of s, which has no metadata, with that of infoBytes, an
// info dictionary that came from peers or from our own records. infoBytes must have the
// hashes that s names: InfoHash, which chooses the half of a hybrid torrent (v1 for its
// SHA-1, v2 for its SHA-256), and InfoHashV2 if that is set. Nothing may follow the
// dictionary. The copy keeps infoBytes, and shares the rest of s. The error wraps
// weir.ErrCorrupt when a hash differs: another peer may have the right bytes. Otherwise
// it wraps weir.ErrInvalid or weir.ErrHostile, and no peer can have better ones.
func (s *Spec) WithInfo(infoBytes []byte) (*Spec, error) {
	if len(infoBytes) > MaxMetainfoBytes {
		return nil, weir.Errorf(weir.ErrInvalid, "torrent %s: the metadata has %d bytes, at most %d are supported", s.InfoHash, len(infoBytes), MaxMetainfoBytes)
	}
	v2 := sha256.Sum256(infoBytes)
	asV2, err := s.named(sha1.Sum(infoBytes), v2)
	if err != nil {
		return nil, err
	}
	d, err := readInfoDict(infoBytes)
	if err == nil {
		err = d.check()
	}
	switch {
	case err != nil:
	case asV2 && !d.hasV2():
		err = weir.Errorf(weir.ErrInvalid, "the metadata is of a v1 torrent, the info hash of a v2 one")
	case !asV2 && !d.hasV1():
		err = weir.Errorf(weir.ErrInvalid, "the metadata is of a v2 torrent, the info hash of a v1 one")
	case !d.hasV2() && s.InfoHashV2 != [sha256.Size]byte{}:
		err = weir.Errorf(weir.ErrInvalid, "the metadata is of a v1 torrent, but it was named by a v2 info hash, too")
	}
	out := *s
	if err == nil {
		err = out.fill(d, infoBytes, v2, asV2, nil, s.Encoding)
	}
	if err != nil {
		return nil, refused(s.InfoHash, err)
	}
	return &out, nil
}

// Truncate returns the 20 bytes that a v2 torrent goes by where there is no room
// for more: in handshakes, with trackers, and as weir's name for it.
func Truncate(v2 [sha256.Size]byte) weir.InfoHash { return weir.InfoHash(v2[:len(weir.InfoHash{})]) }

// infoDict holds the values of an info dictionary that we use, before they are checked.
// A nil slice means that the key was missing or had a value of another type.
type infoDict struct {
	name, nameUTF8 []byte
	encoding       []byte // some programs have it here
	pieces         []byte
	pieceLength    int64
	length         int64
	hasLength      bool
	files          []byte // raw, as tree
	fileCount      int    // elements of files
	noFiles        bool   // files is an empty list
	tree           []byte
	attr           []byte
	private        bool
	metaVersion    int64
}

// hasV1 and hasV2 say which halves there are. Piece hashes without a list of files don't
// make a v2 torrent a hybrid, and a file tree without the meta version is ignored.
func (d *infoDict) hasV1() bool {
	return d.pieces != nil && (!d.hasV2() || d.files != nil || d.hasLength && !d.noFiles)
}
func (d *infoDict) hasV2() bool { return d.metaVersion == 2 }

// fill checks d and fills in s, whose InfoHash is known; v2 is the SHA-256 of the
// dictionary. asV2 chooses the v2 half, with the layers that are known. charsets are
// labels of character sets that the names may be in.
func (s *Spec) fill(d *infoDict, infoBytes []byte, v2 [sha256.Size]byte, asV2 bool, layers *pieceLayers, charsets ...string) error {
	t := &weir.TorrentInfo{
		InfoHash:    s.InfoHash,
		PieceLength: d.pieceLength,
		Private:     d.private,
		V2:          asV2,
		Hybrid:      d.hasV2() && !asV2,
		Single:      !asV2 && d.files == nil,
	}
	var names fileNames
	t.Name = string(d.nameUTF8)
	if t.Name == "" || len(d.name) > 0 && !utf8.ValidString(t.Name) {
		t.Name = string(d.name)
		names.undecoded.addName(t.Name)
	}
	if t.Name == "" || t.Name == "." {
		t.Name = s.InfoHash.String()
	}
	if err := checkName(t.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	var hashes []byte
	var roots [][merkle.Size]byte
	var err error
	if asV2 {
		hashes, roots, err = d.fillV2(t, layers, &names)
	} else {
		hashes, err = d.fillV1(t, &names)
	}
	if err != nil {
		return err
	}
	if d.hasV1() && asV2 {
		// The other half must agree, whichever is taken.
		if _, err := d.fillV1(&weir.TorrentInfo{PieceLength: t.PieceLength, Name: t.Name, Single: d.files == nil}, &fileNames{}); err != nil {
			return err
		}
	}
	if d.hasV2() {
		s.InfoHashV2 = v2
	}
	if d.hasV1() && asV2 {
		s.InfoHashV1 = sha1.Sum(infoBytes)
	}
	label, dec := names.undecoded.decode(t, append([]string{string(d.encoding)}, charsets...)...)
	if dec != nil {
		s.Encoding = label
		if t.Single {
			t.Files[0].Path, t.Raw.Paths[0] = []string{t.Name}, []string{t.Raw.Name}
		}
	}
	names.links.resolve(t.Files, dec)
	s.Info, s.InfoBytes, s.PieceHashes, s.Roots = t, infoBytes, hashes, roots
	if s.Name == "" {
		s.Name = t.Name
	}
	return nil
}

// fillV1 fills t from the v1 half and returns the piece hashes. The v2 half of a hybrid
// torrent must agree.
func (d *infoDict) fillV1(t *weir.TorrentInfo, l *fileNames) ([]byte, error) {
	var err error
	if t.Single {
		err = d.singleFile(t)
	} else {
		err = l.readFiles(t, d.files, d.fileCount)
	}
	if err != nil {
		return nil, err
	}
	for i := range t.Files {
		if f := &t.Files[i]; f.Padding && f.Length > 0 {
			t.Padded = true
			break
		}
	}
	if want, got := t.NumPieces(), len(d.pieces)/hashSize; want != got {
		return nil, weir.Errorf(weir.ErrInvalid, "%d piece hashes for %d bytes in pieces of %d bytes, want %d",
			got, t.Length, t.PieceLength, want)
	}
	if d.hasV2() {
		h := hybridCheck{t: t, links: l.links.all}
		err := readTree(d.tree, h.add)
		if err == nil {
			err = h.end()
		}
		if err != nil {
			return nil, fmt.Errorf("hybrid torrent: %w", err)
		}
	}
	return bytes.Clone(d.pieces), nil
}

// fillV2 fills t from the file tree and returns each file's root and, if all are
// known, the hashes of the pieces.
func (d *infoDict) fillV2(t *weir.TorrentInfo, layers *pieceLayers, names *fileNames) ([]byte, [][merkle.Size]byte, error) {
	var size treeSize
	known := true
	err := readTree(d.tree, func(f *treeFile) error {
		if known && f.length > t.PieceLength {
			layer, err := layers.of(f, t.PieceLength)
			if known = layer != nil; err != nil {
				return err
			}
		}
		return size.add(f, t.PieceLength)
	})
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("file tree: %w", err)
	case size.entries == 0:
		return nil, nil, weir.Errorf(weir.ErrInvalid, "the file tree has no files")
	}
	t.Files = make([]weir.FileInfo, 0, size.entries)
	l := treeLayout{t: t, names: names, roots: make([][merkle.Size]byte, 0, size.entries)}
	var hashes []byte
	if known {
		hashes = make([]byte, 0, size.pieces*merkle.Size)
	}
	err = readTree(d.tree, func(f *treeFile) error {
		l.add(f)
		switch {
		case f.length == 0 || !known:
		case f.length <= t.PieceLength:
			hashes = append(hashes, f.root[:]...)
		default:
			layer, err := layers.of(f, t.PieceLength) // judged already
			hashes = append(hashes, layer...)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("file tree: %w", err)
	}
	f := &t.Files[0]
	t.Single = len(t.Files) == 1 && !f.Padding && len(f.Path) == 1 && f.Path[0] == t.Name
	return hashes, l.roots, nil
}

// readInfoDict reads an info dictionary that is all of b.
func readInfoDict(b []byte) (*infoDict, error) {
	c := bencode.NewMetainfo(b)
	d, err := readInfoDictAt(c)
	if err != nil {
		return nil, fmt.Errorf("info dictionary: %w", err)
	}
	if n := len(c.Rest()); n > 0 {
		return nil, weir.Errorf(weir.ErrInvalid, "info dictionary: %d bytes too many at its end", n)
	}
	return d, nil
}

// readInfoDictAt reads the known keys of the dictionary at the cursor. A repeated key is
// refused, because programs differ in which of its values they take.
func readInfoDictAt(c *bencode.Cursor) (*infoDict, error) {
	d := &infoDict{}
	seen := make(map[string]bool)
	err := c.Dict(func(key []byte) (err error) {
		switch string(key) {
		case "name":
			d.name, err = optStr(c)
		case "name.utf-8":
			d.nameUTF8, err = optStr(c)
		case "encoding":
			d.encoding, err = optStr(c)
		case "pieces":
			d.pieces, err = optStr(c)
		case "piece length":
			d.pieceLength, _, err = optInteger(c)
		case "length":
			d.length, d.hasLength, err = optInteger(c)
		case "files":
			isList := c.Kind() == bencode.List
			if d.files, d.fileCount, err = rawCounted(c); d.fileCount == 0 {
				d.files, d.noFiles = nil, isList
			}
		case "attr":
			d.attr, err = optStr(c)
		case "private":
			d.private, err = flag(c)
		case "meta version":
			d.metaVersion, _, err = optInteger(c)
		case "file tree":
			d.tree, err = optRaw(c, bencode.Dict)
		default:
			return c.Skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if seen[string(key)] {
			return weir.Errorf(weir.ErrHostile, "%s is given twice", key)
		}
		seen[string(key)] = true
		return nil
	})
	return d, err
}

// check checks everything but the files.
func (d *infoDict) check() error {
	switch {
	// First, as BEP 52 demands: anything else may be different in a newer version.
	case d.metaVersion > 2 && d.metaVersion <= math.MaxInt32: // larger ones are no versions
		return weir.Errorf(weir.ErrInvalid, "meta version %d is newer than this weir knows", d.metaVersion)
	case d.hasV2() && d.tree == nil:
		return weir.Errorf(weir.ErrInvalid, "meta version 2 without a file tree")
	case !d.hasV1() && !d.hasV2():
		return weir.Errorf(weir.ErrInvalid, "has no piece hashes")
	case len(d.pieces)%hashSize != 0:
		return weir.Errorf(weir.ErrInvalid, "piece hashes of %d bytes, not a multiple of %d", len(d.pieces), hashSize)
	case d.pieceLength <= 0:
		return weir.Errorf(weir.ErrInvalid, "piece length %d, want 1 to %d", d.pieceLength, int64(maxPieceLength))
	case d.pieceLength > maxPieceLength:
		return weir.Errorf(weir.ErrInvalid, "piece length %d, at most %d are supported", d.pieceLength, int64(maxPieceLength))
	case d.hasV2() && (d.pieceLength < merkle.LeafBytes || d.pieceLength&(d.pieceLength-1) != 0):
		return weir.Errorf(weir.ErrInvalid, "piece length %d, want a power of two of at least %d in a v2 torrent", d.pieceLength, merkle.LeafBytes)
	case !d.hasV1():
		return nil // a v2-only torrent's files are in the tree
	case d.files == nil && !d.hasLength:
		return weir.Errorf(weir.ErrInvalid, "has neither a length nor a list of files")
	}
	return nil
}

func (d *infoDict) singleFile(t *weir.TorrentInfo) error {
	if err := checkLength(d.length); err != nil {
		return fmt.Errorf("length: %w", err)
	}
	t.Length = d.length
	// Padding and links make no sense for the only file there is.
	t.Files = []weir.FileInfo{{
		Path:       []string{t.Name},
		Length:     d.length,
		Executable: bytes.IndexByte(d.attr, 'x') >= 0,
	}}
	return nil
}

func checkLength(n int64) error {
	if n < 0 || n > maxLength {
		return weir.Errorf(weir.ErrHostile, "%d bytes, want 0 to %d", n, int64(maxLength))
	}
	return nil
}
