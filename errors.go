package weir

import (
	"errors"
	"fmt"
)

// The sentinel errors are kinds: callers test for them with errors.Is. Errorf makes an
// error of a kind. A wait that passed its deadline is context.DeadlineExceeded
// and an interrupted one context.Canceled, as everywhere in Go.
var (
	ErrInvalid  = errors.New("invalid")              // what the user or a peer gave makes no sense
	ErrHostile  = errors.New("refused as unsafe")    // metainfo that no honest program makes
	ErrNotFound = errors.New("not found")            // no such torrent, file or piece
	ErrExists   = errors.New("already there")        // the torrent was added before
	ErrRemoved  = errors.New("torrent was removed")  // while a file of it was open
	ErrClosed   = errors.New("closed")               // the component is shutting down
	ErrCorrupt  = errors.New("content is not right") // verification failed, and nobody has better
	ErrInUse    = errors.New("in use")               // another process holds the cache
	ErrNoSpace  = errors.New("no space in the budget")
	ErrRefused  = errors.New("refused by policy") // this program may not open this file
)

// Errorf is fmt.Errorf for an error of a kind, one of the sentinels, whose name is not
// part of the text: the text ends with the cause or with what to do.
func Errorf(kind error, format string, args ...any) error {
	return &kindError{kind: kind, err: fmt.Errorf(format, args...)}
}

// kindError is an error whose kind does not show in its text.
type kindError struct{ kind, err error }

func (e *kindError) Error() string { return e.err.Error() }

// Unwrap returns what the text says and what the callers test for.
func (e *kindError) Unwrap() []error { return []error{e.err, e.kind} }
