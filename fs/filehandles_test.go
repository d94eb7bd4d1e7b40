package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/fs"
)

// Handles of files and folders open them after weir was started again, as an NFS
// server needs it.
func TestHandles(t *testing.T) {
	needRoot(t) // CAP_DAC_READ_SEARCH
	tor := fs.NewFakeTorrent(fs.FakeInfo("film", fs.FakeFile{Path: "film.mkv", Length: 3 << 20}, fs.FakeFile{Path: "extras/deep/notes.txt", Length: 1000},
		fs.FakeFile{Path: "link", Link: "film.mkv"}))
	gone, magnet := fs.NewFakeTorrent(small("gone")), fs.NewFakeMagnet(small("magnet"))
	start := func(torrents ...*fs.FakeTorrent) (*fs.FS, string, int) {
		t.Helper()
		f := fs.New(fs.Options{Mountpoint: t.TempDir(), ByHash: true})
		for _, tor := range torrents {
			if _, err := f.AddAt("a/b", fs.FakeName(tor), tor); err != nil {
				t.Fatal(err)
			}
		}
		serve(t, f)
		dir := fs.Point(f)
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return f, dir, fd
	}
	names := []string{".", "a", "a/b", "a/b/film", "a/b/film/film.mkv", "a/b/film/extras", "a/b/film/extras/deep", "a/b/film/extras/deep/notes.txt",
		"a/b/film/link", "a/b/magnet", "by-hash", "by-hash/" + tor.InfoHash().String()}
	f, dir, fd := start(tor, gone, magnet)
	handleOf := func(name string) unix.FileHandle {
		t.Helper()
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(dir, name), 0)
		if err != nil {
			t.Fatalf("handle of %s: %v", name, err)
		}
		return h
	}
	handles := map[string]unix.FileHandle{}
	inodes := map[string]uint64{}
	for _, name := range names {
		handles[name] = handleOf(name)
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		inodes[name] = st.Ino
	}
	goneHandle := handleOf("a/b/gone/d/b")
	unix.Close(fd)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	_, _, fd = start(tor, magnet)
	defer unix.Close(fd)
	for i := range names { // the deepest first, when nothing above is known
		name := names[len(names)-1-i]
		got, err := unix.OpenByHandleAt(fd, handles[name], unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			t.Errorf("%s by its handle: %v", name, err)
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(got, &st); err != nil || st.Ino != inodes[name] {
			t.Errorf("%s by its handle: inode %d, %v, want %d", name, st.Ino, err, inodes[name])
		}
		unix.Close(got)
	}
	got, err := unix.OpenByHandleAt(fd, handles["a/b/film/extras/deep/notes.txt"], unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(got), "notes.txt")
	b := make([]byte, 1000)
	if _, err := file.ReadAt(b, 0); err != nil || string(b) != string(tor.Content(1)) {
		t.Errorf("read by a handle: %v", err)
	}
	file.Close()
	// A folder is connected with those above it.
	got, err = unix.OpenByHandleAt(fd, handles["a/b/film/extras/deep"], unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(got)
	var up unix.Stat_t
	if err := unix.Fstatat(got, "../../film.mkv", &up, 0); err != nil || up.Ino != inodes["a/b/film/film.mkv"] {
		t.Errorf("up from a folder: inode %d, %v", up.Ino, err)
	}
	if _, err := unix.OpenByHandleAt(fd, goneHandle, unix.O_RDONLY); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("of a torrent that is gone: %v, want ESTALE", err)
	}
}
