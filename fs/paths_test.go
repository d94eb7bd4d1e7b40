package fs_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
	weirfs "github.com/weirfs/weir/fs"
)

// TestPathsAreTheMount compares everything that Paths finds with what the mount shows.
func TestPathsAreTheMount(t *testing.T) {
	ctx := t.Context()
	tor := weirfs.NewFakeTorrent(weirfs.FakeInfo("t", locateFiles...))
	f, mnt := mount(t, weirfs.Options{}, tor)
	other := weirfs.NewFakeTorrent(weirfs.FakeInfo("single", weirfs.FakeFile{Path: "one", Length: 3}))
	if _, err := f.AddAt("films/old", "single", other); err != nil {
		t.Fatal(err)
	}
	paths := f.Paths()
	files := 0
	var walk func(dir weirfs.Node)
	walk = func(dir weirfs.Node) {
		nodes, err := paths.List(ctx, dir)
		if err != nil {
			t.Fatalf("list %q: %v", dir.Path, err)
		}
		var got, want []string
		for _, n := range nodes {
			got = append(got, n.Name())
			st, err := os.Stat(filepath.Join(mnt, n.Path))
			switch {
			case err != nil:
				t.Errorf("%q is not in the mount: %v", n.Path, err)
				continue
			case st.IsDir() != n.Folder, !n.Folder && st.Size() != n.Length, !st.ModTime().Equal(n.Time.Truncate(time.Nanosecond)):
				t.Errorf("%q: folder %v, %d bytes, %v; the mount says %v, %d, %v", n.Path, n.Folder, n.Length, n.Time, st.IsDir(), st.Size(), st.ModTime())
			}
			found, err := paths.Find(ctx, n.Path)
			if err != nil || found.File != n.File || found.Torrent != n.Torrent || found.Length != n.Length {
				t.Errorf("find %q: %+v, %v; listed as %+v", n.Path, found, err, n)
			}
			st, _ = os.Lstat(filepath.Join(mnt, n.Path))
			if n.Folder && st.Mode()&fs.ModeSymlink == 0 {
				walk(n)
			}
			if !n.Folder {
				files++
			}
		}
		entries, err := os.ReadDir(filepath.Join(mnt, dir.Path))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if _, err := os.Stat(filepath.Join(mnt, dir.Path, e.Name())); err == nil { // links to nowhere are left out
				want = append(want, e.Name())
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q lists %q, the mount %q", dir.Path, got, want)
		}
	}
	root, err := paths.Find(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	walk(root)
	if files < 10 {
		t.Errorf("only %d files were compared", files)
	}
	for _, path := range []string{"nothing", "films/nothing", "t/nothing", "t/a/b.txt/c", "t/loop", "t/gone", "/", "films//old"} {
		if n, err := paths.Find(ctx, path); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("find %q: %+v, %v", path, n, err)
		}
	}
}

// TestPathsRead opens and reads by path, without a mount.
func TestPathsRead(t *testing.T) {
	f := weirfs.New(weirfs.Options{})
	tor := weirfs.NewFakeTorrent(weirfs.FakeInfo("t", weirfs.FakeFile{Path: "d/a", Length: 3 * weirfs.FakePiece}))
	tor.HoldAll(false)
	if _, err := f.Add("t", tor); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	n, err := f.Paths().Find(t.Context(), "t/d/a")
	if err != nil {
		t.Fatal(err)
	}
	file, err := f.Paths().Open(n, weirfs.Opener{Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if hs := f.Handles(); len(hs) != 1 || hs[0].Path != "t/d/a" || hs[0].Program != "test" {
		t.Errorf("open files: %+v", hs)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	b := make([]byte, 1000)
	if err := file.ReadAt(ctx, b, weirfs.FakePiece-500); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read of what is not held: %v", err)
	}
	tor.HoldAll(true)
	if err := file.ReadAt(t.Context(), b, weirfs.FakePiece-500); err != nil || !slices.Equal(b, tor.Content(0)[weirfs.FakePiece-500:][:1000]) {
		t.Errorf("read: %v, or wrong bytes", err)
	}
	if err := f.Remove(tor.InfoHash()); err != nil {
		t.Fatal(err)
	}
	if err := file.ReadAt(t.Context(), b, 0); !errors.Is(err, weir.ErrRemoved) {
		t.Errorf("a read after the torrent was removed: %v", err)
	}
	file.Close()
	if n := tor.Opened.Load(); n != 0 {
		t.Errorf("%d files are open after Close", n)
	}
}
