package source

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/bencode"
)

// links are the symbolic links (BEP 47) of one torrent. They are resolved when all of its
// files are known.
type links struct{ all []link }

type link struct {
	file   int    // its index
	target []byte // a list of names in bencode; anything else is ignored
}

// add records that a file is a link.
func (l *links) add(file int, target []byte) { l.all = append(l.all, link{file, target}) }

// resolve sets Link, or Hidden, of the files that are links. In BEP 47, targets are
// relative to the torrent's folder; some programs wrote them relative to the link's own.
// The reading that leads to a file of the torrent is chosen, else BEP 47's, as long as
// the target stays inside the torrent. d, if not nil, decodes names.
func (l *links) resolve(files []weir.FileInfo, d *decoder) {
	if len(l.all) == 0 {
		return
	}
	for _, link := range l.all {
		files[link.file].Hidden = true
	}
	paths := newPathIndex(files)
	for _, link := range l.all {
		f := &files[link.file]
		names, absolute := targetNames(link.target)
		if names == nil {
			continue
		}
		d.decodeTarget(names)
		fromTop, topInside := walk(nil, names)
		fromLink, linkInside := walk(f.Path[:len(f.Path)-1], names)
		switch {
		case topInside && paths.has(fromTop):
			f.Link = joinTarget(fromTop)
		case absolute:
		case linkInside && paths.has(fromLink):
			f.Link = joinTarget(fromLink)
		case topInside:
			f.Link = joinTarget(fromTop)
		case linkInside:
			f.Link = joinTarget(fromLink)
		}
		f.Hidden = f.Link == ""
	}
}

var errNoTarget = errors.New("no name that a file can have")

// targetNames reads a link's target, which some programs write as one text with slashes.
// It returns nil if no file can have such a path.
func targetNames(raw []byte) (names []string, absolute bool) {
	c := bencode.NewMetainfo(raw)
	if c.Kind() != bencode.List {
		return nil, false
	}
	err := c.List(func() error {
		text, err := c.String()
		if err != nil {
			return err
		}
		absolute = absolute || len(names) == 0 && (len(text) == 0 || text[0] == '/')
		for name := range strings.SplitSeq(string(text), "/") {
			if len(name) > maxNameBytes || strings.IndexByte(name, 0) >= 0 || len(names) == maxPathNames {
				return errNoTarget
			}
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, false
	}
	return names, absolute
}

// walk follows names from folder dir, and reports whether that stays inside the torrent.
func walk(dir, names []string) ([]string, bool) {
	path := slices.Clone(dir)
	for _, name := range names {
		switch name {
		case "", ".":
		case "..":
			if len(path) == 0 {
				return nil, false
			}
			path = path[:len(path)-1]
		default:
			path = append(path, name)
		}
	}
	return path, true
}

func joinTarget(path []string) string {
	if len(path) == 0 {
		return "."
	}
	return strings.Join(path, "/")
}

// pathIndex finds files and folders by their path.
type pathIndex struct {
	files []weir.FileInfo
	order []int32 // indexes of files, without padding, by path
}

func newPathIndex(files []weir.FileInfo) *pathIndex {
	x := &pathIndex{files: files}
	for i := range files {
		if !files[i].Padding {
			x.order = append(x.order, int32(i))
		}
	}
	slices.SortFunc(x.order, func(a, b int32) int {
		return cmp.Or(slices.Compare(files[a].Path, files[b].Path), cmp.Compare(a, b))
	})
	return x
}

// has reports whether a file or a folder is at path. The files of a folder are sorted
// behind where its own path would be.
func (x *pathIndex) has(path []string) bool {
	at, _ := slices.BinarySearchFunc(x.order, path, func(i int32, path []string) int {
		return slices.Compare(x.files[i].Path, path)
	})
	if at == len(x.order) {
		return false
	}
	found := x.files[x.order[at]].Path
	return len(found) >= len(path) && slices.Equal(found[:len(path)], path)
}
