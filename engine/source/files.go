package source

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
)

// fileNames collects the links and the names to decode, for when all files are known.
type fileNames struct {
	links     links
	undecoded undecoded
}

// readFiles reads the list of n files, n > 0, of a multi-file torrent into t, and sets
// its length.
func (l *fileNames) readFiles(t *weir.TorrentInfo, raw []byte, n int) error {
	c := bencode.NewMetainfo(raw)
	// A list of elements too short for files fails below, without taking memory first.
	t.Files = make([]weir.FileInfo, 0, min(n, len(raw)/minFileBytes))
	var r fileReader
	return c.List(func() error {
		f, err := r.read(c)
		if err != nil {
			return fmt.Errorf("file %d: %w", len(t.Files), err)
		}
		if r.isLink {
			l.links.add(len(t.Files), r.target)
		}
		if r.chosen() == &r.path && !f.Padding {
			l.undecoded.addPath(len(t.Files), r.path.raw)
		}
		f.Offset = t.Length
		t.Length += f.Length // both are at most maxLength, so this can't overflow
		if t.Length > maxLength {
			return weir.Errorf(weir.ErrHostile, "file %d: the files have more than %d bytes in total", len(t.Files), int64(maxLength))
		}
		f.Padding = f.Padding || isPaddingName(&f, t.PieceLength)
		f.Executable = f.Executable && !f.Padding
		t.Files = append(t.Files, f)
		return nil
	})
}

// fileReader reads one file after the other, and reuses its memory.
type fileReader struct {
	names      nameStore
	path, utf8 pathReader // of the file being read
	isLink     bool
	target     []byte // of a link: the list of names, as it stands in the input
}

// read consumes one dictionary of the list of files.
func (r *fileReader) read(c *bencode.Cursor) (f weir.FileInfo, err error) {
	var attr []byte
	var hasLength, seenLength, seenPath, seenUTF8, seenAttr bool
	r.path.reset()
	r.utf8.reset()
	r.target = nil
	err = c.Dict(func(key []byte) (err error) {
		var seen *bool
		switch string(key) {
		case "length":
			seen = &seenLength
			f.Length, hasLength, err = fileLength(c)
		case "path":
			seen = &seenPath
			err = r.path.read(c)
		case "path.utf-8":
			seen = &seenUTF8
			err = r.utf8.read(c)
		case "attr":
			seen = &seenAttr
			attr, err = optStr(c)
		case "symlink path":
			r.target, err = optRaw(c, bencode.List)
			return err
		default:
			return c.Skip()
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
		return f, err
	}
	r.isLink = bytes.IndexByte(attr, 'l') >= 0
	f.Padding = !r.isLink && bytes.IndexByte(attr, 'p') >= 0
	f.Executable = !r.isLink && !f.Padding && bytes.IndexByte(attr, 'x') >= 0
	switch {
	case r.isLink:
		f.Length = 0 // whatever it says: a link has no bytes in the torrent
	case !hasLength:
		return f, weir.Errorf(weir.ErrInvalid, "no length")
	default:
		if err := checkLength(f.Length); err != nil {
			return f, fmt.Errorf("length: %w", err)
		}
	}
	path, err := r.chosen().names()
	switch {
	case err == nil:
		f.Path = r.names.path(path)
	case f.Padding:
		f.Path, err = gapPath, nil
	}
	return f, err
}

// chosen returns the path that counts: path.utf-8 if it is valid UTF-8.
func (r *fileReader) chosen() *pathReader {
	switch {
	case !r.utf8.ok || len(r.utf8.raw) == 0:
	case !r.path.ok || len(r.path.raw) == 0, r.utf8.valid():
		return &r.utf8
	}
	return &r.path
}

// pathReader reads a list of names.
type pathReader struct {
	raw  [][]byte // kept for its capacity
	ok   bool     // it was a list of strings
	deep bool     // it had more than maxPathNames
}

func (p *pathReader) reset() { *p = pathReader{raw: p.raw[:0]} }

// read consumes the value at the cursor. Names that are empty or "." are left out, if
// there are others.
func (p *pathReader) read(c *bencode.Cursor) error {
	if c.Kind() != bencode.List {
		return c.Skip()
	}
	p.ok = true
	some := false
	err := c.List(func() error {
		name, err := optStr(c)
		switch {
		case err != nil:
			return err
		case name == nil:
			p.ok = false
		case len(name) == 0, len(name) == 1 && name[0] == '.':
			some = true
		case len(p.raw) == maxPathNames:
			p.deep = true
		default:
			p.raw = append(p.raw, name)
		}
		return nil
	})
	if some && len(p.raw) == 0 {
		p.raw = append(p.raw, noName)
	}
	return err
}

// noName is the name of a file whose names are all empty or ".".
var noName = []byte("_")

func (p *pathReader) valid() bool {
	return !slices.ContainsFunc(p.raw, func(name []byte) bool { return !utf8.Valid(name) })
}

// names returns the names after checking each.
func (p *pathReader) names() ([][]byte, error) {
	switch {
	case !p.ok || len(p.raw) == 0:
		return nil, weir.Errorf(weir.ErrInvalid, "no path")
	case p.deep:
		return nil, weir.Errorf(weir.ErrHostile, "path: more than %d folders deep", maxPathNames)
	}
	for _, name := range p.raw {
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
	}
	return p.raw, nil
}

// isPaddingName reports whether a file that ends with a piece is padding by its name, as
// was usual before BEP 47 gave padding an attribute: BitComet's
// "_____padding_file_7_…", libtorrent's ".pad/16384" and, earlier,
// ".____padding_file/7". A file that merely has such a name is content.
func isPaddingName(f *weir.FileInfo, pieceLength int64) bool {
	if f.Length == 0 || f.Length >= pieceLength || f.Range().End%pieceLength != 0 {
		return false
	}
	for _, name := range f.Path {
		if strings.HasPrefix(name, "_____padding_file_") {
			return true
		}
	}
	if len(f.Path) != 2 || f.Path[0] != ".pad" && f.Path[0] != ".____padding_file" {
		return false
	}
	return strings.Trim(f.Path[1], "0123456789") == ""
}
