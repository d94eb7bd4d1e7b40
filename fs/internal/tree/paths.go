package tree

import (
	"strings"

	"github.com/weirfs/weir"
)

// PathBytes is the longest path of a sorting folder.
const PathBytes = 1024

// SplitDir returns the names in the path of a sorting folder, none for the root.
func SplitDir(dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	names := strings.Split(dir, "/")
	for _, name := range names {
		if !FolderName(name) || len(dir) > PathBytes {
			return nil, weir.Errorf(weir.ErrInvalid, "folder %q: want names that don't begin with a dot, joined by '/', of %d bytes at most", dir, PathBytes)
		}
	}
	return names, nil
}

// FolderName reports whether a sorting folder may have this name. Names that begin with a dot
// are for programs' own folders, such as trash.
func FolderName(name string) bool {
	return name != "" && name[0] != '.' && len(name) <= NameBytes && !strings.ContainsAny(name, "/\x00")
}

// Join returns the path of a name in a sorting folder.
func Join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
