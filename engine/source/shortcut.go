package source

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// plainText returns a text as UTF-8, without a byte order mark. Windows programs write
// UTF-16; without a mark it is recognised by the zero byte of the first character.
func plainText(content []byte) []byte {
	if rest, ok := bytes.CutPrefix(content, []byte("\xef\xbb\xbf")); ok {
		return rest
	}
	var order binary.ByteOrder
	switch {
	case len(content) < 2:
		return content
	case content[0] == 0xff && content[1] == 0xfe:
		order, content = binary.LittleEndian, content[2:]
	case content[0] == 0xfe && content[1] == 0xff:
		order, content = binary.BigEndian, content[2:]
	case content[0] != 0 && content[1] == 0:
		order = binary.LittleEndian
	case content[0] == 0 && content[1] != 0:
		order = binary.BigEndian
	default:
		return content
	}
	units := make([]uint16, len(content)/2) // an odd byte at the end is ignored
	for i := range units {
		units[i] = order.Uint16(content[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// shortcutLines returns the addresses of a shortcut to a page, a line each: a .url of
// Windows or a .desktop, which are INI files. ok is false for any other text.
func shortcutLines(text []byte) (lines []byte, ok bool) {
	inside := false // in a section that has addresses
	for line := range bytes.Lines(text) {
		s := strings.TrimSpace(string(line))
		switch {
		case s == "", s[0] == ';', s[0] == '#':
		case s[0] == '[':
			name := strings.ToLower(strings.TrimSpace(strings.TrimSuffix(s[1:], "]")))
			inside = name == "internetshortcut" || name == "desktop entry"
			ok = true
		case !ok:
			return nil, false // a text begins with something else
		case inside:
			key, value, _ := strings.Cut(s, "=")
			key, _, _ = strings.Cut(key, "[") // URL[$e] is KDE's
			if strings.EqualFold(strings.TrimSpace(key), "url") {
				lines = append(append(lines, strings.TrimSpace(value)...), '\n')
			}
		}
	}
	return lines, ok
}
