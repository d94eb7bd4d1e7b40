package weir_test

import (
	"errors"
	"io"
	"testing"

	"github.com/weirfs/weir"
)

// TestErrorf: the kind is found and not read, and so is what the text wraps.
func TestErrorf(t *testing.T) {
	err := weir.Errorf(weir.ErrInvalid, "piece %d: %w", 3, io.ErrUnexpectedEOF)
	if err.Error() != "piece 3: unexpected EOF" {
		t.Errorf("%q", err)
	}
	if !errors.Is(err, weir.ErrInvalid) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, weir.ErrNotFound) {
		t.Errorf("%v is of the wrong kinds", err)
	}
}
