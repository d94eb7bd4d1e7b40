package source

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weirfs/weir"
)

// undecoded are the names of a torrent that are in no character set that is known,
// while it is read: those that don't stand under a key that promises UTF-8.
type undecoded struct {
	name    bool  // the torrent's own
	files   []int // indexes of files with a name that isn't ASCII
	invalid bool  // one of them is no UTF-8
	wide    bool  // one of them has a character that UTF-8 has in three bytes or more
}

// addName notes the torrent's own name.
func (u *undecoded) addName(name string) {
	if isASCII(name) {
		return
	}
	u.name = true
	u.look(name)
}

// addPath notes the path of a file.
func (u *undecoded) addPath(file int, path [][]byte) {
	ascii := true
	for _, name := range path {
		if isASCII(name) {
			continue
		}
		ascii = false
		u.look(string(name))
	}
	if !ascii {
		u.files = append(u.files, file)
	}
}

func (u *undecoded) look(name string) {
	u.invalid = u.invalid || !utf8.ValidString(name)
	u.wide = u.wide || strings.ContainsFunc(name, func(r rune) bool { return r >= 0x800 && r != utf8.RuneError })
}

// decode turns the names of t into UTF-8 by the first of labels in which all of
// them are names, and returns that label and a decoder. Where no label fits, names
// stay as they are, and also where all names are UTF-8 already, whatever the torrent
// says: other text hardly ever looks like it. But a short name in characters of two
// bytes each does.
func (u *undecoded) decode(t *weir.TorrentInfo, labels ...string) (string, *decoder) {
	for _, label := range labels {
		set := charset(label)
		if set != nil && (u.invalid || multibyte(set) && !u.wide && (u.name || len(u.files) > 0)) {
			d := &decoder{dec: set.NewDecoder(), done: make(map[string]string)}
			if u.decodeAll(t, d) {
				return label, d
			}
		}
	}
	return "", nil
}

// decodeAll changes t if all names can be decoded, or else nothing.
func (u *undecoded) decodeAll(t *weir.TorrentInfo, d *decoder) bool {
	name := t.Name
	if u.name {
		var ok bool
		if name, ok = d.decode(name); !ok {
			return false
		}
	}
	for _, i := range u.files {
		for _, name := range t.Files[i].Path {
			if _, ok := d.decode(name); !ok {
				return false
			}
		}
	}
	raw := &weir.RawNames{Name: t.Name, Paths: make(map[int][]string, len(u.files))}
	t.Name = name
	for _, i := range u.files {
		f := &t.Files[i]
		raw.Paths[i] = f.Path
		f.Path = slices.Clone(f.Path)
		for k, name := range f.Path {
			f.Path[k], _ = d.decode(name) // it could be, above
		}
	}
	t.Raw = raw
	return true
}

// decodeTarget decodes the names of a link's target, as far as it can.
func (d *decoder) decodeTarget(names []string) {
	if d == nil {
		return
	}
	for i, name := range names {
		if text, ok := d.decode(name); ok {
			names[i] = text
		}
	}
}
