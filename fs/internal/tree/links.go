package tree

import (
	"slices"
	"strings"
)

// maxLinks is how many symbolic links may be followed on the way to a file, as in the kernel.
const maxLinks = 40

// LinkTarget returns the target of entry e, a symbolic link (BEP 47): a path of shown names,
// relative to the link's folder. It never leaves the torrent's folder.
func (t *Tree) LinkTarget(e uint32) string {
	to := t.shownPath(t.File(e).Link)
	var from []string
	if dir := t.nodes[e].parent; dir != 0 {
		from = strings.Split(t.Path(dir), "/")
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
func (t *Tree) shownPath(path string) []string {
	if path == "." {
		return nil
	}
	var names []string
	at, there := uint32(0), true
	for name := range strings.SplitSeq(path, "/") {
		shown := SafeName(name)
		if there = there && t.IsDir(at); there {
			if at, there = t.findRaw(at, name); there {
				shown = t.Name(at)
			}
		}
		names = append(names, shown)
	}
	return names
}

// findRaw finds an entry of folder dir by its name in the metainfo. Of names that would be
// shown alike, one has the plain name and the others are numbered from 2 on.
func (t *Tree) findRaw(dir uint32, raw string) (uint32, bool) {
	safe := SafeName(raw)
	e, ok := t.Find(dir, safe)
	for n := 2; ok; n++ {
		if path := t.InfoPath(e); len(path) > 0 && path[len(path)-1] == raw {
			return e, true
		}
		e, ok = t.Find(dir, NumberedName(safe, n))
	}
	return 0, false
}

// Walk returns the entry at a path of shown names, following links. It finds nothing if they
// form a loop.
func (t *Tree) Walk(path string) (n uint32, ok bool) {
	var rest []string
	if path = strings.Trim(path, "/"); path != "" {
		rest = strings.Split(path, "/")
	}
	for links := 0; len(rest) > 0; {
		if !t.IsDir(n) {
			return 0, false
		}
		if n, ok = t.Find(n, rest[0]); !ok {
			return 0, false
		}
		rest = rest[1:]
		if t.IsDir(n) || t.File(n).Link == "" {
			continue
		}
		if links++; links > maxLinks {
			return 0, false
		}
		n, rest = 0, append(t.shownPath(t.File(n).Link), rest...)
	}
	return n, true
}
