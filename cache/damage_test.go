package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// flipped is where flip changes a piece: in the middle, at the start of a block,
// which names its piece.
func flipped(size int) int { return size / 2 &^ (weir.BlockBytes - 1) }

// flip changes one bit of what piece id holds, on disk.
func flip(tb testing.TB, dir string, id weir.PieceID, size int) {
	tb.Helper()
	needle := content(id, size)[flipped(size):][:32]
	logs, _ := filepath.Glob(filepath.Join(dir, "segments", "*"))
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		at := bytes.Index(b, needle)
		if at < 0 {
			continue
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{b[at] ^ 4}, int64(at)); err != nil {
			tb.Fatal(err)
		}
		if err := f.Close(); err != nil {
			tb.Fatal(err)
		}
		return
	}
	tb.Fatalf("%s is nowhere on disk", id)
}

func TestFlippedBitIsFound(t *testing.T) {
	const size = 700 * kib
	dir := t.TempDir()
	var gone []weir.PieceID
	o := cache.Options{Dir: dir, Changed: func(id weir.PieceID, held bool) {
		if !held {
			gone = append(gone, id)
		}
	}}
	c := openCache(t, o)
	for i := range 4 {
		put(t, c, piece('a', i), size)
	}
	want(t, c, piece('a', 2), size, 0, size) // right once, and rots then
	flip(t, dir, piece('a', 2), size)
	want(t, c, piece('a', 2), size, 0, 1000) // elsewhere it is still right
	if ok, err := c.View(piece('a', 2), int64(flipped(size)), 10, func([]byte) { t.Error("damaged bytes were served") }); ok || err != nil {
		t.Errorf("View of damaged bytes = %v, %v, want a miss", ok, err)
	}
	if c.Has(piece('a', 2)) || !slices.Equal(gone, []weir.PieceID{piece('a', 2)}) || c.Stat().Damaged != 1 {
		t.Errorf("Has = %v, gone %v, %+v", c.Has(piece('a', 2)), gone, c.Stat())
	}
	for _, i := range []int{0, 1, 3} { // one bit costs one piece
		want(t, c, piece('a', i), size, 0, size)
	}
	put(t, c, piece('a', 2), size) // fetched again
	want(t, c, piece('a', 2), size, 0, size)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, o)
	for i := range 4 {
		want(t, c, piece('a', i), size, 0, size)
	}
}

func TestVerify(t *testing.T) {
	const size = 600 * kib
	dir := t.TempDir()
	c := openCache(t, cache.Options{Dir: dir})
	for i := range 5 {
		put(t, c, piece('a', i), size)
	}
	flip(t, dir, piece('a', 1), size)
	liar := piece('a', 3)
	report, err := c.Verify(context.Background(), func(id weir.PieceID, data []byte) error {
		if !bytes.Equal(data, content(id, size)) {
			t.Errorf("%s: wrong bytes", id)
		}
		if id == liar {
			return fmt.Errorf("not the torrent's: %w", weir.ErrCorrupt)
		}
		return nil
	})
	if err != nil || report.Pieces != 5 || !slices.Equal(report.Dropped, []weir.PieceID{piece('a', 1), liar}) {
		t.Errorf("got %+v, %v", report, err)
	}
	if c.Has(liar) || c.Has(piece('a', 1)) || !c.Has(piece('a', 0)) {
		t.Error("Verify dropped the wrong pieces")
	}
	report, err = c.Verify(context.Background(), func(id weir.PieceID, data []byte) error {
		if id.Index == 2 {
			return fmt.Errorf("nobody knows it: %w", weir.ErrNotFound)
		}
		return nil
	})
	if err != nil || report.Pieces != 3 || report.Unchecked != 1 || len(report.Dropped) != 0 || !c.Has(piece('a', 2)) {
		t.Errorf("with a piece that can't be compared: %+v, %v", report, err)
	}
	broken := errors.New("no torrent")
	if _, err := c.Verify(context.Background(), func(weir.PieceID, []byte) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of check", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Verify(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

// TestReaderOutlivesItsSegment clears the cache, and closes it, while a
// reader is in it.
func TestReaderOutlivesItsSegment(t *testing.T) {
	c := openCache(t, cache.Options{})
	put(t, c, piece('a', 0), mib)
	exp := content(piece('a', 0), mib)[5000:100_000]
	ok, err := c.View(piece('a', 0), 5000, 95_000, func(b []byte) {
		if err := errors.Join(c.Clear(), c.Close()); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(b, exp) {
			t.Error("the bytes changed under the reader")
		}
	})
	if !ok || err != nil {
		t.Errorf("View = %v, %v", ok, err)
	}
}

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, cache.Options{Dir: dir})
	value := func(n int) []byte { return content(piece('r', n), n) }
	lengths := []int{0, 1, 32 * kib, 32*kib + 1, 100_000, 3 * mib}
	for i, n := range lengths {
		key := []byte{byte(i)}
		// Long over short and short over long, on the way.
		for _, n := range []int{40_000, 3, n} {
			if err := c.PutRecord("a", key, value(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(c.PutRecord("b", []byte("x"), []byte("other")), c.PutRecord("a", nil, []byte("empty key"))); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for i, n := range lengths {
			if got, err := c.Record("a", []byte{byte(i)}); err != nil || !bytes.Equal(got, value(n)) {
				t.Errorf("record of %d bytes: got %d, %v", n, len(got), err)
			}
		}
		var keys []string
		if err := c.EachRecord("a", func(key, v []byte) error {
			keys = append(keys, string(key))
			return nil
		}); err != nil || !slices.Equal(keys, []string{"", "\x00", "\x01", "\x02", "\x03", "\x04", "\x05"}) {
			t.Errorf("EachRecord: %q, %v", keys, err)
		}
	}
	check()
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, cache.Options{Dir: dir})
	check()
	for i := range lengths {
		if err := errors.Join(c.DeleteRecord("a", []byte{byte(i)}), c.DeleteRecord("a", []byte{byte(i)})); err != nil {
			t.Error(err)
		}
		if _, err := c.Record("a", []byte{byte(i)}); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("deleted record: %v, want ErrNotFound", err)
		}
	}
	if got, err := c.Record("b", []byte("x")); err != nil || string(got) != "other" {
		t.Errorf("the other bucket: %q, %v", got, err)
	}
	stop := errors.New("stop")
	if err := c.EachRecord("b", func(_, _ []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of the callback", err)
	}
	for _, bucket := range []string{"", "a\x00b"} {
		if err := c.PutRecord(bucket, nil, nil); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("bucket %q: %v, want ErrInvalid", bucket, err)
		}
	}
}
