package index

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/weirfs/weir"
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

func BenchmarkSetNames(b *testing.B) {
	d := openDB(b, b.TempDir())
	for i := 0; b.Loop(); i++ {
		if err := d.SetNames(Linked, Name{1, int64(i), weir.PieceID{Index: i}}); err != nil {
			b.Fatal(err)
		}
	}
}
