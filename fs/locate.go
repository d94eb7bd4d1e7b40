package fs

import (
	"slices"

	"github.com/weirfs/weir"
)

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
		return Located{}, weir.Errorf(weir.ErrNotFound, "no torrent has the info hash %s", ih)
	}
	t := tor.held()
	if t == nil {
		info := tor.src.Info()
		if info == nil {
			return Located{}, weir.Errorf(weir.ErrNotFound, "the metadata of torrent %s has not arrived yet", ih)
		}
		var err error
		if t, err = newTorrentTree(info); err != nil {
			return Located{}, err
		}
	}
	n, ok := t.Walk(path)
	if !ok {
		return Located{}, weir.Errorf(weir.ErrNotFound, "nothing in %q is called %q", f.root.where(tor), path)
	}
	at := Located{Names: t.InfoPath(n)}
	if n != 0 {
		at.Path = t.Path(n)
	}
	t.FilesUnder(n, func(file int) bool {
		at.Files = append(at.Files, file)
		return true
	})
	slices.Sort(at.Files)
	return at, nil
}
