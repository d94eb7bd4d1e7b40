package weir

import (
	"slices"
	"strings"
)

// sourceExts are the endings of the names of files that say what to add: a .torrent,
// texts, and shortcuts. What is in them is read alike, whatever the name.
var sourceExts = []string{".torrent", ".magnet", ".txt", ".url", ".desktop"}

// SourceExts returns the endings by which SourceFile knows complete names.
func SourceExts() []string { return slices.Clone(sourceExts) }

// SourceFile reports whether a file of this name says what to add, and whether the
// name is complete: many programs write to a name such as x.torrent.part or
// .x.torrent.aB3dE first, and rename that.
func SourceFile(name string) (complete, ok bool) {
	name = strings.ToLower(name)
	for _, ext := range sourceExts {
		if len(name) > len(ext) && strings.HasSuffix(name, ext) && name[0] != '.' {
			return true, true
		}
		if strings.Contains(name, ext+".") {
			ok = true
		}
	}
	return false, ok
}
