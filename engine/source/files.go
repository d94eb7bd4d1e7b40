package source

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weirfs/weir"
)

// readFiles reads the list of n files of a multi-file torrent into t and sets its
// length.
func readFiles(t *weir.TorrentInfo, raw []byte, n int) error {
	c := cursor{b: raw}
	err := c.want('l')
	switch {
	case err != nil:
		return fmt.Errorf("files: %w", err)
	case n == 0:
		return fmt.Errorf("a list of no files: %w", weir.ErrInvalid)
	}
	// A list of smaller things than files fails below, but takes no memory first.
	t.Files = make([]weir.FileInfo, 0, min(n, len(raw)/minFileBytes))
	var r fileReader
	var links links
	err = c.list(func() error {
		f, err := r.read(&c)
		if err != nil {
			return fmt.Errorf("file %d: %w", len(t.Files), err)
		}
		if r.isLink {
			links.add(len(t.Files), r.target)
		}
		f.Offset = t.Length
		t.Length += f.Length // both are at most maxLength, so this can't overflow
		if t.Length > maxLength {
			return fmt.Errorf("file %d: more than %d bytes in total: %w", len(t.Files), int64(maxLength), weir.ErrHostile)
		}
		t.Files = append(t.Files, f)
		return nil
	})
	if err != nil {
		return err
	}
	links.resolve(t.Files)
	return checkTree(t.Files)
}

// fileReader reads one file after the other and keeps what they can share.
type fileReader struct {
	names      nameStore
	path, utf8 [][]byte // of the file being read; kept for their capacity
	isLink     bool
	target     []byte // of a link: the list of names, as it stands in the input
}

// read consumes one dictionary of the list of files.
func (r *fileReader) read(c *cursor) (f weir.FileInfo, err error) {
	var attr []byte
	var hasLength, hasPath, hasUTF8, hasAttr bool
	r.path, r.utf8, r.target = r.path[:0], r.utf8[:0], nil
	err = c.dict(func(key []byte) (err error) {
		var seen *bool
		switch string(key) {
		case "length":
			seen = &hasLength
			if f.Length, err = c.integer(); err == nil {
				err = checkLength(f.Length)
			}
		case "path":
			seen = &hasPath
			r.path, err = readPath(c, r.path)
		case "path.utf-8":
			seen = &hasUTF8
			r.utf8, err = readPath(c, r.utf8)
		case "attr":
			seen = &hasAttr
			attr, err = c.str()
		case "symlink path":
			r.target, err = c.raw()
			return err
		default:
			return c.skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if *seen {
			return fmt.Errorf("%s is given twice: %w", key, weir.ErrHostile)
		}
		*seen = true
		return nil
	})
	if err != nil {
		return f, err
	}
	path := r.path
	if len(r.utf8) > 0 && !slices.ContainsFunc(r.utf8, func(name []byte) bool { return !utf8.Valid(name) }) {
		path = r.utf8
	}
	if len(path) == 0 {
		return f, fmt.Errorf("no path: %w", weir.ErrInvalid)
	}
	for _, name := range path {
		if err := checkName(name); err != nil {
			return f, fmt.Errorf("path: %w", err)
		}
	}
	r.isLink = bytes.IndexByte(attr, 'l') >= 0
	switch {
	case r.isLink && f.Length != 0:
		return f, fmt.Errorf("a symbolic link of %d bytes: %w", f.Length, weir.ErrInvalid)
	case !r.isLink && !hasLength:
		return f, fmt.Errorf("no length: %w", weir.ErrInvalid)
	}
	f.Path = r.names.path(path)
	f.Padding = !r.isLink && (bytes.IndexByte(attr, 'p') >= 0 || paddingName(f.Path))
	f.Executable = !r.isLink && !f.Padding && bytes.IndexByte(attr, 'x') >= 0
	return f, nil
}

// readPath appends the components of the list at the cursor to path.
func readPath(c *cursor, path [][]byte) ([][]byte, error) {
	err := c.list(func() error {
		if len(path) == maxPathNames {
			return fmt.Errorf("more than %d folders deep: %w", maxPathNames, weir.ErrHostile)
		}
		name, err := c.str()
		path = append(path, name)
		return err
	})
	return path, err
}

// paddingName reports whether a file is padding by its name alone, as it was
// before BEP 47 gave it an attribute: BitComet's "_____padding_file_7_…",
// libtorrent's ".pad/16384" and, earlier, ".____padding_file/7".
func paddingName(path []string) bool {
	if strings.HasPrefix(path[len(path)-1], "_____padding_file_") {
		return true
	}
	if len(path) != 2 || path[0] != ".pad" && path[0] != ".____padding_file" {
		return false
	}
	return strings.Trim(path[1], "0123456789") == ""
}

// checkTree refuses two files of the same path, and a file whose path is the
// folder of another. Hidden files are not in the tree. It compares neighbours in
// order of path, so it needs 4 bytes for each file and no more, and none at all
// when the files stand in that order, as most programs write them.
func checkTree(files []weir.FileInfo) error {
	last, sorted := -1, true
	for i := range files {
		if !files[i].Shown() {
			continue
		}
		if last >= 0 {
			if slices.Compare(files[last].Path, files[i].Path) > 0 {
				sorted = false
				break
			}
			if err := checkNeighbours(&files[last], &files[i]); err != nil {
				return err
			}
		}
		last = i
	}
	if sorted {
		return nil
	}
	order := make([]int32, 0, len(files))
	for i := range files {
		if files[i].Shown() {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(slices.Compare(files[a].Path, files[b].Path), cmp.Compare(a, b))
	})
	for i := 1; i < len(order); i++ {
		if err := checkNeighbours(&files[order[i-1]], &files[order[i]]); err != nil {
			return err
		}
	}
	return nil
}

// checkNeighbours compares two files that follow each other in order of path.
// Names compare one by one there, so whatever lies in a folder follows it.
func checkNeighbours(a, b *weir.FileInfo) error {
	n := len(a.Path)
	// The last names differ most often, so they are compared first.
	if n > len(b.Path) || a.Path[n-1] != b.Path[n-1] || !slices.Equal(a.Path, b.Path[:n]) {
		return nil
	}
	what := "is there twice"
	if n < len(b.Path) {
		what = "is both a file and a folder"
	}
	return fmt.Errorf("%s %s: %w", quote(strings.Join(a.Path, "/")), what, weir.ErrHostile)
}
