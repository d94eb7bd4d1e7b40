package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// NameBytes is the longest name that Linux holds in a folder.
const NameBytes = 255

// maxExtBytes is how much of a file's extension, dot included, survives
// when its name has to be cut.
const maxExtBytes = 16

// The escaped forms of whole names. A lone "%" stands for the empty name.
const (
	escapedDot    = "%2E"
	escapedDotDot = "%2E%2E"
	escapedEmpty  = "%"
)

// SafeName turns a raw name from a torrent into one that a folder can hold and a
// program can show: 1 to 255 bytes of UTF-8, no '/' and no NUL, neither "." nor
// "..". A name that is already fine is returned as it is. What has to change is
// escaped visibly: '/' becomes "%2F", NUL "%00", a byte that is not UTF-8 "%80" to
// "%FF", "." and ".." become "%2E" and "%2E%2E", the empty name "%", and a '%'
// becomes "%25" where it would otherwise look like one of these.
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
		if c, ok := escapeAt(safe, i); ok {
			b.WriteByte(c)
			i += 2
		} else if run := highEscapes(safe[i:]); len(run) > 0 {
			// Escapes that form UTF-8 are part of the name: SafeName does not write them.
			for len(run) > 0 {
				r, n := utf8.DecodeRune(run)
				if r == utf8.RuneError && n == 1 {
					b.WriteByte(run[0])
				} else {
					b.WriteString(safe[i : i+3*n])
				}
				run, i = run[n:], i+3*n
			}
			i--
		} else {
			b.WriteByte(safe[i])
		}
	}
	return b.String()
}

// plain reports whether raw needs no change. Nearly no name does, so this is fast and allocates
// nothing.
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
	return utf8.ValidString(raw)
}

// highEscapes decodes the run of escapes from "%80" to "%FF" at the beginning of s.
func highEscapes(s string) (run []byte) {
	const digits = "0123456789ABCDEF"
	for len(s) >= 3 && s[0] == '%' {
		high, low := strings.IndexByte(digits, s[1]), strings.IndexByte(digits, s[2])
		if high < 8 || low < 0 {
			break
		}
		run = append(run, byte(high<<4|low))
		s = s[3:]
	}
	return run
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

// escape returns raw with everything escaped that a name can't contain, of any length.
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
	safe := escapeBytes(raw, false)
	if RawName(safe) != raw {
		safe = escapeBytes(raw, true)
	}
	return safe
}

// escapeBytes escapes byte by byte; all says that a '%' is escaped before any two
// hexadecimal digits that RawName may read as a byte of 0x80 and more.
func escapeBytes(raw string, all bool) string {
	var b strings.Builder
	b.Grow(len(raw) + 8)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '/':
			b.WriteString("%2F")
		case c == 0:
			b.WriteString("%00")
		case c == '%':
			if _, reads := escapeAt(raw, i); reads || all && len(highEscapes(raw[i:])) > 0 {
				b.WriteString("%25")
			} else {
				b.WriteByte(c)
			}
		case c >= utf8.RuneSelf:
			if r, n := utf8.DecodeRuneInString(raw[i:]); r == utf8.RuneError && n == 1 {
				fmt.Fprintf(&b, "%%%02X", c)
			} else {
				b.WriteString(raw[i : i+n])
				i += n - 1
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

// NumberedName returns the n-th name for something whose own name is taken.
func NumberedName(safe string, n int) string {
	return withMark(safe, "~"+strconv.Itoa(n))
}

// withMark puts mark before the extension of name and keeps the whole within
// 255 bytes.
func withMark(name, mark string) string {
	ext := shortExt(name)
	base := name[:len(name)-len(ext)]
	return CutBytes(base, NameBytes-len(mark)-len(ext)) + mark + ext
}

// shortExt returns the extension of name with its dot, or nothing if it has
// none or a long one. A leading dot does not begin an extension.
func shortExt(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 || len(name)-i > maxExtBytes || i == len(name)-1 {
		return ""
	}
	return name[i:]
}

// CutBytes returns at most n bytes of s and ends between two UTF-8 characters.
// What is not UTF-8 is cut anywhere.
func CutBytes(s string, n int) string {
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
