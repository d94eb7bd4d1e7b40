package source

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"

	"github.com/weirfs/weir"
)

// Names that are not UTF-8 are in a character set that the torrent names under
// "encoding", or under "codepage" by its Windows number.

// maxLabelBytes bounds the name of a character set.
const maxLabelBytes = 64

// codepages has the names of Windows code pages that are not "windows-", "ibm" or
// "iso-8859-" and the number.
var codepages = map[int]string{
	932: "shift_jis", 936: "gbk", 949: "euc-kr", 950: "big5", 1361: "johab", 10000: "macintosh", 10007: "x-mac-cyrillic", 20866: "koi8-r", 20932: "euc-jp",
	20936: "gbk", 21866: "koi8-u", 51932: "euc-jp", 51936: "gbk", 51949: "euc-kr", 51950: "big5", 54936: "gb18030", 65001: "utf-8", 858: "ibm00858",
}

// charset returns the character set that a label names, or nil if it is unknown or not
// one for file names.
func charset(label string) encoding.Encoding {
	label = strings.ToLower(strings.TrimSpace(label))
	switch {
	case label == "" || len(label) > maxLabelBytes:
		return nil
	case label == "ascii" || label == "us-ascii" || label == "ansi_x3.4-1968": // to a browser these mean windows-1252
		return nil
	}
	if n, ok := codepage(label); ok {
		label = codepageLabel(n)
	}
	if e, err := htmlindex.Get(label); err == nil {
		switch name, _ := htmlindex.Name(e); name {
		case "replacement", "utf-8", "utf-16le", "utf-16be":
			return nil
		}
		return e
	}
	if e, err := ianaindex.IANA.Encoding(label); err == nil {
		return e // nil for one that is known and not supported
	}
	return nil
}

// codepage reads the number of a Windows code page, also as "cp936", "ms936" and "windows-936".
func codepage(label string) (int, bool) {
	for _, prefix := range []string{"windows-", "windows", "ms", "cp-", "cp", "ibm-", "ibm"} {
		if text, ok := strings.CutPrefix(label, prefix); ok {
			label = text
			break
		}
	}
	n, err := strconv.ParseUint(label, 10, 16)
	return int(n), err == nil
}

func codepageLabel(n int) string {
	name, ok := codepages[n]
	switch {
	case ok:
		return name
	case n == 874, n >= 1250 && n <= 1258:
		return "windows-" + strconv.Itoa(n)
	case n > 28590 && n <= 28606:
		return "iso-8859-" + strconv.Itoa(n-28590)
	}
	return "ibm" + strconv.Itoa(n)
}

// multibyte reports whether a character set has characters of several bytes.
func multibyte(set encoding.Encoding) bool {
	_, single := set.(*charmap.Charmap)
	return !single
}

// decoder decodes names, and caches the results.
type decoder struct {
	dec  *encoding.Decoder
	done map[string]string
}

// decode returns a name as UTF-8, if it is one in the character set.
func (d *decoder) decode(name string) (string, bool) {
	if isASCII(name) {
		return name, true
	}
	if text, ok := d.done[name]; ok {
		return text, true
	}
	text, err := d.dec.String(name)
	if err != nil || strings.ContainsRune(text, utf8.RuneError) || checkName(text) != nil {
		return "", false
	}
	d.done[name] = text
	return text, true
}

func isASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// undecoded are the names of a torrent whose character set is not known while it is
// read: those not under a key that promises UTF-8.
type undecoded struct {
	name    bool  // the torrent's own
	files   []int // indexes of files with a name that isn't ASCII
	invalid bool  // one of them is not UTF-8
	wide    bool  // one of them has a character that UTF-8 has in three bytes or more
}

// addName records the torrent's own name.
func (u *undecoded) addName(name string) {
	if isASCII(name) {
		return
	}
	u.name = true
	u.inspect(name)
}

// addPath records the path of a file.
func (u *undecoded) addPath(file int, path [][]byte) {
	ascii := true
	for _, name := range path {
		if isASCII(name) {
			continue
		}
		ascii = false
		u.inspect(string(name))
	}
	if !ascii {
		u.files = append(u.files, file)
	}
}

func (u *undecoded) inspect(name string) {
	u.invalid = u.invalid || !utf8.ValidString(name)
	u.wide = u.wide || strings.ContainsFunc(name, func(r rune) bool { return r >= 0x800 && r != utf8.RuneError })
}

// decode turns the names of t into UTF-8, by the first of labels under which all of them
// are valid, and returns that label and a decoder. Names stay as they are if no label
// fits, or if all are valid UTF-8, whatever the torrent says: text in other character sets
// is hardly ever valid UTF-8, apart from short names in characters of two bytes.
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
			f.Path[k], _ = d.decode(name) // decoded above without an error
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
