package weir

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns s fit to be shown to people, on a line of a terminal: names come
// from strangers. What has no picture of its own is escaped as in Go: control
// characters, which drive terminals, line ends among them; marks that turn the
// direction of writing around; what is invisible; bytes that are no UTF-8.
func Printable(s string) string {
	at := unprintable(s)
	if at < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for at >= 0 {
		b.WriteString(s[:at])
		r, n := utf8.DecodeRuneInString(s[at:])
		switch {
		case r == utf8.RuneError && n == 1, r < utf8.RuneSelf && !strings.ContainsRune("\n\r\t", r):
			fmt.Fprintf(&b, `\x%02x`, s[at])
		case r < utf8.RuneSelf:
			b.WriteString(map[rune]string{'\n': `\n`, '\r': `\r`, '\t': `\t`}[r])
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[at+n:]
		at = unprintable(s)
	}
	b.WriteString(s)
	return b.String()
}

// PrintableLines is Printable for a text of several lines, such as the words of
// errors that were joined: its line ends stay.
func PrintableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}

// unprintable returns where the first character of s is that has to be escaped, or
// -1.
func unprintable(s string) int {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) {
			return i
		}
		i += n
	}
	return -1
}
