package fs

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"
)

// NameBytes is the longest name that Linux holds in a folder.
const NameBytes = 255

// longestExtBytes is how much of a file's extension, dot included, survives
// when its name has to be cut.
const longestExtBytes = 16

// The names that need more than an escaped byte. A lone "%" stands for the
// empty name.
const (
	escapedDot    = "%2E"
	escapedDotDot = "%2E%2E"
	escapedEmpty  = "%"
)

// SafeName turns a raw name from a torrent into one that a folder can hold: 1 to
// 255 bytes, no '/' and no NUL, neither "." nor "..". A name that is already
// fine is returned as it is. What has to change is escaped visibly: '/' becomes
// "%2F", NUL "%00", "." and ".." become "%2E" and "%2E%2E", the empty name "%",
// and a '%' becomes "%25" where the name would otherwise read like one of these.
// RawName undoes it. A result longer than 255 bytes is cut, see cutName; that
// can't be undone.
func SafeName(raw string) string {
	if plain(raw) {
		return raw
	}
	if safe := escape(raw); len(safe) <= NameBytes {
		return safe
	} else {
		return cutName(safe, raw)
	}
}

// RawName undoes SafeName for names that were not cut.
func RawName(safe string) string {
	switch safe {
	case escapedDot:
		return "."
	case escapedDotDot:
		return ".."
	case escapedEmpty:
		return ""
	}
	if !strings.Contains(safe, "%") {
		return safe
	}
	var b strings.Builder
	b.Grow(len(safe))
	for i := 0; i < len(safe); i++ {
		c, ok := escapeAt(safe, i)
		if !ok {
			b.WriteByte(safe[i])
			continue
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String()
}

// plain reports whether raw needs no change at all. It is the case of nearly
// every name, so it looks at each byte once and allocates nothing.
func plain(raw string) bool {
	if raw == "" || raw == "." || raw == ".." || len(raw) > NameBytes {
		return false
	}
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '/', 0, '%':
			return false
		}
	}
	return true
}

// escapeAt reports which byte the escape at s[i:] stands for.
func escapeAt(s string, i int) (byte, bool) {
	if s[i] != '%' || i+3 > len(s) {
		return 0, false
	}
	switch s[i+1 : i+3] {
	case "2F":
		return '/', true
	case "00":
		return 0, true
	case "25":
		return '%', true
	}
	return 0, false
}

// escape returns raw with everything escaped that no name may hold, of any
// length.
func escape(raw string) string {
	switch raw {
	case "":
		return escapedEmpty
	case ".":
		return escapedDot
	case "..":
		return escapedDotDot
	case escapedDot, escapedDotDot, escapedEmpty:
		return "%25" + raw[1:]
	}
	var b strings.Builder
	b.Grow(len(raw) + 8)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '/':
			b.WriteString("%2F")
		case 0:
			b.WriteString("%00")
		case '%':
			if _, reads := escapeAt(raw, i); reads {
				b.WriteString("%25")
			} else {
				b.WriteByte(c)
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// cutName shortens an escaped name to 255 bytes: its beginning, "~", the first
// 16 hexadecimal digits of the SHA-256 of the raw name, and its extension if
// that is short, so that programs still know the type.
func cutName(safe, raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return withMark(safe, "~"+hex.EncodeToString(sum[:8]))
}

// numberedName returns the n-th name for something whose own name is taken.
func numberedName(safe string, n int) string {
	return withMark(safe, "~"+strconv.Itoa(n))
}

// withMark puts mark before the extension of name and keeps the whole within
// 255 bytes.
func withMark(name, mark string) string {
	ext := shortExt(name)
	base := name[:len(name)-len(ext)]
	return cutBytes(base, NameBytes-len(mark)-len(ext)) + mark + ext
}

// shortExt returns the extension of name with its dot, or nothing if it has
// none or a long one. A leading dot does not begin an extension.
func shortExt(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 || len(name)-i > longestExtBytes || i == len(name)-1 {
		return ""
	}
	return name[i:]
}

// cutBytes returns at most n bytes of s and ends between two UTF-8 characters.
// What is not UTF-8 is cut anywhere.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for back := 0; back < utf8.UTFMax && n-back > 0; back++ {
		if utf8.RuneStart(s[n-back]) {
			return s[:n-back]
		}
	}
	return s[:n]
}
