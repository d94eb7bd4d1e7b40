package fs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirfs/weir/fs"
)

// Symbolic links and executable files are what they are in the torrent.
func TestSymlinks(t *testing.T) {
	info := fs.FakeInfo("tools",
		fs.FakeFile{Path: "bin/run", Length: 1000, Executable: true},
		fs.FakeFile{Path: "bin/now", Link: "bin/run"},
		fs.FakeFile{Path: "lib/v1/a.so", Length: 2000},
		fs.FakeFile{Path: "lib/v1/up", Link: "bin/run"},
		fs.FakeFile{Path: "lib/v1/top", Link: "."},
		fs.FakeFile{Path: "lib/v1/here", Link: "lib/v1"},
		fs.FakeFile{Path: "lib/v1/above", Link: "lib"},
		fs.FakeFile{Path: "lib/current", Link: "lib/v1"},
		fs.FakeFile{Path: "a.so", Link: "lib/current/a.so"},
		fs.FakeFile{Path: "gone", Link: "nowhere/\x00/100%25"},
		fs.FakeFile{Path: "odd\x00dir/f", Length: 10},
		fs.FakeFile{Path: "odd", Link: "odd\x00dir/f"},
		fs.FakeFile{Path: "n%2500", Length: 20}, // shown as n%252500
		fs.FakeFile{Path: "second", Link: "twice/b"},
		fs.FakeFile{Path: "twice", Length: 1}, // a file and a folder
		fs.FakeFile{Path: "twice/b", Length: 2},
		fs.FakeFile{Path: "loop", Link: "loop"},
	)
	tor := fs.NewFakeTorrent(info)
	_, mnt := mount(t, fs.Options{}, tor)
	dir := filepath.Join(mnt, "tools")
	for name, want := range map[string]string{
		"bin/now": "run", "lib/v1/up": "../../bin/run", "lib/v1/top": "../..", "lib/v1/here": ".", "lib/v1/above": "..", "lib/current": "v1",
		"a.so": "lib/current/a.so", "gone": "nowhere/%00/100%2525", "odd": "odd%00dir/f", "second": "twice/b", "loop": "loop",
	} {
		got, err := os.Readlink(filepath.Join(dir, name))
		if err != nil || got != want {
			t.Errorf("%s leads to %q, %v, want %q", name, got, err, want)
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(dir, name), &st); err != nil || st.Mode != syscall.S_IFLNK|0o777 || st.Size != int64(len(want)) || st.Nlink != 1 || st.Blocks != 0 {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
	for name, index := range map[string]int{"bin/now": 0, "lib/v1/up": 0, "a.so": 2, "odd": 10, "second": 15, "lib/v1/top/lib/current/here/a.so": 2} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(b, tor.Content(index)) {
			t.Errorf("read through %s: %d bytes, %v", name, len(b), err)
		}
	}
	for name, want := range map[string]os.FileMode{"bin/run": 0o555, "lib/v1/a.so": 0o444} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, st, err, want)
		}
	}
	// As programs list, copy and pack them.
	to := t.TempDir()
	out := mustShell(t, dir, `find . -type l | wc -l; find . -type f -perm -111; test -x bin/now; cp -a bin lib a.so "`+to+`"; cd "`+to+`"; stat -c '%A %N' bin/run bin/now lib/current; cmp a.so lib/v1/a.so`)
	if want := "11\n./bin/run\n-r-xr-xr-x 'bin/run'\nlrwxrwxrwx 'bin/now' -> 'run'\nlrwxrwxrwx 'lib/current' -> 'v1'\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
	if out, err := shell(dir, "cat loop gone"); err == nil || !strings.Contains(out, "Too many levels") || !strings.Contains(out, "No such file") {
		t.Errorf("a loop, and a link to nothing: %q, %v", out, err)
	}
}
