package sources

import (
	"regexp"

	"github.com/weirfs/weir/engine/source"
)

// ReadDropped reads a file that somebody put into the mount or a watched folder.
// Errors wrap what source's do, and show nothing of the content: it may be another
// file than its owner thinks, and logs are read by more people than files.
func ReadDropped(content []byte) (*source.Contents, error) {
	named, err := source.ParseFile(content)
	if err != nil {
		return nil, &discreetError{quoted.ReplaceAllString(err.Error(), "…"), err}
	}
	return named, nil
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
