package daemon_test

import (
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
)

// timesIn returns the mtime of everything in a mount but what waits for metadata.
func timesIn(tb testing.TB, dir string) map[string]time.Time {
	tb.Helper()
	times := map[string]time.Time{}
	err := filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		times[path[len(dir):]] = info.ModTime()
		if e.Name() == "magnet" {
			return iofs.SkipDir
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return times
}

// TestTimesStay: programs that keep copies read everything again when a time
// changes, so none does, whatever becomes of weir and its cache.
func TestTimesStay(t *testing.T) {
	created := time.Date(2019, 3, 4, 5, 6, 7, 0, time.UTC)
	dated, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "dated", PieceLength: pieceBytes, Created: created,
		Files: []swarmtest.File{{Path: []string{"d", "file.bin"}, Length: 10 * pieceBytes, Seed: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	late, err := swarmtest.NewContent(swarmtest.ContentOptions{ // of which a magnet came first
		Name: "late", PieceLength: pieceBytes, Created: created,
		Files: []swarmtest.File{{Path: []string{"file.bin"}, Length: 10 * pieceBytes, Seed: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	bare, magnet := newContent(t, "bare"), newContent(t, "magnet")
	o := options(t)
	o.ByHash = true
	s := openSeeder(t, late)
	d := open(t, o)
	addFile(t, d, dated, "a/b")
	addFile(t, d, bare, "a")
	addFile(t, d, newContent(t, "gone"), "c")
	for _, link := range []string{late.Magnet(swarmtest.Hints{Peers: []string{s.Addr()}}), magnet.Magnet(swarmtest.Hints{})} {
		if _, err := d.Add(t.Context(), link, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.ReadFile(filepath.Join(o.Mountpoint, "late/file.bin")); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(t.Context(), "c/gone", false); err != nil {
		t.Fatal(err)
	}
	want := timesIn(t, o.Mountpoint)
	if got := want["/a/b/dated/d/file.bin"]; !got.Equal(created) {
		t.Errorf("a torrent with a creation date: %v", got)
	}
	for _, p := range []string{"/a/bare", "/a/bare/file.bin", "/late/file.bin", "/magnet"} {
		if age := time.Since(want[p]); age < 0 || age > time.Hour {
			t.Errorf("%s is dated %v", p, want[p])
		}
	}
	same := func(when string) {
		t.Helper()
		got := timesIn(t, o.Mountpoint)
		if !maps.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("%s:\n%v, want\n%v", when, got, want)
		}
	}
	addFile(t, d, late, "") // its date comes too late
	same("a creation date is learned")
	for range 2 {
		closeDaemon(t, d)
		d = open(t, o)
		same("after a restart")
	}
	if _, err := d.Evict(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	same("evicted")
}
