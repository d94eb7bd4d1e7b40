package index

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache/internal/disk"
)

func openDB(tb testing.TB, dir string) *DB {
	tb.Helper()
	d, err := Open(filepath.Join(dir, "index"), filepath.Join(dir, "ballast"), slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

// TestManyStarts: each start leaves a table, which are merged some day; what was
// deleted does not come back.
func TestManyStarts(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 * manyTables {
		d := openDB(t, dir)
		if err := d.Put("b", fmt.Append(nil, i), make([]byte, 40_000)); err != nil {
			t.Fatal(err)
		}
		if err := d.SetNames(Linked, Name{uint64(i), 5, weir.PieceID{Index: i}}, Name{uint64(i), 6, weir.PieceID{Index: i}}); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := d.Delete("b", fmt.Append(nil, i-1)); err != nil {
				t.Fatal(err)
			}
			if err := d.ForgetNames(uint64(i - 1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d := openDB(t, dir)
	if keys, err := d.Keys("b"); len(keys) != 1 || err != nil {
		t.Errorf("%d records are left, %v", len(keys), err)
	}
	names := 0
	if err := d.EachName(func(n Name, f Fate) {
		names++
		if n.Salt != 3*manyTables-1 || f != Linked {
			t.Errorf("%+v is %d", n, f)
		}
	}); err != nil || names != 2 {
		t.Errorf("%d names are left, %v", names, err)
	}
	d.merging.Wait()
	if tables := d.badger.Tables(); len(tables) > manyTables {
		t.Errorf("%d tables", len(tables))
	}
}

// TestBytes: what the database says it takes on disk is what du counts, also after its
// files came and went.
func TestBytes(t *testing.T) {
	d := openDB(t, t.TempDir())
	same := func(when string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); d.Bytes() != disk.Allocated(d.dir); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d bytes, and du counts %d", when, d.Bytes(), disk.Allocated(d.dir))
			}
		}
	}
	same("new")
	for i := range 8 {
		if err := d.Put("b", fmt.Append(nil, i), make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		same(fmt.Sprintf("after %d MiB", i+1))
	}
	if err := d.Clear(); err != nil {
		t.Fatal(err)
	}
	same("cleared")
}

func BenchmarkSetNames(b *testing.B) {
	d := openDB(b, b.TempDir())
	for i := 0; b.Loop(); i++ {
		if err := d.SetNames(Linked, Name{1, int64(i), weir.PieceID{Index: i}}); err != nil {
			b.Fatal(err)
		}
	}
}
