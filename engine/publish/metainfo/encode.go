package metainfo

import (
	"bytes"
	"crypto/sha1"
	"slices"
	"strconv"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/source/merkle"
)

const (
	padFolder = ".pad"
	createdBy = "weir" // without a version, so that all versions make the same bytes
)

// Hashes are those of all pieces, in torrent order; Layout.NewHashes makes room for
// those that the version needs. Different pieces may be set at the same time.
type Hashes struct {
	V1 []byte // SHA-1, padding included
	V2 []byte // the root of the tree over each piece
}

// NewHashes returns room for the hashes of the torrent's pieces.
func (l *Layout) NewHashes() *Hashes {
	h := &Hashes{}
	if l.Version.hasV1() {
		h.V1 = make([]byte, l.pieces*sha1.Size)
	}
	if l.Version.hasV2() {
		h.V2 = make([]byte, l.pieces*merkle.Size)
	}
	return h
}

// SetV1 sets the SHA-1 of a piece.
func (h *Hashes) SetV1(piece int, sum [sha1.Size]byte) { copy(h.V1[piece*sha1.Size:], sum[:]) }

// SetV2 sets the root over a piece.
func (h *Hashes) SetV2(piece int, root [merkle.Size]byte) { copy(h.V2[piece*merkle.Size:], root[:]) }

// Details is what a torrent says beside its files. Private and Source are part of what
// the info hash is made of, the rest is not.
type Details struct {
	Trackers []string // each a tier of its own (BEP 12)
	WebSeeds []string // BEP 19
	Private  bool     // BEP 27
	Comment  string
	Source   string
	Created  time.Time // zero: not said
	// Similar are torrents that have files of it, too (BEP 38).
	Similar []weir.InfoHash
}

// Encode returns the .torrent.
func (l *Layout) Encode(h *Hashes, d *Details) []byte {
	e := encoder{Layout: l, hashes: h}
	if l.Version.hasV2() {
		e.hashFiles()
	}
	size := 1024 + len(h.V1) + 2*len(h.V2)
	for i := range l.Files {
		size += 200
		for _, name := range l.Files[i].Path {
			size += 2 * len(name)
		}
	}
	e.out = make([]byte, 0, size)
	e.top(d)
	return e.out
}

// encoder appends to a .torrent. Keys of dictionaries are written in the order of their
// bytes, as bencoding has it.
type encoder struct {
	*Layout
	hashes *Hashes
	roots  [][merkle.Size]byte // of each file's tree, with V2
	out    []byte
}

func (e *encoder) raw(s string) { e.out = append(e.out, s...) }

func (e *encoder) text(s string) { e.out = bencode.AppendString(e.out, s) }

func (e *encoder) number(n int64) {
	e.out = append(e.out, 'i')
	e.out = strconv.AppendInt(e.out, n, 10)
	e.out = append(e.out, 'e')
}

func (e *encoder) pair(key, value string) {
	e.text(key)
	e.text(value)
}

func (e *encoder) numberPair(key string, n int64) {
	e.text(key)
	e.number(n)
}

func (e *encoder) listPair(key string, values []string) {
	e.text(key)
	e.raw("l")
	for _, v := range values {
		e.text(v)
	}
	e.raw("e")
}

// layer returns the hashes of a file's pieces.
func (e *encoder) layer(file int) []byte {
	n := int(pieces(e.Files[file].Length, e.PieceLength))
	return e.hashes.V2[e.first[file]*merkle.Size:][:n*merkle.Size]
}

// hashFiles makes the files' roots of those of their pieces.
func (e *encoder) hashFiles() {
	e.roots = make([][merkle.Size]byte, len(e.Files))
	above := merkle.Depth(e.PieceLength / merkle.LeafBytes)
	for i := range e.Files {
		switch layer := e.layer(i); len(layer) {
		case 0:
		case merkle.Size:
			e.roots[i] = [merkle.Size]byte(layer)
		default:
			e.roots[i] = merkle.LayerRoot(layer, above)
		}
	}
}

func (e *encoder) top(d *Details) {
	e.raw("d")
	if len(d.Trackers) > 0 {
		e.pair("announce", d.Trackers[0])
	}
	if len(d.Trackers) > 1 {
		e.text("announce-list")
		e.raw("l")
		for _, url := range d.Trackers {
			e.raw("l")
			e.text(url)
			e.raw("e")
		}
		e.raw("e")
	}
	if d.Comment != "" {
		e.pair("comment", d.Comment)
	}
	e.pair("created by", createdBy)
	if !d.Created.IsZero() {
		e.numberPair("creation date", d.Created.Unix())
	}
	e.text("info")
	e.info(d)
	if e.Version.hasV2() {
		e.layers()
	}
	if len(d.Similar) > 0 {
		e.text("similar")
		e.raw("l")
		for _, ih := range d.Similar {
			e.text(string(ih[:]))
		}
		e.raw("e")
	}
	switch len(d.WebSeeds) {
	case 0:
	case 1:
		e.pair("url-list", d.WebSeeds[0])
	default:
		e.listPair("url-list", d.WebSeeds)
	}
	e.raw("e")
}

func (e *encoder) info(d *Details) {
	v1, v2 := e.Version.hasV1(), e.Version.hasV2()
	e.raw("d")
	if v1 && e.Single && e.Files[0].Executable {
		e.pair("attr", "x")
	}
	if v2 {
		e.text("file tree")
		e.tree(0, len(e.Files), 0)
	}
	if v1 && !e.Single {
		e.text("files")
		e.list()
	}
	if v1 && e.Single {
		e.numberPair("length", e.Files[0].Length)
	}
	if v2 {
		e.numberPair("meta version", 2)
	}
	e.pair("name", e.Name)
	e.numberPair("piece length", e.PieceLength)
	if v1 {
		e.text("pieces")
		e.out = bencode.AppendString(e.out, e.hashes.V1)
	}
	if d.Private {
		e.numberPair("private", 1)
	}
	if d.Source != "" {
		e.pair("source", d.Source)
	}
	e.raw("e")
}

// tree writes the file tree of files first … end-1, which have the first depth names
// in common.
func (e *encoder) tree(first, end, depth int) {
	e.raw("d")
	for first < end {
		name := e.Files[first].Path[depth]
		next := first + 1
		for next < end && e.Files[next].Path[depth] == name {
			next++
		}
		e.text(name)
		if len(e.Files[first].Path) == depth+1 {
			e.raw("d")
			e.text("")
			e.treeFile(first)
			e.raw("e")
		} else {
			e.tree(first, next, depth+1)
		}
		first = next
	}
	e.raw("e")
}

func (e *encoder) treeFile(file int) {
	f := &e.Files[file]
	e.raw("d")
	e.attributes(f)
	switch {
	case f.Link != nil:
		e.listPair("symlink path", f.Link)
	case f.Length == 0:
		e.numberPair("length", 0)
	default:
		e.numberPair("length", f.Length)
		e.text("pieces root")
		e.out = bencode.AppendString(e.out, e.roots[file][:])
	}
	e.raw("e")
}

func (e *encoder) attributes(f *File) {
	attr := ""
	if f.Executable {
		attr = "x"
	}
	if f.Link != nil {
		attr += "l"
	}
	if attr != "" {
		e.pair("attr", attr)
	}
}

// list writes the files of the v1 half, padding between them.
func (e *encoder) list() {
	e.raw("l")
	for i := range e.Files {
		f := &e.Files[i]
		e.raw("d")
		e.attributes(f)
		e.numberPair("length", f.Length)
		e.listPair("path", f.Path)
		if f.Link != nil {
			e.listPair("symlink path", f.Link)
		}
		e.raw("e")
		if n := e.padding(i); n > 0 {
			e.raw("d")
			e.pair("attr", "p")
			e.numberPair("length", n)
			e.listPair("path", []string{padFolder, strconv.FormatInt(n, 10)})
			e.raw("e")
		}
	}
	e.raw("e")
}

// layers writes the hashes of pieces of the files that have more than one, by the
// file's root. Files of the same bytes share them.
func (e *encoder) layers() {
	var files []int
	for i := range e.Files {
		if e.Files[i].Length > e.PieceLength {
			files = append(files, i)
		}
	}
	slices.SortFunc(files, func(a, b int) int { return bytes.Compare(e.roots[a][:], e.roots[b][:]) })
	e.text("piece layers")
	e.raw("d")
	for i, file := range files {
		if i > 0 && e.roots[file] == e.roots[files[i-1]] {
			continue
		}
		e.out = bencode.AppendString(e.out, e.roots[file][:])
		e.out = bencode.AppendString(e.out, e.layer(file))
	}
	e.raw("e")
}
