package fs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirfs/weir"
)

// mostLinks is how many symbolic links may be followed on the way to a file, as many
// as the kernel follows.
const mostLinks = 40

// Located is what a path beneath a torrent's folder leads to.
type Located struct {
	Path  string   // as it is shown, links followed; "" is the torrent's folder
	Names []string // as FileInfo.Path has them
	Files []int    // indexes into Info().Files of the file, or of those in and beneath the folder, ascending
}

// Locate finds a path beneath a torrent's folder by the names that the mount shows:
// escaped, numbered where two would be the same, links followed. It waits for nobody, but
// lays the folders out if nobody has looked inside. The error wraps weir.ErrNotFound if
// nothing is there, or the metadata is unknown.
func (f *FS) Locate(ih weir.InfoHash, path string) (Located, error) {
	tor := f.root.byInfoHash(ih)
	if tor == nil {
		return Located{}, fmt.Errorf("torrent %s: %w", ih, weir.ErrNotFound)
	}
	t := tor.held()
	if t == nil {
		info := tor.src.Info()
		if info == nil {
			return Located{}, fmt.Errorf("metadata of torrent %s: %w", ih, weir.ErrNotFound)
		}
		var err error
		if t, err = newTree(info); err != nil {
			return Located{}, err
		}
	}
	n, ok := t.walk(path)
	if !ok {
		return Located{}, fmt.Errorf("nothing in %q is called %q: %w", f.root.where(tor), path, weir.ErrNotFound)
	}
	at := Located{Names: t.infoPath(n)}
	if n != 0 {
		at.Path = t.path(n)
	}
	t.filesUnder(n, func(file int) bool {
		at.Files = append(at.Files, file)
		return true
	})
	slices.Sort(at.Files)
	return at, nil
}

// walk returns the entry at a path of shown names. Links that lead in a circle lead
// nowhere.
func (t *tree) walk(path string) (n uint32, ok bool) {
	var rest []string
	if path = strings.Trim(path, "/"); path != "" {
		rest = strings.Split(path, "/")
	}
	for links := 0; len(rest) > 0; {
		if !t.isDir(n) {
			return 0, false
		}
		if n, ok = t.find(n, rest[0]); !ok {
			return 0, false
		}
		rest = rest[1:]
		if t.isDir(n) || t.file(n).Link == "" {
			continue
		}
		if links++; links > mostLinks {
			return 0, false
		}
		n, rest = 0, append(t.shownPath(t.file(n).Link), rest...)
	}
	return n, true
}
