package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

// locateFiles are files whose names the mount can't show as they are, and links.
var locateFiles = []fs.FakeFile{
	0:  {Path: "a", Length: 1},
	1:  {Path: "a", Length: 2}, // shown as a~3: the folder is a
	2:  {Path: "a/b.txt", Length: 3},
	3:  {Path: "a/b.txt", Length: 4},
	4:  {Path: "caf\xe9", Length: 5},
	5:  {Path: "50%/x", Length: 6},
	6:  {Path: "%2F", Length: 7},
	7:  {Path: "pad", Length: 8, Padding: true},
	8:  {Path: "z/lib", Link: "a"},
	9:  {Path: "z/deep/up", Link: "."},
	10: {Path: "z/second", Link: "z/lib/b.txt"},
	11: {Path: "loop", Link: "loop"},
	12: {Path: "gone", Link: "nowhere"},
	13: {Path: "~/" + strings.Repeat("n", 300), Length: 9},
}

// TestLocate finds what the mount shows by the names that it shows, and what a path
// through links leads to; nothing by another name.
func TestLocate(t *testing.T) {
	tor := fs.NewFakeTorrent(fs.FakeInfo("t", locateFiles...))
	f, mnt := mount(t, fs.Options{}, tor)
	all := []int{0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13}
	for _, tt := range []struct {
		path, at string
		files    []int
	}{
		{"", "", all},
		{"a~2", "a~2", []int{0}},
		{"a~3", "a~3", []int{1}},
		{"a", "a", []int{2, 3}},
		{"a/b.txt", "a/b.txt", []int{2}},
		{"a/b~2.txt", "a/b~2.txt", []int{3}},
		{"/a/b~2.txt/", "a/b~2.txt", []int{3}},
		{"caf%E9", "caf%E9", []int{4}},
		{"50%", "50%", []int{5}},
		{"%252F", "%252F", []int{6}},
		{"z/lib", "a", []int{2, 3}},
		{"z/lib/b~2.txt", "a/b~2.txt", []int{3}},
		{"z/deep/up", "", all},
		{"z/deep/up/z/lib/b.txt", "a/b.txt", []int{2}},
		{"z/second", "a/b.txt", []int{2}},
		{"z", "z", []int{8, 9, 10}},
	} {
		got, err := f.Locate(tor.InfoHash(), tt.path)
		if err != nil || got.Path != tt.at || !reflect.DeepEqual(got.Files, tt.files) {
			t.Errorf("%q: %+v, %v, want %q and %v", tt.path, got, err, tt.at, tt.files)
		}
	}
	for _, path := range []string{"b", "a/c", "a~4", "a/b.txt/c", "caf\xe9", "%2F", "50%25", "pad", "loop", "gone", "a//b.txt", "..", "a/..", strings.Repeat("n", 300)} {
		if got, err := f.Locate(tor.InfoHash(), path); !errors.Is(err, weir.ErrNotFound) {
			t.Errorf("%q: %+v, %v, want ErrNotFound", path, got, err)
		}
	}
	// What is listed is found, and is what is read there.
	seen := 0
	err := filepath.WalkDir(filepath.Join(mnt, "t"), func(name string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		seen++
		path := strings.TrimPrefix(name, filepath.Join(mnt, "t")+"/")
		st, err := e.Info()
		if err != nil {
			return err
		}
		got, err := f.Locate(tor.InfoHash(), path)
		if err != nil || got.Path != path || len(got.Files) != 1 || locateFiles[got.Files[0]].Length != st.Size() {
			t.Errorf("%q is listed with %d bytes: %+v, %v", path, st.Size(), got, err)
		}
		return nil
	})
	if err != nil || seen != 8 {
		t.Errorf("%d files are listed, %v", seen, err)
	}
	if got, err := f.Locate(weir.InfoHash{1}, ""); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("a torrent that isn't there: %+v, %v", got, err)
	}
	magnet := fs.NewFakeMagnet(fs.FakeInfo("m", fs.FakeFile{Path: "f", Length: 1}))
	if _, err := f.Add("m", magnet); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Locate(magnet.InfoHash(), "f"); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("a magnet without metadata: %+v, %v", got, err)
	}
}
