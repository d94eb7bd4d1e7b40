package fs

import (
	"slices"
	"strings"
)

// linkTarget returns what entry e, a symbolic link (BEP 47), leads to: a path from the
// link's folder on, of names as they are shown. It never leaves the torrent's folder.
func (t *tree) linkTarget(e uint32) string {
	to := t.shownPath(t.file(e).Link)
	var from []string
	if dir := t.nodes[e].parent; dir != 0 {
		from = strings.Split(t.path(dir), "/")
	}
	same := 0
	for same < len(to) && same < len(from) && to[same] == from[same] {
		same++
	}
	names := append(slices.Repeat([]string{".."}, len(from)-same), to[same:]...)
	if len(names) == 0 {
		return "."
	}
	return strings.Join(names, "/")
}

// shownPath returns the names under which a path beneath the torrent's folder, as
// FileInfo has it, is shown, or would be if something were there; "." is that folder.
func (t *tree) shownPath(path string) []string {
	if path == "." {
		return nil
	}
	var names []string
	at, there := uint32(0), true
	for name := range strings.SplitSeq(path, "/") {
		shown := SafeName(name)
		if there = there && t.isDir(at); there {
			if at, there = t.findRaw(at, name); there {
				shown = t.name(at)
			}
		}
		names = append(names, shown)
	}
	return names
}

// findRaw looks up what is in folder dir under a name of the metainfo. Of names that would be shown alike, one
// has the plain name and the others are numbered from 2 on.
func (t *tree) findRaw(dir uint32, raw string) (uint32, bool) {
	safe := SafeName(raw)
	e, ok := t.find(dir, safe)
	for n := 2; ok; n++ {
		if path := t.infoPath(e); len(path) > 0 && path[len(path)-1] == raw {
			return e, true
		}
		e, ok = t.find(dir, numberedName(safe, n))
	}
	return 0, false
}
