package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/weirfs/weir"
)

// Error is the body of every answer that is not a success, as {"error": …}.
type Error struct {
	Kind    string `json:"kind"`    // one of docs/api.md
	Message string `json:"message"` // a sentence for people, with what to do next
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the sentinel that the kind stands for, so that errors.Is works
// over the socket as it does in the process.
func (e *Error) Unwrap() error {
	for _, k := range kinds {
		if k.kind == e.Kind {
			return k.err
		}
	}
	return nil
}

const kindInternal = "internal"

// kinds is the one place where an error becomes a kind and a status. The first
// match wins.
var kinds = []struct {
	kind   string
	status int
	err    error
}{
	{"hostile", http.StatusUnprocessableEntity, weir.ErrHostile},
	{"removed", http.StatusGone, weir.ErrRemoved},
	{"not_found", http.StatusNotFound, weir.ErrNotFound},
	{"exists", http.StatusConflict, weir.ErrExists},
	{"in_use", http.StatusConflict, weir.ErrInUse},
	{"no_space", http.StatusInsufficientStorage, weir.ErrNoSpace},
	{"refused", http.StatusForbidden, weir.ErrRefused},
	{"corrupt", http.StatusInternalServerError, weir.ErrCorrupt},
	{"closed", http.StatusServiceUnavailable, weir.ErrClosed},
	{"timeout", http.StatusGatewayTimeout, context.DeadlineExceeded},
	{"canceled", http.StatusServiceUnavailable, context.Canceled},
	{"invalid", http.StatusBadRequest, weir.ErrInvalid},
}

// ErrorOf returns err as the API reports it, and the HTTP status. Errors without a
// kind of weir's are "internal".
func ErrorOf(err error) (*Error, int) {
	if known := new(Error); errors.As(err, &known) {
		for _, k := range kinds {
			if k.kind == known.Kind {
				return known, k.status
			}
		}
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return &Error{Kind: k.kind, Message: weir.ErrorText(err)}, k.status
		}
	}
	return &Error{Kind: kindInternal, Message: weir.ErrorText(err)}, http.StatusInternalServerError
}
