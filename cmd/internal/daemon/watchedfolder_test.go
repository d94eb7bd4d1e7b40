package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
)

// TestWatchReplacedFolder: a watched folder may go, come again, and be another one;
// what is in it is found by looking, as on a share where nobody tells of changes.
func TestWatchReplacedFolder(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "in")
	n := 0
	write := func(dir string) string {
		t.Helper()
		n++
		name := fmt.Sprint("t", n)
		path := filepath.Join(dir, name+".torrent")
		if err := os.WriteFile(path+".part", newContent(t, name).Torrent(swarmtest.Hints{}), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".part", path); err != nil {
			t.Fatal(err)
		}
		return name
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o700))
	o := options(t)
	o.Watch, o.WatchEvery = []string{dir}, 20*time.Millisecond
	d := open(t, o)
	arrives := func(how, name string) {
		t.Helper()
		eventually(t, how+": "+name, func() bool { return slices.Contains(paths(d), name) })
	}
	arrives("written", write(dir))
	must(os.Rename(dir, dir+".old"))
	must(os.Mkdir(dir, 0o700))
	arrives("in a folder that took its place", write(dir))
	arrives("after that", write(dir))
	must(os.RemoveAll(dir))
	must(os.Mkdir(dir+".new", 0o700))
	name := write(dir + ".new")
	must(os.Rename(dir+".new", dir))
	arrives("in one that came after it was removed", name)
	must(os.RemoveAll(dir))
	must(os.Symlink(dir+".old", dir))
	arrives("through a link", write(dir+".old"))
	if got := len(paths(d)); got != n {
		t.Errorf("%d torrents, want %d", got, n)
	}
}

// TestMagnetsDontWait: nobody waits to drop, pin or unpin a magnet without metadata.
func TestMagnetsDontWait(t *testing.T) {
	o := options(t)
	d := open(t, o)
	magnet := newContent(t, "magnet")
	if _, err := d.Add(t.Context(), magnet.Magnet(swarmtest.Hints{}), "a"); err != nil {
		t.Fatal(err)
	}
	addFile(t, d, newContent(t, "known"), "a")
	for _, path := range []string{"a/magnet", "a/magnet/file.bin", "a", "", magnet.InfoHash().String()} {
		if n, err := d.Evict(t.Context(), path); n != 0 || err != nil {
			t.Errorf("evict %q: %d, %v", path, n, err)
		}
		if kept, err := d.Pin(t.Context(), path); kept.Pending != 1 || err != nil {
			t.Errorf("pin %q: %+v, %v", path, kept, err)
		}
		if s, err := d.Status(t.Context(), "a/magnet"); err != nil || !s.Torrent.PinPending || s.Pinned {
			t.Errorf("after pin %q: %+v, %v", path, s, err)
		}
		if _, err := d.Unpin(t.Context(), path); err != nil {
			t.Errorf("unpin %q: %v", path, err)
		}
		if s, err := d.Status(t.Context(), "a/magnet"); err != nil || s.Torrent.PinPending {
			t.Errorf("after unpin %q: %+v, %v", path, s, err)
		}
	}
	if _, err := d.Evict(t.Context(), "a/nothing"); err == nil {
		t.Error("evict what is not there: no error")
	}
}
