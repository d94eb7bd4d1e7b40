package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/source"
)

// readDropped reads a file that is to be added: a .torrent, or a text with
// magnets, info hashes and URLs, one a line, empty lines and ones that begin with #
// aside, or a shortcut to one. Errors wrap what source's do, and show nothing of the content: it may be
// another file than its owner thinks, and logs are read by more people than files.
func readDropped(content []byte) (specs []*source.Spec, urls []string, err error) {
	if len(content) > 0 && content[0] == 'd' {
		spec, err := source.ParseTorrent(content)
		if err != nil {
			return nil, nil, withoutContent("", err)
		}
		return []*source.Spec{spec}, nil, nil
	}
	content = plainText(content)
	if lines, ok := shortcutLines(content); ok {
		content = lines
	}
	const maxErrors = 3
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, source.MaxMagnetBytes)
	var errs []error
	for n := 1; lines.Scan() && len(errs) < maxErrors; n++ {
		line := strings.TrimSpace(lines.Text())
		scheme, _, _ := strings.Cut(strings.ToLower(line), ":")
		switch {
		case line == "", line[0] == '#':
		case scheme == "http", scheme == "https":
			urls = append(urls, line)
		default:
			spec, err := loadNamed(context.Background(), source.Loader{}, line) // makes no traffic
			if err != nil {
				errs = append(errs, withoutContent(fmt.Sprintf("line %d: ", n), err))
				continue
			}
			specs = append(specs, spec)
		}
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%v: %w", err, weir.ErrInvalid))
	}
	if len(errs) == 0 && len(specs)+len(urls) == 0 {
		errs = append(errs, fmt.Errorf("neither a .torrent nor a text with magnets, info hashes or URLs: %w", weir.ErrInvalid))
	}
	return specs, urls, errors.Join(errs...)
}

// discreetError is an error whose text has nothing of the content in it.
type discreetError struct {
	text string
	err  error
}

func (e *discreetError) Error() string { return e.text }
func (e *discreetError) Unwrap() error { return e.err }

// quoted is how package source writes what comes from outside.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

func withoutContent(where string, err error) error {
	return &discreetError{where + quoted.ReplaceAllString(err.Error(), "…"), err}
}
