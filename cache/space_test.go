package cache_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// TestSpaceComesBack: after pieces went, what Stat, du and df say agrees to the byte,
// and it is less by what the pieces took.
func TestSpaceComesBack(t *testing.T) {
	disk := mountTmpfs(t, "512m")
	dir := filepath.Join(disk, "cache")
	c := openCache(t, cache.Options{Dir: dir, LimitBytes: 128 * mib})
	before := diskUsage(disk)
	free := func() int64 {
		var st unix.Statfs_t
		if err := unix.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Bavail) * st.Bsize
	}
	freeBefore := free()
	agree := func(when string, most int64) {
		t.Helper()
		c.Settle()
		used := diskUsage(disk) - before
		if said, taken := c.Stat().DiskBytes-before, freeBefore-free(); said != used || taken != used {
			t.Errorf("%s: Stat says %d bytes more, du %d, df %d", when, said, used, taken)
		}
		if used > most {
			t.Errorf("%s: %d bytes more are in use, want %d at most", when, used, most)
		}
	}
	const slack = 8 * mib // segments that are begun
	var small []int
	for i := range 1000 {
		put(t, c, piece('s', i), 16*kib)
		small = append(small, i)
	}
	for i := range 40 {
		put(t, c, piece('l', i), mib)
	}
	agree("filled", 16*mib+40*mib+slack)
	if err := c.Evict(hash('s'), small[100:900]); err != nil {
		t.Fatal(err)
	}
	agree("800 small pieces evicted", 200*17*kib+40*mib+slack)
	if err := c.Evict(hash('l'), slices.DeleteFunc(slices.Clone(small[:40]), func(i int) bool { return i%4 == 0 })); err != nil {
		t.Fatal(err)
	}
	agree("30 large pieces evicted", 200*17*kib+10*mib+slack/4)
	for i := range 40 {
		if c.Has(piece('l', i)) {
			want(t, c, piece('l', i), mib, 0, mib)
		}
	}
	for _, i := range []int{0, 99, 900, 999} {
		want(t, c, piece('s', i), 16*kib, 0, 16*kib)
	}
	for i := range 90 {
		put(t, c, piece('m', i), mib)
	}
	if err := c.SetLimit(32 * mib); err != nil {
		t.Fatal(err)
	}
	agree("shrunk", 32*mib)
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	agree("cleared", 2*mib)
}

// TestShrinkingMovesWhatIsUsed: what was read or is pinned outlives a smaller budget.
func TestShrinkingMovesWhatIsUsed(t *testing.T) {
	dir := t.TempDir()
	o := cache.Options{Dir: dir, LimitBytes: 200 * mib}
	c := openCache(t, o)
	ti := &weir.TorrentInfo{InfoHash: hash('a'), PieceLength: mib, Length: 120 * mib}
	if err := c.Pin(ti, 10, 14); err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		put(t, c, piece('a', i), mib)
	}
	stay := []int{10, 11, 12, 13}
	for i := 3; i < 120; i += 10 {
		want(t, c, piece('a', i), mib, 0, mib)
		stay = append(stay, i)
	}
	for _, limit := range []int64{64 * mib, 40 * mib} {
		if err := c.SetLimit(limit); err != nil {
			t.Fatal(err)
		}
		for _, i := range stay {
			if !c.Has(piece('a', i)) {
				t.Errorf("piece %d is gone with %d MiB", i, limit/mib)
			}
		}
		if s := c.Stat(); s.DiskBytes > limit*105/100+8*mib || s.Moves == 0 {
			t.Errorf("with %d MiB: %+v", limit/mib, s)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, cache.Options{Dir: dir, LimitBytes: 40 * mib})
	for _, i := range stay {
		want(t, c, piece('a', i), mib, 0, mib)
	}
}

// TestOldFolder: the folder of an older weir keeps its records and pins.
func TestOldFolder(t *testing.T) {
	for _, crashed := range []bool{false, true} {
		dir := t.TempDir()
		c := openCache(t, cache.Options{Dir: dir})
		ti := &weir.TorrentInfo{InfoHash: hash('a'), PieceLength: mib, Length: 10 * mib}
		long := content(piece('r', 1), 100_000)
		if err := errors.Join(c.Pin(ti, 2, 5), c.PutRecord("r", []byte("long"), long), c.SetLimit(96*mib), c.Close()); err != nil {
			t.Fatal(err)
		}
		// Its database was of the same kind, under another name.
		old := filepath.Join(dir, "generations", "0000000001-p", "000001.vlog")
		if err := errors.Join(
			os.Rename(filepath.Join(dir, "index"), filepath.Join(dir, "catalogue")), os.RemoveAll(filepath.Join(dir, "segments")),
			os.MkdirAll(filepath.Dir(old), 0o700), os.WriteFile(old, make([]byte, mib), 0o600),
			os.WriteFile(filepath.Join(dir, "version"), []byte("weir cache 1\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if crashed { // while it was taken over
			if err := os.Rename(filepath.Join(dir, "catalogue"), filepath.Join(dir, "index")); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		o := cache.Options{Dir: dir, MinFreeBytes: -1, Log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 2 {
			c, err := cache.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Pinned(hash('a')); !slices.Equal(got, [][2]int{{2, 5}}) {
				t.Errorf("pinned: %v", got)
			}
			if b, err := c.Record("r", []byte("long")); err != nil || !bytes.Equal(b, long) {
				t.Errorf("record: %d bytes, %v", len(b), err)
			}
			if s := c.Stat(); s.LimitBytes != 96*mib || s.DiskBytes > 8*mib {
				t.Errorf("%+v", s)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "older weir") {
			t.Errorf("the log has %d lines: %s", n, &log)
		}
		if entries, err := filepath.Glob(filepath.Join(dir, "[cg]*")); err != nil || len(entries) > 0 {
			t.Errorf("%v is left, %v", entries, err)
		}
	}
}

// TestDatabaseGone: pieces are held without their database, and what was evicted stays
// evicted.
func TestDatabaseGone(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, cache.Options{Dir: dir})
	for i := range 12 {
		put(t, c, piece('a', i), mib)
	}
	if err := errors.Join(c.Evict(hash('a'), []int{3, 4, 11}), c.Close(), os.RemoveAll(filepath.Join(dir, "index"))); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, cache.Options{Dir: dir})
	for i := range 12 {
		if i != 3 && i != 4 && i != 11 {
			want(t, c, piece('a', i), mib, 0, mib)
		} else if ok, err := c.View(piece('a', i), 0, mib, func([]byte) {}); ok || err != nil {
			t.Errorf("piece %d was evicted: %v, %v", i, ok, err)
		}
	}
}
