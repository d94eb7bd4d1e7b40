package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/publish"
	"github.com/weirfs/weir/engine/publish/metainfo"
)

// write makes files of text, with the folders above them.
func write(tb testing.TB, root string, files map[string]string) {
	tb.Helper()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			tb.Fatal(err)
		}
	}
}

func symlink(tb testing.TB, target, name string) {
	tb.Helper()
	if err := os.Symlink(target, name); err != nil {
		tb.Fatal(err)
	}
}

// TestSameBytes makes a torrent twice, of the folder and of its copy.
func TestSameBytes(t *testing.T) {
	when := time.Unix(1_700_000_000, 0)
	var made [3][]byte
	for i := range made {
		root := filepath.Join(t.TempDir(), "sample")
		write(t, root, map[string]string{"a": "one", "b/c": "two", "b/d": strings.Repeat("x", 100_000)})
		for name, at := range map[string]time.Time{"a": when.Add(-time.Hour), "b/c": when, "b/d": when.Add(-time.Minute)} {
			if err := os.Chtimes(filepath.Join(root, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		torrent := publishAt(t, root, publish.Options{Details: metainfo.Details{Comment: "the same"}})
		made[i] = torrent.Metainfo
		if !torrent.Spec.Info.Created.Equal(when) {
			t.Errorf("created %v, want when the newest file was changed, %v", torrent.Spec.Info.Created, when)
		}
	}
	if !bytes.Equal(made[0], made[1]) || !bytes.Equal(made[1], made[2]) {
		t.Error("the same files make different torrents")
	}
	root := filepath.Join(t.TempDir(), "sample")
	write(t, root, map[string]string{"a": "one"})
	if torrent := publishAt(t, root, publish.Options{NoDate: true}); !torrent.Spec.Info.Created.IsZero() {
		t.Errorf("created %v, want no date", torrent.Spec.Info.Created)
	}
}

func TestLinksAndOthers(t *testing.T) {
	root := filepath.Join(t.TempDir(), "sample")
	write(t, root, map[string]string{"a": "one", "dir/b": "two"})
	alias := filepath.Join(t.TempDir(), "alias")
	symlink(t, root, alias)
	symlink(t, "../a", filepath.Join(root, "dir/up"))
	symlink(t, "nowhere", filepath.Join(root, "dir/dangling"))
	symlink(t, ".", filepath.Join(root, "itself"))
	symlink(t, filepath.Join(root, "dir"), filepath.Join(root, "absolute"))
	symlink(t, filepath.Join(alias, "dir/b"), filepath.Join(root, "by-alias"))
	symlink(t, "/etc/hostname", filepath.Join(root, "out"))
	symlink(t, "../../x", filepath.Join(root, "dir/above"))
	if err := unix.Mkfifo(filepath.Join(root, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(root, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	p, err := publish.Open(t.Context(), alias, publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, l := range p.LeftOut() {
		left = append(left, l.Path+": "+l.Why)
	}
	want := "[dir/above: it is a link to ../../x, outside of the folder out: it is a link to /etc/hostname, outside of the folder pipe: it is a pipe socket: it is a socket]"
	if got := fmt.Sprint(left); got != want {
		t.Errorf("left out %s, want %s", got, want)
	}
	made, err := p.Make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	links := map[string]string{}
	for _, f := range made.Spec.Info.Files {
		if f.Link != "" {
			links[strings.Join(f.Path, "/")] = f.Link
		}
	}
	wantLinks := map[string]string{"dir/up": "a", "dir/dangling": "dir/nowhere", "itself": ".", "absolute": "dir", "by-alias": "dir/b"}
	if fmt.Sprint(links) != fmt.Sprint(wantLinks) {
		t.Errorf("links %v, want %v", links, wantLinks)
	}
	if made.Spec.Info.Name != "alias" {
		t.Errorf("name %q, want that of the link which was given", made.Spec.Info.Name)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, root string)
		o    publish.Options
		kind error
		says string
	}{
		"NotThere": {func(*testing.T, string) {}, publish.Options{}, fs.ErrNotExist, "no such file"},
		"EmptyFolder": {func(t *testing.T, root string) {
			if err := os.Mkdir(root, 0o777); err != nil {
				t.Fatal(err)
			}
		}, publish.Options{}, weir.ErrInvalid, "not empty"},
		"EmptyFile": {func(t *testing.T, root string) { write(t, root, map[string]string{"": ""}) }, publish.Options{}, weir.ErrInvalid, "not empty"},
		"NotUTF8": {func(t *testing.T, root string) { write(t, root, map[string]string{"a": "1", "caf\xe9": "2"}) },
			publish.Options{}, weir.ErrInvalid, `"caf\xe9" is not UTF-8`},
		"Pipe": {func(t *testing.T, root string) {
			if err := unix.Mkfifo(root, 0o666); err != nil {
				t.Fatal(err)
			}
		}, publish.Options{}, weir.ErrInvalid, "is a pipe: want a file or a folder"},
		"Loop": {func(t *testing.T, root string) { symlink(t, root, root) }, publish.Options{}, nil, "too many links"},
		"Tracker": {func(t *testing.T, root string) { write(t, root, map[string]string{"a": "1"}) },
			publish.Options{Details: metainfo.Details{Trackers: []string{"ftp://x.example/"}}}, weir.ErrInvalid, "want a URL with http, https or udp"},
		"WebSeed": {func(t *testing.T, root string) { write(t, root, map[string]string{"a": "1"}) },
			publish.Options{Details: metainfo.Details{WebSeeds: []string{"x"}}}, weir.ErrInvalid, "want a URL with http or https"},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "sample")
			c.make(t, root)
			_, err := publish.Open(t.Context(), root, c.o)
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestRootHasNoName(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := publish.Open(ctx, "/", publish.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// TestWebSeedsOfFolders end in a slash, or some programs ask elsewhere (BEP 19).
func TestWebSeedsOfFolders(t *testing.T) {
	root := filepath.Join(t.TempDir(), "sample")
	write(t, root, map[string]string{"a": "1"})
	o := publish.Options{Details: metainfo.Details{WebSeeds: []string{" https://x.example/files", "https://y.example/"}}}
	if got := fmt.Sprint(publishAt(t, root, o).Spec.WebSeeds); got != "[https://x.example/files/ https://y.example/]" {
		t.Errorf("web seeds of a folder: %s", got)
	}
	if got := fmt.Sprint(publishAt(t, filepath.Join(root, "a"), o).Spec.WebSeeds); got != "[https://x.example/files https://y.example/]" {
		t.Errorf("web seeds of a file: %s", got)
	}
}

// TestChanges has files change between Open and the end of Make.
func TestChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(root string) error
		says   string
	}{
		"Longer":  {func(root string) error { return os.Truncate(filepath.Join(root, "b"), 200_000) }, "b:"},
		"Shorter": {func(root string) error { return os.Truncate(filepath.Join(root, "b"), 5) }, "b:"},
		"OtherBytesOfTheSameTime": {func(root string) error {
			name := filepath.Join(root, "b")
			st, err := os.Stat(name)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("y"), 70_000)
			return errors.Join(err, f.Close(), os.Chtimes(name, st.ModTime(), st.ModTime()))
		}, "b:"},
		"Replaced": {func(root string) error {
			return errors.Join(os.WriteFile(root+".new", bytes.Repeat([]byte("x"), 100_000), 0o666), os.Rename(root+".new", filepath.Join(root, "b")))
		}, "b:"},
		"Gone": {func(root string) error { return os.Remove(filepath.Join(root, "empty")) }, "empty is gone"},
		"New":  {func(root string) error { return os.WriteFile(filepath.Join(root, "c"), nil, 0o666) }, "c is new"},
		"OtherLink": {func(root string) error {
			return errors.Join(os.Remove(filepath.Join(root, "link")), os.Symlink("b", filepath.Join(root, "link")))
		}, "link:"},
		"Executable": {func(root string) error { return os.Chmod(filepath.Join(root, "a"), 0o777) }, "a:"},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "sample")
			write(t, root, map[string]string{"a": "one", "b": strings.Repeat("x", 100_000), "empty": ""})
			symlink(t, "a", filepath.Join(root, "link"))
			p, err := publish.Open(t.Context(), root, publish.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.change(root); err != nil {
				t.Fatal(err)
			}
			_, err = p.Make(t.Context())
			if !errors.Is(err, weir.ErrCorrupt) || !strings.Contains(err.Error(), "changed while it was being read: "+c.says) {
				t.Errorf("error %v, want one that says that %s has changed", err, c.says)
			}
		})
	}
}

// TestMakeEndsWithContext reads nothing to its end when it is cancelled.
func TestMakeEndsWithContext(t *testing.T) {
	root := filepath.Join(t.TempDir(), "sample")
	write(t, root, map[string]string{"a": "1"})
	if err := os.Truncate(filepath.Join(root, "a"), 1<<40); err != nil { // hashing that takes minutes
		t.Fatal(err)
	}
	p, err := publish.Open(t.Context(), root, publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := p.Make(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestContains(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "sample")
	write(t, root, map[string]string{"a": "1", "b/c": "2"})
	alias := filepath.Join(dir, "alias")
	symlink(t, root, alias)
	folder, err := publish.Open(t.Context(), root, publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one, err := publish.Open(t.Context(), filepath.Join(root, "a"), publish.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]bool{
		"sample/x.torrent": {true, false}, "sample/b/x.torrent": {true, false}, "alias/b/x.torrent": {true, false},
		"sample.torrent": {false, false}, "sample/a": {true, true}, "alias/a": {true, true}, "sample-2": {false, false},
	} {
		inFolder, err1 := folder.Contains(filepath.Join(dir, path))
		isFile, err2 := one.Contains(filepath.Join(dir, path))
		if err1 != nil || err2 != nil || inFolder != want[0] || isFile != want[1] {
			t.Errorf("%s: %v (%v) in the folder, %v (%v) the file, want %v", path, inFolder, err1, isFile, err2, want)
		}
	}
	if _, err := folder.Contains(filepath.Join(dir, "nowhere/x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v of a folder that is not there", err)
	}
}
