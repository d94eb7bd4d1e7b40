package source

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

// Names that are no UTF-8 are in a character set that the torrent names under
// "encoding", or by the number that Windows has for it under "codepage".

// maxLabelBytes bounds the name of a character set.
const maxLabelBytes = 64

// codepages names the character sets of Windows's numbers, where the name is not
// "windows-", "ibm" or "iso-8859-" and the number.
var codepages = map[int]string{
	932: "shift_jis", 936: "gbk", 949: "euc-kr", 950: "big5", 1361: "johab", 10000: "macintosh", 10007: "x-mac-cyrillic", 20866: "koi8-r", 20932: "euc-jp",
	20936: "gbk", 21866: "koi8-u", 51932: "euc-jp", 51936: "gbk", 51949: "euc-kr", 51950: "big5", 54936: "gb18030", 65001: "utf-8", 858: "ibm00858",
}

// charset returns the character set that a label names, or nil if there is none by
// that name, or none in which a name can be.
func charset(label string) encoding.Encoding {
	label = strings.ToLower(strings.TrimSpace(label))
	switch {
	case label == "" || len(label) > maxLabelBytes:
		return nil
	case label == "ascii" || label == "us-ascii" || label == "ansi_x3.4-1968": // browsers take more for it
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

// codepage reads a number of Windows's, also as "cp936", "ms936" and "windows-936".
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

// decoder decodes names, each once.
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
