package cache_test

import (
	"bytes"
	"testing"

	"github.com/weirfs/weir/cache"
)

// The log is prepared ahead of badger, and never touched where it has written.
func TestAhead(t *testing.T) {
	const limit = 1 << 30 // generations of 32 MiB: several reservations in each
	c := openCache(t, cache.Options{LimitBytes: limit, MinFreeBytes: -1})
	sizes := []int{16 * kib, mib, 5*mib + 1, 100, 300 * kib}
	const pieces = 40
	for i := range pieces {
		size := sizes[i%len(sizes)]
		if err := c.Put(piece('a', i), [][]byte{content(piece('a', i), size)}); err != nil {
			t.Fatal(err)
		}
		for _, l := range c.Ahead() {
			if !l.Mapped {
				t.Error("badger's map of the log was not found")
			}
			if l.Made < l.Rows || l.Made > l.Reserved || l.Made < min(l.Rows+mib, l.Reserved) {
				t.Errorf("after piece %d: rows up to %d, zeros up to %d, %d reserved", i, l.Rows, l.Made, l.Reserved)
			}
			if l.Dirty != 0 {
				t.Errorf("after piece %d: %d bytes behind the rows are not zero", i, l.Dirty)
			}
		}
	}
	c.Settle()
	for i := range pieces {
		want := content(piece('a', i), sizes[i%len(sizes)])
		got := make([]byte, len(want))
		if ok, err := c.ReadAt(piece('a', i), got, 0); !ok || err != nil || !bytes.Equal(got, want) {
			t.Errorf("piece %d: %v, %v", i, ok, err)
		}
	}
}
