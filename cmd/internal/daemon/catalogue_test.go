package daemon_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/engine/swarmtest"
)

// eventually waits until something holds.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(20 * time.Second); !holds(); {
		select {
		case <-tick.C:
		case <-timeout:
			tb.Fatalf("not after 20 s: %s", what)
		}
	}
}

func closeDaemon(tb testing.TB, d *daemon.Daemon) {
	tb.Helper()
	if err := d.Close(); err != nil {
		tb.Fatal(err)
	}
}

func addFile(tb testing.TB, d *daemon.Daemon, c *swarmtest.Content, into string) api.Added {
	tb.Helper()
	a, err := d.AddFile(tb.Context(), c.Torrent(swarmtest.Hints{}), into)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func paths(d *daemon.Daemon) []string {
	var list []string
	for _, t := range d.Torrents() {
		list = append(list, t.Path)
	}
	return list
}

// TestCatalogue adds torrents to a mount, reads of one, and finds all of it again
// after a restart where there is no network.
func TestCatalogue(t *testing.T) {
	c, other := newContent(t, "held"), newContent(t, "other")
	s := openSeeder(t, c)
	o := options(t)
	o.Peers = []string{s.Addr()}
	d := open(t, o)
	if a := addFile(t, d, c, "linux/debian"); a.Path != "linux/debian/held" || a.Known || a.InfoHash != c.InfoHash().String() {
		t.Errorf("added %+v", a)
	}
	if a := addFile(t, d, c, "elsewhere"); a.Path != "linux/debian/held" || !a.Known {
		t.Errorf("added again: %+v", a)
	}
	if _, err := d.Add(t.Context(), other.Magnet(swarmtest.Hints{}), ""); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.Mountpoint, "linux/debian/held/file.bin")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	closeDaemon(t, d)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	o.Peers, o.ReadTimeout = nil, 300*time.Millisecond
	d = open(t, o)
	if got := paths(d); !slices.Equal(got, []string{"linux/debian/held", "other"}) {
		t.Errorf("after a restart: %q", got)
	}
	if got := d.Names(); len(got) != 0 {
		t.Errorf("Names = %q, though nothing was named", got)
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != string(want) {
		t.Errorf("what was held is not what it was: %v", err)
	}
	if list := d.Torrents(); list[0].State != api.StateComplete || list[0].HaveBytes != 10*pieceBytes || list[1].HaveBytes != 0 {
		t.Errorf("%+v", list)
	}
	if _, err := os.ReadDir(filepath.Join(o.Mountpoint, "other")); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("a magnet that nobody has: %v, want ETIMEDOUT", err)
	}
	closeDaemon(t, d)

	o.Ephemeral = true
	o.Sources = []string{other.InfoHash().String()}
	if got := paths(open(t, o)); len(got) != 1 {
		t.Errorf("ephemeral: %q, want the source alone", got)
	}
}

// TestNamesStay: a name that was given to tell two torrents apart stays when the
// other one has gone, and so do names that had to be made safe.
func TestNamesStay(t *testing.T) {
	first, second, odd := newContent(t, "twin"), newContent(t, "twin"), newContent(t, "100%2Fodd")
	if first.InfoHash() == second.InfoHash() {
		second = newContentOf(t, "twin", 2)
	}
	o := options(t)
	d := open(t, o)
	addFile(t, d, first, "")
	shown := []string{addFile(t, d, second, "").Path, addFile(t, d, odd, "").Path}
	if shown[0] == "twin" {
		t.Fatalf("two torrents are called %q", shown[0])
	}
	if err := d.Remove(t.Context(), "twin", false); err != nil {
		t.Fatal(err)
	}
	closeDaemon(t, d)
	if got := paths(open(t, o)); !slices.Equal(got, shown) {
		t.Errorf("after a restart %q, before %q", got, shown)
	}
}

// TestRemove drops what was held, or keeps it.
func TestRemove(t *testing.T) {
	for name, keep := range map[string]bool{"Drop": false, "Keep": true} {
		t.Run(name, func(t *testing.T) {
			c := newContent(t, "gone")
			o := options(t)
			o.Peers = []string{openSeeder(t, c).Addr()}
			d := open(t, o)
			addFile(t, d, c, "")
			f, err := os.Open(filepath.Join(o.Mountpoint, "gone/file.bin"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := io.ReadFull(f, make([]byte, pieceBytes)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the piece is stored", func() bool { return d.Torrents()[0].HaveBytes > 0 })
			if err := pin(t, d, "gone"); err != nil {
				t.Fatal(err)
			}
			if err := d.Remove(t.Context(), c.InfoHash().String(), keep); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(filepath.Join(o.Mountpoint, "gone")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
			if _, err := f.ReadAt(make([]byte, 10), 9*pieceBytes); !errors.Is(err, syscall.ESTALE) {
				t.Errorf("read of a removed file: %v, want ESTALE", err)
			}
			if err := d.Remove(t.Context(), "gone", keep); !errors.Is(err, weir.ErrNotFound) {
				t.Errorf("remove again: %v", err)
			}
			addFile(t, d, c, "")
			if have := d.Torrents()[0].HaveBytes; (have > 0) != keep {
				t.Errorf("%d bytes are held after it was added again", have)
			}
		})
	}
}

// TestMove sorts torrents and folders, and finds them there after a restart.
func TestMove(t *testing.T) {
	o := options(t)
	d := open(t, o)
	addFile(t, d, newContent(t, "one"), "a/b")
	addFile(t, d, newContentOf(t, "two", 2), "a")
	for _, m := range []struct {
		from, to, at string
		err          error
	}{
		{"a/b/one", "c/d/uno", "c/d/uno", nil},
		{"c/d/uno", "a", "a/uno", nil}, // into a folder that is there
		{"a", "e/f", "e/f", nil},
		{"e/f/uno", "e/f/two", "", weir.ErrExists},
		{"e", "e/f/g", "", weir.ErrInvalid},
		{"e/f/two", "e/f/two/x/y", "", weir.ErrInvalid},
		{"nothing", "x", "", weir.ErrNotFound},
		{"", "x", "", weir.ErrInvalid},
	} {
		at, err := d.Move(t.Context(), m.from, m.to)
		if !errors.Is(err, m.err) || err == nil && at != m.at {
			t.Errorf("move %q to %q: %q, %v; want %q, %v", m.from, m.to, at, err, m.at, m.err)
		}
	}
	want := []string{"e/f/uno", "e/f/two"}
	if got := paths(d); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	closeDaemon(t, d)
	d = open(t, o)
	if got := paths(d); !slices.Equal(got, want) {
		t.Errorf("after a restart %q, want %q", got, want)
	}
	if _, err := os.Lstat(filepath.Join(o.Mountpoint, "e/f/b")); err != nil {
		t.Errorf("an empty folder that was moved: %v", err)
	}
}

// TestThroughTheMount changes the catalogue by what programs do.
func TestThroughTheMount(t *testing.T) {
	c := newContent(t, "copied")
	o := options(t)
	d := open(t, o)
	at := func(p string) string { return filepath.Join(o.Mountpoint, p) }
	steps := []error{
		os.Mkdir(at("box"), 0o755),
		os.WriteFile(at("box/x.torrent"), c.Torrent(swarmtest.Hints{}), 0o644),
		os.WriteFile(at("x.txt"), []byte("# a\n0123456789abcdef0123456789abcdef01234567\n"), 0o644),
		os.Rename(at("box/copied"), at("copy")),
		os.Remove(at("box")),
		os.Remove(at("0123456789abcdef0123456789abcdef01234567")),
	}
	for i, err := range steps {
		if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if err := os.WriteFile(at("bad.torrent"), []byte("no torrent"), 0o644); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("copied nonsense: %v, want EINVAL", err)
	}
	closeDaemon(t, d)
	if got := paths(open(t, o)); !slices.Equal(got, []string{"copy"}) {
		t.Errorf("after a restart %q", got)
	}
}

// TestByHash opens a torrent that nobody has added.
func TestByHash(t *testing.T) {
	c := newContent(t, "hashed")
	o := options(t)
	o.ByHash, o.Peers = true, []string{openSeeder(t, c).Addr()}
	open(t, o)
	wantFiles(t, filepath.Join(o.Mountpoint, "by-hash", c.InfoHash().String()), c)
}

// TestEvents tells a listener all that happens to a torrent.
func TestEvents(t *testing.T) {
	c := newContent(t, "told")
	s := openSeeder(t, c)
	o := options(t)
	o.Peers = []string{s.Addr()}
	d := open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := d.Events(ctx)
	next := func(kind api.EventKind) api.Event {
		t.Helper()
		timeout := time.After(20 * time.Second)
		for {
			select {
			case e := <-events:
				if e.Kind == kind && e.InfoHash == c.InfoHash().String() {
					return e
				}
			case <-timeout:
				t.Fatalf("no event %q", kind)
			}
		}
	}
	if _, err := d.Add(t.Context(), c.Magnet(swarmtest.Hints{}), ""); err != nil {
		t.Fatal(err)
	}
	if e := next(api.EventAdded); e.Path != "told" || e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
	if e := next(api.EventMetadata); e.SizeBytes != 10*pieceBytes {
		t.Errorf("%+v", e)
	}
	if _, err := os.ReadFile(filepath.Join(o.Mountpoint, "told/file.bin")); err != nil {
		t.Fatal(err)
	}
	for next(api.EventHave).HaveBytes != 10*pieceBytes {
	}
	if _, err := d.Move(t.Context(), "told", "retold"); err != nil {
		t.Fatal(err)
	}
	if e := next(api.EventMoved); e.Path != "retold" {
		t.Errorf("%+v", e)
	}
	if err := d.Remove(t.Context(), "retold", false); err != nil {
		t.Fatal(err)
	}
	next(api.EventRemoved)
	cancel()
	eventually(t, "the channel is closed", func() bool {
		select {
		case _, ok := <-events:
			return !ok
		default:
			return false
		}
	})
}

// TestWatch adds files of a watched folder once they are whole, also those that
// were there before; removing one changes nothing.
func TestWatch(t *testing.T) {
	before, whole, half := newContent(t, "before"), newContentOf(t, "whole", 2), newContentOf(t, "half", 3)
	o := options(t)
	dir := t.TempDir()
	o.Watch = []string{dir}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("before.torrent", before.Torrent(swarmtest.Hints{}))
	write("notes.txt", []byte(half.Magnet(swarmtest.Hints{})))
	d := open(t, o)
	count := func(n int) func() bool { return func() bool { return d.Count() == n } }
	eventually(t, "the one that was there is shown", count(1))

	b := half.Torrent(swarmtest.Hints{})
	write("half.torrent", b[:len(b)/2])
	write("whole.magnet", []byte(whole.Magnet(swarmtest.Hints{})+"\n"))
	eventually(t, "the one that is whole is shown", count(2))
	write("half.torrent", b)
	eventually(t, "the other one is shown when it is whole", count(3))
	if err := os.Remove(filepath.Join(dir, "whole.magnet")); err != nil {
		t.Fatal(err)
	}
	if got := paths(d); !slices.Equal(got, []string{"before", "whole", "half"}) {
		t.Errorf("%q", got)
	}

	o = options(t)
	o.Watch = []string{filepath.Join(dir, "missing")}
	bad := daemon.New(o)
	if err := bad.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "watch folder") {
		t.Errorf("watch a folder that is not there: %v", err)
	}
	closeDaemon(t, bad)
}
