package inplace_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/weirfs/weir/engine/inplace"
)

// TestCheck finds what is there: all but a changed piece, a short file and an absent one.
func TestCheck(t *testing.T) {
	s := newSample(t, 3000, 1500, -500, 2000, 1000)
	b := slices.Clone(s.bytes[:3000])
	b[1500]++
	s.write(t, 0, b)
	s.write(t, 1, s.bytes[3000:4499])
	if err := os.Remove(s.path(4)); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	c := s.open(t)
	var kept *inplace.Checked
	var bytes atomic.Int64
	o := inplace.CheckOptions{Bytes: &bytes, Keep: func(k *inplace.Checked) { kept = k }}
	if err := c.Check(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	gone := []int{1, 3, 4, 7}
	checked := s.checked
	if bytes.Load() != 7500 || checked != 5 {
		t.Errorf("%d bytes looked at, %d pieces hashed", bytes.Load(), checked)
	}
	if got := c.Incomplete(); !slices.Equal(got, []int{0, 1, 4}) {
		t.Errorf("incomplete: %v", got)
	}
	s.checkPieces(t, c, gone...)
	if s.checked != checked || len(s.lost) > 0 || c.Problems() != nil {
		t.Errorf("%d pieces were hashed again, lost: %v, problems: %v", s.checked-checked, s.lost, c.Problems())
	}

	// Again, with what was kept: nothing is read, until a file is another.
	c = s.open(t)
	o.Former = kept
	if err := c.Check(t.Context(), o); err != nil || s.checked != checked {
		t.Errorf("%v, %d pieces were hashed again", err, s.checked-checked)
	}
	s.write(t, 0, s.bytes[:3000])
	s.settle(t)
	c = s.open(t)
	if err := c.Check(t.Context(), o); err != nil || s.checked != checked+3 {
		t.Errorf("%v, %d pieces were hashed again, want 3", err, s.checked-checked)
	}
	s.checkPieces(t, c, 3, 4, 7)
}

// TestCheckEnds: what was found before the end is kept.
func TestCheckEnds(t *testing.T) {
	s := newSample(t, 200*pieceLength)
	c := s.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var kept *inplace.Checked
	err := c.Check(ctx, inplace.CheckOptions{Keep: func(k *inplace.Checked) {
		kept = k
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || kept == nil {
		t.Fatalf("%v, kept %v", err, kept)
	}
	before := s.checked
	c = s.open(t)
	if err := c.Check(t.Context(), inplace.CheckOptions{Former: kept}); err != nil {
		t.Fatal(err)
	}
	if s.checked != 200 {
		t.Errorf("%d pieces were hashed, and %d in all, of 200", before, s.checked)
	}
	s.checkPieces(t, c)
}
