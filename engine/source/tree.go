package source

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/source/merkle"
)

// maxTreePieces bounds the pieces of a v2 torrent: 2^21, as libtorrent does, so
// nothing larger has a swarm. Those of a v1 torrent need no bound of their own,
// because each brings its hash; a v2 file of any length is one root of 32 bytes.
const maxTreePieces = 1 << 21

// treeFile is one file of a file tree (BEP 52) while it is read.
type treeFile struct {
	path   [][]byte // parts of the input; valid during the call that gets it
	length int64
	root   [merkle.Size]byte // zero for a file without bytes
	link   bool              // a symbolic link (BEP 47)
	target []byte            // of a link: the list of names, as it stands in the input
	exec   bool
}

// pieces returns how many pieces the file has.
func (f *treeFile) pieces(pieceLength int64) int64 {
	return (f.length + pieceLength - 1) / pieceLength
}

// treeReader walks over a file tree.
type treeReader struct {
	c     *bencode.Cursor
	each  func(f *treeFile) error
	path  [][]byte // of what is being read
	depth int      // of dictionaries; names may have been left out of path
	file  treeFile // the one that was read last; here, so that a million files need one
	// failed is set with the first error, whose text names the path.
	failed bool
}

// readTree calls each for the files of a file tree, in the order in which they
// lie in the torrent.
func readTree(raw []byte, each func(f *treeFile) error) error {
	r := treeReader{c: bencode.NewMetainfo(raw), each: each}
	return r.entry()
}

// entry reads the dictionary at the cursor, which is a folder or a file: the empty key
// has the properties of either, and only a file has a length. Names must be in ascending
// order, as bencode demands: where a piece lies depends on the order of files, and a
// program that sorts them would see another torrent. This also finds names that are there
// twice. A name "." is the folder itself.
func (r *treeReader) entry() error {
	if r.depth > maxPathNames {
		return weir.Errorf(weir.ErrHostile, "more than %d folders deep", maxPathNames)
	}
	var last []byte
	first, isFile := true, false
	err := r.c.Dict(func(name []byte) (err error) {
		if first && len(name) == 0 {
			first = false
			r.file, isFile, err = r.properties()
			if err == nil && isFile && r.depth == 0 {
				err = weir.Errorf(weir.ErrInvalid, "the tree itself is a file")
			}
			return err
		}
		switch {
		case isFile:
			return weir.Errorf(weir.ErrHostile, "is both a file and a folder")
		case len(name) == 0:
			return weir.Errorf(weir.ErrInvalid, "an empty name")
		}
		if err := checkName(name); err != nil {
			return err
		}
		switch order := bytes.Compare(last, name); {
		case order == 0:
			return weir.Errorf(weir.ErrHostile, "%s is there twice", quote(name))
		case order > 0:
			return weir.Errorf(weir.ErrHostile, "%s is not in order", quote(name))
		}
		first, last = false, name
		at := len(r.path)
		if len(name) > 1 || name[0] != '.' {
			r.path = append(r.path, name)
		}
		r.depth++
		if err := r.entry(); err != nil {
			return err
		}
		r.depth--
		r.path = r.path[:at]
		return nil
	})
	if err == nil && isFile {
		if r.file.path = r.path; len(r.path) == 0 {
			r.file.path = [][]byte{noName}
		}
		err = r.each(&r.file)
	}
	return r.at(err)
}

// at adds the path to an error, once: that of the innermost file or folder.
func (r *treeReader) at(err error) error {
	if err == nil || r.failed || len(r.path) == 0 {
		return err
	}
	r.failed = true
	return fmt.Errorf("%s: %w", quote(bytes.Join(r.path, []byte("/"))), err)
}

// properties reads the value of the empty key; isFile is false for a folder.
func (r *treeReader) properties() (f treeFile, isFile bool, err error) {
	var root, attr []byte
	var hasLength, hasEmpty, seenLength, seenRoot, seenAttr bool
	err = r.c.Dict(func(key []byte) (err error) {
		var seen *bool
		switch string(key) {
		case "length":
			seen = &seenLength
			f.length, hasLength, err = fileLength(r.c)
		case "pieces root":
			seen = &seenRoot
			root, err = optStr(r.c)
		case "attr":
			seen = &seenAttr
			attr, err = optStr(r.c)
		case "symlink path":
			f.target, err = optRaw(r.c, bencode.List)
			return err
		case "":
			hasEmpty = true
			return r.c.Skip()
		default:
			return r.c.Skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if *seen {
			return weir.Errorf(weir.ErrHostile, "%s is given twice", key)
		}
		*seen = true
		return nil
	})
	if err != nil {
		return f, false, err
	}
	if f.link = bytes.IndexByte(attr, 'l') >= 0; f.link {
		f.length = 0 // whatever it says: a link has no bytes in the torrent
		return f, true, nil
	}
	f.exec = bytes.IndexByte(attr, 'x') >= 0
	switch {
	case !hasLength && hasEmpty: // no properties but a file, of no name
		return f, false, weir.Errorf(weir.ErrInvalid, "an empty name")
	case !hasLength && !seenRoot:
		return f, false, nil
	case bytes.IndexByte(attr, 'p') >= 0:
		err = weir.Errorf(weir.ErrInvalid, "is padding, which a file tree must not have")
	case !hasLength:
		err = weir.Errorf(weir.ErrInvalid, "no length")
	case f.length == 0: // a root would be of no meaning
	case len(root) != merkle.Size:
		err = weir.Errorf(weir.ErrInvalid, "has a pieces root of %d bytes, want %d", len(root), merkle.Size)
	default:
		f.root = [merkle.Size]byte(root)
		if f.root == ([merkle.Size]byte{}) {
			err = weir.Errorf(weir.ErrHostile, "has a pieces root of zeros")
		} else if err = checkLength(f.length); err != nil {
			err = fmt.Errorf("length: %w", err)
		}
	}
	return f, true, err
}

// treeSize counts the memory that a tree needs, before it is allocated.
type treeSize struct {
	entries int   // of weir.TorrentInfo.Files, gaps included
	pieces  int64 // of all files
	gap     bool  // the next file with bytes needs a gap before it
}

func (n *treeSize) add(f *treeFile, pieceLength int64) error {
	n.entries++
	if f.length == 0 {
		return nil
	}
	if n.gap {
		n.entries++
	}
	n.gap = f.length%pieceLength > 0
	n.pieces += f.pieces(pieceLength) // can't overflow: both are bounded
	if n.pieces > maxTreePieces {
		return weir.Errorf(weir.ErrInvalid, "has more than %d pieces", maxTreePieces)
	}
	return nil
}

// treeLayout lays the files of a tree out in torrent coordinates.
type treeLayout struct {
	t     *weir.TorrentInfo
	roots [][merkle.Size]byte // one for each of t.Files
	store nameStore
	names *fileNames
}

// gapPath is the path of all gaps, which nobody sees.
var gapPath = []string{".pad"}

// add appends a file and, before it, the gap that lets it begin with a piece.
func (l *treeLayout) add(f *treeFile) {
	t := l.t
	if over := t.Length % t.PieceLength; over > 0 && f.length > 0 {
		l.append(weir.FileInfo{Path: gapPath, Length: t.PieceLength - over, Padding: true}, [merkle.Size]byte{})
	}
	if f.link {
		l.names.links.add(len(t.Files), f.target)
	}
	l.names.undecoded.addPath(len(t.Files), f.path)
	l.append(weir.FileInfo{Path: l.store.path(f.path), Length: f.length, Executable: f.exec}, f.root)
}

func (l *treeLayout) append(f weir.FileInfo, root [merkle.Size]byte) {
	f.Offset = l.t.Length
	l.t.Length += f.Length
	l.t.Files = append(l.t.Files, f)
	l.roots = append(l.roots, root)
}

// hybridCheck compares a file tree with the list of files of the same torrent. BEP 52
// demands it: both must mean the same bytes in the same pieces to all clients, whichever
// they read.
type hybridCheck struct {
	t     *weir.TorrentInfo // as the v1 half has it
	links []link            // of t.Files, in order, those before next left out
	next  int               // of t.Files
	off   int64             // where the v2 layout is
}

func (h *hybridCheck) add(f *treeFile) error {
	if f.link {
		return nil // no bytes in both
	}
	g := h.skip()
	if g == nil {
		return weir.Errorf(weir.ErrHostile, "is in the file tree only")
	}
	h.next++
	if f.length > 0 {
		h.off += (h.t.PieceLength - h.off%h.t.PieceLength) % h.t.PieceLength
	}
	switch {
	case !slices.EqualFunc(g.Path, f.path, sameName):
		return weir.Errorf(weir.ErrHostile, "is where the list of files has %s", quote(strings.Join(g.Path, "/")))
	case g.Length != f.length:
		return weir.Errorf(weir.ErrHostile, "has %d bytes in the file tree, %d in the list of files", f.length, g.Length)
	case f.length > 0 && g.Offset != h.off:
		return weir.Errorf(weir.ErrHostile, "does not begin with a piece in the list of files")
	}
	h.off += f.length
	return nil
}

// sameName compares the name that the list of files has with that of the tree.
// Programs differ in what they do with slashes.
func sameName(a string, b []byte) bool {
	if a == string(b) {
		return true
	}
	plain := strings.NewReplacer("/", "", "\\", "")
	return plain.Replace(a) == plain.Replace(string(b))
}

// skip passes over padding and links and returns the next other file, or nil.
func (h *hybridCheck) skip() *weir.FileInfo {
	for ; h.next < len(h.t.Files); h.next++ {
		for len(h.links) > 0 && h.links[0].file < h.next {
			h.links = h.links[1:]
		}
		isLink := len(h.links) > 0 && h.links[0].file == h.next
		if f := &h.t.Files[h.next]; !f.Padding && !isLink {
			return f
		}
	}
	return nil
}

// end is called after the last file.
func (h *hybridCheck) end() error {
	if f := h.skip(); f != nil {
		return weir.Errorf(weir.ErrHostile, "file %d is in the list of files only", h.next)
	}
	// Padding behind the last file is no harm, a piece of nothing else is.
	if n := (h.off + h.t.PieceLength - 1) / h.t.PieceLength; n != int64(h.t.NumPieces()) {
		return weir.Errorf(weir.ErrHostile, "%d pieces in the file tree, %d in the list of files", n, h.t.NumPieces())
	}
	return nil
}
