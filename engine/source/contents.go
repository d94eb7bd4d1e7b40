package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/weirfs/weir"
)

// ErrNoAddress refuses a shortcut without a URL, such as the launcher of a program. It
// wraps weir.ErrInvalid.
var ErrNoAddress = weir.Errorf(weir.ErrInvalid, "is a shortcut without a URL: open it in a text editor, or give weir the .torrent or the magnet itself")

// Contents is what a file names.
type Contents struct {
	Specs []*Spec
	URLs  []string // http or https, of .torrent files; for a Loader that is Found
}

// ParseFile reads the content of any file that names torrents: a .torrent, a text
// with magnets, info hashes and URLs, one a line, or a shortcut (.url, .desktop). Empty
// lines and lines that begin with # are ignored. Texts are UTF-8 or UTF-16. The kind of
// file follows from its content, never from its name. ParseFile makes no traffic. Errors
// show some of the content: they are for a user who may read the file.
func ParseFile(content []byte) (*Contents, error) {
	if isTorrent(content) {
		spec, err := ParseTorrent(content)
		if err != nil {
			return nil, err
		}
		return &Contents{Specs: []*Spec{spec}}, nil
	}
	lines, shortcut := textLines(content)
	if !shortcut {
		if err := sniffText(content); err != nil {
			return nil, err
		}
	}
	const maxErrors = 3
	c := &Contents{}
	var errs []error
	for _, line := range lines {
		if isURL(line.text) {
			c.URLs = append(c.URLs, line.text)
			continue
		}
		spec, err := ParseName(line.text)
		if err == nil {
			c.Specs = append(c.Specs, spec)
			continue
		}
		if !shortcut { // the user sees no lines in a shortcut
			err = fmt.Errorf("line %d: %w", line.number, err)
		}
		if errs = append(errs, err); len(errs) == maxErrors {
			break
		}
	}
	switch {
	case len(errs) > 0:
		return nil, errors.Join(errs...)
	case c.Count() == 0 && shortcut:
		return nil, ErrNoAddress
	case c.Count() == 0:
		return nil, errNoNames
	}
	return c, nil
}

var errNoNames = weir.Errorf(weir.ErrInvalid, "is neither a .torrent nor a text with magnets, info hashes or URLs, one a line: check that it is the right file")

// Count returns how many torrents there are.
func (c *Contents) Count() int { return len(c.Specs) + len(c.URLs) }

// Lines returns what a text or a shortcut names, one each, fit for ParseFile; ok is
// false for a .torrent.
func Lines(content []byte) (lines []string, ok bool) {
	if isTorrent(content) {
		return nil, false
	}
	numbered, _ := textLines(content)
	for _, line := range numbered {
		lines = append(lines, line.text)
	}
	return lines, true
}

// ParseName reads a magnet or an info hash: 40 hexadecimal digits, 32 base32
// characters or, for a v2 torrent, 64 hexadecimal digits.
func ParseName(text string) (*Spec, error) {
	if hasScheme(text, "magnet") {
		return ParseMagnet(text)
	}
	spec, err := parseInfoHash(text)
	if err != nil {
		return nil, weir.Errorf(weir.ErrInvalid, "%s is neither a magnet, a URL nor an info hash; a magnet looks like %s", quote(text), exampleMagnet)
	}
	return spec, nil
}

// One returns the torrent of a file that names exactly one, and fetches it if need be.
func (l Loader) One(ctx context.Context, c *Contents) (*Spec, error) {
	switch {
	case c.Count() != 1:
		return nil, weir.Errorf(weir.ErrInvalid, "names %d torrents where one is needed: weir add takes them all, and so does copying it into the mount", c.Count())
	case len(c.URLs) == 1:
		return Loader{Found: true, AllowPrivate: l.AllowPrivate}.Load(ctx, c.URLs[0])
	}
	return c.Specs[0], nil
}

func isURL(s string) bool { return hasScheme(s, "http") || hasScheme(s, "https") }

// isTorrent reports whether a file is to be read as a .torrent. An info hash may begin
// with a "d" too.
func isTorrent(content []byte) bool {
	if len(content) == 0 || content[0] != 'd' || len(content) > 1 && (content[1] < '0' || content[1] > '9') && content[1] != 'e' {
		return false
	}
	const longest = 100 // more than any info hash
	first, _, _ := strings.Cut(string(content[:min(len(content), longest)]), "\n")
	_, err := parseInfoHash(strings.TrimSpace(first))
	return err != nil
}

// sniffText refuses what is not text, and recognises common mistakes.
func sniffText(content []byte) error {
	head := plainText(content[:min(len(content), 512)])
	page := bytes.HasPrefix(bytes.TrimSpace(head), []byte("<"))
	switch {
	case len(content) == 0, page:
		return sniff(content)
	case bytes.IndexByte(head, 0) >= 0, !utf8.Valid(head[:max(0, len(head)-utf8.UTFMax)]):
		return errNoNames
	}
	return nil
}

// textLine is a line of a text that names something.
type textLine struct {
	number int
	text   string
}

// textLines returns what a text names, a line each, or the addresses of a shortcut.
func textLines(content []byte) (lines []textLine, shortcut bool) {
	text := plainText(content)
	addresses, shortcut := shortcutLines(text)
	if shortcut {
		text = addresses
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if s := strings.TrimSpace(string(line)); s != "" && s[0] != '#' {
			lines = append(lines, textLine{number, s})
		}
	}
	return lines, shortcut
}
