package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/engine/swarmtest"
)

func newContentOf(tb testing.TB, name string, seed uint64) *swarmtest.Content {
	tb.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: name, PieceLength: pieceBytes,
		Files: []swarmtest.File{
			{Path: []string{"one.bin"}, Length: 4 * pieceBytes, Seed: seed},
			{Path: []string{"sub", "two.bin"}, Length: 3*pieceBytes + 5, Seed: seed + 1},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func pin(tb testing.TB, d *daemon.Daemon, path string) error {
	tb.Helper()
	_, err := d.Pin(tb.Context(), path)
	return err
}

// wantFiles compares the files of a torrent's folder with the truth.
func wantFiles(tb testing.TB, dir string, c *swarmtest.Content) {
	tb.Helper()
	for _, f := range c.Info().Files {
		want := make([]byte, f.Length)
		if _, err := c.ReadAt(want, f.Offset); err != nil {
			tb.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(append([]string{dir}, f.Path...)...))
		if err != nil || !bytes.Equal(got, want) {
			tb.Errorf("%v: %d bytes of %d, or wrong ones: %v", f.Path, len(got), len(want), err)
		}
	}
}

// TestFetch brings in one file and then all, and tells how far it is.
func TestFetch(t *testing.T) {
	c := newContentOf(t, "fetched", 1)
	o := options(t)
	o.Peers = []string{openSeeder(t, c).Addr()}
	d := open(t, o)
	if _, err := d.Add(t.Context(), c.Magnet(swarmtest.Hints{}), "in"); err != nil {
		t.Fatal(err)
	}
	var last api.Progress
	if err := d.Fetch(t.Context(), "in/fetched/sub/two.bin", func(p api.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.HaveBytes != 3*pieceBytes+5 || last.TotalBytes != last.HaveBytes {
		t.Errorf("one file: %+v", last)
	}
	if err := d.Fetch(t.Context(), "in", func(p api.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.HaveBytes != 7*pieceBytes+5 || last.TotalBytes != last.HaveBytes {
		t.Errorf("all: %+v", last)
	}
	s, err := d.Status(t.Context(), "in/fetched/one.bin")
	if err != nil || s.Held != 4 || s.Pieces != 4 || s.Torrent.State != api.StateComplete || s.Pinned {
		t.Errorf("status: %+v, %v", s, err)
	}
	freed, err := d.Evict(t.Context(), "in/fetched/sub")
	if err != nil || freed != 3*pieceBytes+5 {
		t.Errorf("evicted %d bytes, %v", freed, err)
	}
	if s, err = d.Status(t.Context(), "in/fetched"); err != nil || s.Held != 4 || s.Pieces != 8 {
		t.Errorf("status after evict: %+v, %v", s, err)
	}
	wantFiles(t, filepath.Join(o.Mountpoint, "in", "fetched"), c)
	for _, path := range []string{"in/nothing", "in/fetched/three.bin", "nothing"} {
		if err := d.Fetch(t.Context(), path, func(api.Progress) {}); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("fetch %q: %v, want ErrNotFound", path, err)
		}
	}
}

// TestFetchEnds with its caller, and with the torrent.
func TestFetchEnds(t *testing.T) {
	c := newContentOf(t, "never", 1)
	d := open(t, options(t))
	addFile(t, d, c, "")
	ctx, cancel := context.WithCancel(t.Context())
	if err := d.Fetch(ctx, "never", func(api.Progress) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	begun := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- d.Fetch(t.Context(), "never", func(api.Progress) {
			select {
			case begun <- struct{}{}:
			default:
			}
		})
	}()
	<-begun
	if err := d.Remove(t.Context(), "never", false); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, weir.ErrRemoved) {
			t.Errorf("removed: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the fetch goes on though the torrent was removed")
	}
}

// TestPinOffline pins a whole torrent, which is then fetched by itself, and reads
// it after a restart where nobody has it.
func TestPinOffline(t *testing.T) {
	c := newContentOf(t, "pinned", 1)
	s := openSeeder(t, c)
	o := options(t)
	o.Peers = []string{s.Addr()}
	d := open(t, o)
	addFile(t, d, c, "")
	n, err := d.Pin(t.Context(), "pinned")
	if err != nil || n.Bytes < 7*pieceBytes+5 || n.Pending != 0 {
		t.Errorf("pinned %+v, %v", n, err)
	}
	eventually(t, "all of it is held", func() bool { return d.Torrents()[0].State == api.StateComplete })
	if freed, err := d.Evict(t.Context(), "pinned"); err != nil || freed != 0 {
		t.Errorf("evicted %d bytes of what is pinned, %v", freed, err)
	}
	closeDaemon(t, d)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Peers, o.ReadTimeout = nil, time.Second
	d = open(t, o)
	wantFiles(t, filepath.Join(o.Mountpoint, "pinned"), c)
	if st, err := d.Status(t.Context(), "pinned"); err != nil || !st.Pinned {
		t.Errorf("after a restart it is not pinned: %+v, %v", st, err)
	}
	if n, err := d.Unpin(t.Context(), "pinned/one.bin"); err != nil || n != 4*pieceBytes {
		t.Errorf("unpinned %d bytes, %v", n, err)
	}
	if freed, err := d.Evict(t.Context(), "pinned"); err != nil || freed != 4*pieceBytes {
		t.Errorf("evicted %d bytes of what is not pinned, %v", freed, err)
	}
}

// TestPinResumes fetches after a restart what was pinned and missing.
func TestPinResumes(t *testing.T) {
	c := newContentOf(t, "resumed", 1)
	o := options(t)
	d := open(t, o)
	addFile(t, d, c, "")
	if err := pin(t, d, "resumed/one.bin"); err != nil {
		t.Fatal(err)
	}
	closeDaemon(t, d)
	o.Peers = []string{openSeeder(t, c).Addr()}
	d = open(t, o)
	eventually(t, "what is pinned is held", func() bool { return d.Torrents()[0].HaveBytes >= 4*pieceBytes })
	if have := d.Torrents()[0].HaveBytes; have != 4*pieceBytes {
		t.Errorf("%d bytes are held, which nobody asked for", have)
	}
}

// TestTooLarge is refused before anything is fetched.
func TestTooLarge(t *testing.T) {
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "large", PieceLength: 1 << 20, Files: []swarmtest.File{{Path: []string{"file"}, Length: 40 << 20, Seed: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.CacheBytes = 16 << 20
	d := open(t, o)
	addFile(t, d, c, "")
	if err := d.Fetch(t.Context(), "large", func(api.Progress) {}); !errors.Is(err, weir.ErrNoSpace) {
		t.Errorf("fetch: %v, want ErrNoSpace", err)
	}
	if err := pin(t, d, "large"); !errors.Is(err, weir.ErrNoSpace) {
		t.Errorf("pin: %v, want ErrNoSpace", err)
	}
	if got := d.Torrents()[0].PinnedBytes; got != 0 {
		t.Errorf("%d bytes are pinned", got)
	}
}

// TestShownNames names files as the mount shows them: one of two with the same name,
// and one whose name is no UTF-8.
func TestShownNames(t *testing.T) {
	files := make([]swarmtest.File, 3)
	for i, name := range []string{"a.bin", "a.bin", "caf\xe9"} {
		files[i] = swarmtest.File{Path: []string{name}, Length: int64(i+1) * pieceBytes, Seed: uint64(i)}
	}
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{Name: "odd", PieceLength: pieceBytes, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Peers = []string{openSeeder(t, c).Addr()}
	d := open(t, o)
	addFile(t, d, c, "")
	for i, name := range []string{"a.bin", "a~2.bin", "caf%E9"} {
		path, want := "odd/"+name, int64(i+1)*pieceBytes
		if n, err := d.Pin(t.Context(), path); err != nil || n.Bytes != want {
			t.Errorf("pin %s: %+v, %v, want %d bytes", path, n, err, want)
		}
		var last api.Progress
		if err := d.Fetch(t.Context(), path, func(p api.Progress) { last = p }); err != nil || last.TotalBytes != want {
			t.Errorf("fetch %s: %+v, %v, want %d bytes", path, last, err, want)
		}
		if s, err := d.Status(t.Context(), path); err != nil || s.SizeBytes != want || s.HaveBytes != want || !s.Pinned {
			t.Errorf("status %s: %+v, %v, want %d bytes", path, s, err, want)
		}
		if n, err := d.Unpin(t.Context(), path); err != nil || n != want {
			t.Errorf("unpin %s: %d bytes, %v, want %d", path, n, err, want)
		}
		if n, err := d.Evict(t.Context(), path); err != nil || n != want {
			t.Errorf("evict %s: %d bytes, %v, want %d", path, n, err, want)
		}
	}
	for _, path := range []string{"odd/caf\xe9", "odd/a~3.bin"} {
		if _, err := d.Status(t.Context(), path); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("status %q: %v, want ErrNotFound", path, err)
		}
	}
}
