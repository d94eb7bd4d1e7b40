package engine

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// sizeOfThree is a dictionary of three pieces, the last of 10 bytes.
const sizeOfThree = 2*metadataPieceBytes + 10

func pieceOf(i int) []byte {
	n := metadataPieceBytes
	if i == 2 {
		n = 10
	}
	return bytes.Repeat([]byte{byte(i + 1)}, n)
}

func TestInfoFetch(t *testing.T) {
	now := time.Unix(1000, 0)
	a, b := &peer{addr: "a"}, &peer{addr: "b"}
	t.Run("SharedOut", func(t *testing.T) {
		f := newInfoFetch()
		if got := f.ask(a, sizeOfThree, now); !slices.Equal(got, []int{0, 1, 2}) {
			t.Fatalf("asks %v", got)
		}
		if got := f.ask(b, sizeOfThree, now); got != nil {
			t.Fatalf("asks %v twice", got)
		}
		f.received(b, 0, pieceOf(0)) // not asked of it
		for i := range 3 {
			f.received(a, i, pieceOf(i))
		}
		size, got, from := f.complete()
		if size != sizeOfThree || len(got) != sizeOfThree || !slices.Equal(from, []*peer{a}) {
			t.Errorf("complete: %d, %d bytes from %d", size, len(got), len(from))
		}
	})
	t.Run("SlowPeerIsHelped", func(t *testing.T) {
		f := newInfoFetch()
		f.ask(a, sizeOfThree, now)
		later := now.Add(infoPatience)
		if got := f.ask(a, sizeOfThree, later); got != nil {
			t.Fatalf("asks %v of the same peer again", got)
		}
		if got := f.ask(b, sizeOfThree, later); len(got) != 3 {
			t.Fatalf("asks %v of the other", got)
		}
		for i := range 3 { // late, and as good
			f.received(a, i, pieceOf(i))
		}
		if _, got, _ := f.complete(); len(got) != sizeOfThree {
			t.Error("what came late was thrown away")
		}
	})
	t.Run("SilentPeerIsLeftAlone", func(t *testing.T) {
		f := newInfoFetch()
		f.ask(a, sizeOfThree, now)
		if got := f.ask(a, sizeOfThree, now.Add(infoGiveUp)); got != nil {
			t.Fatalf("asks %v of a silent peer", got)
		}
		if got := f.ask(a, sizeOfThree, now.Add(infoGiveUp+infoRest)); len(got) != 3 {
			t.Fatalf("asks %v after the rest", got)
		}
	})
	t.Run("LieAboutTheSizeDoesNotBlock", func(t *testing.T) {
		f := newInfoFetch()
		f.ask(a, 100<<20, now)
		if got := f.ask(b, sizeOfThree, now); len(got) != 3 {
			t.Errorf("asks %v of the honest peer", got)
		}
	})
	t.Run("WrongHashThenAlone", func(t *testing.T) {
		f := newInfoFetch()
		f.ask(a, sizeOfThree, now)
		f.leave(b)
		for i := range 3 {
			f.received(a, i, pieceOf(i))
		}
		f.failed(sizeOfThree, now)
		if _, got, _ := f.complete(); got != nil {
			t.Fatal("complete after it failed")
		}
		if got := f.ask(b, sizeOfThree, now); len(got) != 3 {
			t.Fatalf("asks %v", got)
		}
		if got := f.ask(a, sizeOfThree, now); got != nil {
			t.Fatalf("asks %v of a second peer", got)
		}
		f.leave(b)
		if got := f.ask(a, sizeOfThree, now); len(got) != 3 {
			t.Errorf("asks %v once the first is gone", got)
		}
	})
	t.Run("Refused", func(t *testing.T) {
		f := newInfoFetch()
		f.ask(a, sizeOfThree, now)
		f.refused(a, now)
		if got := f.ask(a, sizeOfThree, now); got != nil {
			t.Errorf("asks %v of a peer that refused", got)
		}
		if got := f.ask(b, sizeOfThree, now); len(got) != 3 {
			t.Errorf("asks %v of the other", got)
		}
	})
	t.Run("WrongLengthIsIgnored", func(t *testing.T) {
		f := newInfoFetch()
		f.ask(a, sizeOfThree, now)
		f.received(a, 2, pieceOf(0))
		f.received(a, 7, pieceOf(0))
		f.received(a, -1, pieceOf(0))
		if f.sizes[sizeOfThree].left != 3 {
			t.Error("took a piece of the wrong length")
		}
	})
}
