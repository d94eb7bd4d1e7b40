package fs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

// mount mounts an FS until the test ends.
func mount(tb testing.TB, opt fs.Options, torrents ...*fs.FakeTorrent) (*fs.FS, string) {
	tb.Helper()
	if opt.Mountpoint == "" {
		opt.Mountpoint = tb.TempDir()
	}
	opt.UID, opt.GID = uint32(os.Getuid()), uint32(os.Getgid())
	f := fs.New(opt)
	for _, t := range torrents {
		if _, err := f.Add(fs.FakeName(t), t); err != nil {
			tb.Fatal(err)
		}
	}
	serve(tb, f)
	return f, opt.Mountpoint
}

// serve mounts f and serves it until the test ends.
func serve(tb testing.TB, f *fs.FS) {
	tb.Helper()
	if err := f.Mount(); err != nil {
		tb.Fatalf("these tests mount for real, and need /dev/fuse and fusermount3: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(context.Background()) }()
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
}

func film() *weir.TorrentInfo {
	return fs.FakeInfo("film", fs.FakeFile{Path: "film.mkv", Length: 3<<20 + 77}, fs.FakeFile{Path: ".pad/51", Length: 51, Padding: true},
		fs.FakeFile{Path: "extras/notes.txt", Length: 1000}, fs.FakeFile{Path: "extras/empty", Length: 0})
}

func TestMountContent(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	_, dir := mount(t, fs.Options{}, tor)

	var seen []string
	err := filepath.WalkDir(dir, func(path string, d iofs.DirEntry, err error) error {
		if path != dir {
			seen = append(seen, path[len(dir)+1:])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"film", "film/extras", "film/extras/empty", "film/extras/notes.txt", "film/film.mkv"}
	if len(seen) != len(want) {
		t.Fatalf("walk: %q, want %q", seen, want)
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Errorf("walk: %q, want %q", seen[i], want[i])
		}
	}
	for path, index := range map[string]int{"film/film.mkv": 0, "film/extras/notes.txt": 2, "film/extras/empty": 3} {
		got, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, tor.Content(index)) {
			t.Errorf("%s: content is different", path)
		}
	}

	t.Run("Attributes", func(t *testing.T) {
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(dir, "film/film.mkv"), &st); err != nil {
			t.Fatal(err)
		}
		size := int64(3<<20 + 77)
		if st.Mode != syscall.S_IFREG|0o444 || st.Size != size || st.Blocks != (size+511)/512 || st.Nlink != 1 ||
			st.Mtim.Sec != fs.FakeCreated.Unix() || st.Ctim.Sec != fs.FakeCreated.Unix() {
			t.Errorf("stat: %+v", st)
		}
		if err := syscall.Stat(filepath.Join(dir, "film"), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode != syscall.S_IFDIR|0o555 || st.Nlink != 3 || st.Blocks != 0 {
			t.Errorf("stat of the folder: %+v", st)
		}
	})
	t.Run("ReadOnly", func(t *testing.T) {
		for name, err := range map[string]error{
			"Create":   os.WriteFile(filepath.Join(dir, "film/new"), nil, 0o644),
			"Write":    os.WriteFile(filepath.Join(dir, "film/film.mkv"), nil, 0o644),
			"Mkdir":    os.Mkdir(filepath.Join(dir, "new"), 0o755),
			"Remove":   os.Remove(filepath.Join(dir, "film/film.mkv")),
			"Rename":   os.Rename(filepath.Join(dir, "film"), filepath.Join(dir, "other")),
			"Chmod":    os.Chmod(filepath.Join(dir, "film"), 0o777),
			"Setxattr": syscall.Setxattr(filepath.Join(dir, "film"), "user.x", nil, 0),
		} {
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s: %v, want EROFS", name, err)
			}
		}
	})
	t.Run("NotThere", func(t *testing.T) {
		for range 2 { // the second time from the kernel's memory
			for _, name := range []string{"film/.pad", "film/nothing", "nothing", "film/film.mkv.part"} {
				if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, syscall.ENOENT) {
					t.Errorf("stat %s: %v, want ENOENT", name, err)
				}
			}
		}
	})
	t.Run("Mmap", func(t *testing.T) {
		file, err := os.Open(filepath.Join(dir, "film/film.mkv"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		m, err := syscall.Mmap(int(file.Fd()), 0, 3<<20, syscall.PROT_READ, syscall.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Munmap(m)
		if !bytes.Equal(m, tor.Content(0)[:3<<20]) {
			t.Error("mapped content is different")
		}
	})
	t.Run("Seek", func(t *testing.T) {
		file, err := os.Open(filepath.Join(dir, "film/film.mkv"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		const seekData, seekHole = 3, 4
		if off, err := file.Seek(5, seekData); off != 5 || err != nil {
			t.Errorf("SEEK_DATA: %d, %v", off, err)
		}
		if off, err := file.Seek(5, seekHole); off != 3<<20+77 || err != nil {
			t.Errorf("SEEK_HOLE: %d, %v", off, err)
		}
		if err := file.Sync(); err != nil {
			t.Errorf("fsync: %v", err)
		}
	})
	fs.Eventually(t, "files are released", func() bool { return tor.Opened.Load() == 0 })
}

func TestMountParallelReads(t *testing.T) {
	info := fs.FakeInfo("big", fs.FakeFile{Path: "a", Length: 8 << 20}, fs.FakeFile{Path: "b", Length: 5<<20 + 3})
	tor := fs.NewFakeTorrent(info)
	tor.HoldAll(false)
	f, dir := mount(t, fs.Options{}, tor)

	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			index := i % 2
			got, err := os.ReadFile(filepath.Join(dir, "big", []string{"a", "b"}[index]))
			if err != nil {
				t.Error(err)
			} else if !bytes.Equal(got, tor.Content(index)) {
				t.Error("content is different")
			}
		})
	}
	for p := info.NumPieces() - 1; p >= 0; p-- { // from the end, so that all wait
		tor.Hold(info.PieceRange(p), true)
		f.HeldChanged(info.InfoHash, info.PieceRange(p))
	}
	wg.Wait()
}

func TestMountDirect(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	_, dir := mount(t, fs.Options{}, tor)
	file, err := os.OpenFile(filepath.Join(dir, "film/film.mkv"), os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, off := range []int64{0, 4096, 1<<20 - 7, 3 << 20} {
		b := make([]byte, 256<<10)
		n, err := file.ReadAt(b, off)
		want := tor.Content(0)[off:min(off+int64(len(b)), int64(len(tor.Content(0))))]
		if !bytes.Equal(b[:n], want) || (err != nil && err != io.EOF) {
			t.Errorf("at %d: %d bytes, %v, want %d", off, n, err, len(want))
		}
	}
}

func TestMountDeadline(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	tor.HoldAll(false)
	magnet := fs.NewFakeMagnet(fs.FakeInfo("magnet", fs.FakeFile{Path: "f", Length: 1}))
	_, dir := mount(t, fs.Options{ReadTimeout: 200 * time.Millisecond}, tor, magnet)

	if _, err := os.ReadFile(filepath.Join(dir, "film/film.mkv")); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("read: %v, want ETIMEDOUT", err)
	}
	if _, err := os.ReadDir(filepath.Join(dir, "magnet")); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("list a magnet: %v, want ETIMEDOUT", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "magnet/f")); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("look into a magnet: %v, want ETIMEDOUT", err)
	}

	t.Run("EIO", func(t *testing.T) {
		tor.Fail(weir.ErrCorrupt)
		if _, err := os.ReadFile(filepath.Join(dir, "film/film.mkv")); !errors.Is(err, syscall.EIO) {
			t.Errorf("read: %v, want EIO", err)
		}
	})
}

// The kernel repeats the request when read-ahead failed; the reader must not wait for a
// second deadline.
func TestMountDeadlineOnce(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	tor.HoldAll(false)
	const deadline = 1500 * time.Millisecond
	_, dir := mount(t, fs.Options{ReadTimeout: deadline}, tor)
	start := time.Now()
	if err := readRaw(filepath.Join(dir, "film/film.mkv"), 0); err != syscall.ETIMEDOUT {
		t.Errorf("read: %v, want ETIMEDOUT", err)
	}
	if took := time.Since(start); took < deadline || took >= 2*deadline {
		t.Errorf("took %v", took)
	}
}

func TestMountMagnet(t *testing.T) {
	magnet := fs.NewFakeMagnet(film())
	f, dir := mount(t, fs.Options{}, magnet)

	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "film" || !entries[0].IsDir() {
		t.Fatalf("list the root: %v, %v", entries, err)
	}
	before, err := os.Stat(filepath.Join(dir, "film"))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []os.DirEntry)
	go func() {
		entries, err := os.ReadDir(filepath.Join(dir, "film"))
		if err != nil {
			t.Error(err)
		}
		got <- entries
	}()
	fs.Eventually(t, "somebody waits for the metadata", func() bool { return fs.Waits(f) > 0 })
	magnet.Learn()
	if entries := <-got; len(entries) != 2 {
		t.Errorf("list the magnet: %v", entries)
	}
	fs.Eventually(t, "the folder's time and links are known", func() bool {
		after, err := os.Stat(filepath.Join(dir, "film"))
		if err != nil {
			t.Fatal(err)
		}
		st := after.Sys().(*syscall.Stat_t)
		return after.ModTime().Equal(fs.FakeCreated) && st.Nlink == 3 && st.Ino == before.Sys().(*syscall.Stat_t).Ino
	})
}

func TestMountRemove(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	other := fs.NewFakeTorrent(fs.FakeInfo("other", fs.FakeFile{Path: "f", Length: 10}))
	f, dir := mount(t, fs.Options{}, tor, other)

	file, err := os.Open(filepath.Join(dir, "film/film.mkv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	page := make([]byte, 4096)
	if _, err := file.ReadAt(page, 0); err != nil { // into the page cache
		t.Fatal(err)
	}
	tor.HoldAll(false)
	blocked := make(chan error, 1)
	go func() {
		_, err := file.ReadAt(make([]byte, 4096), 2<<20)
		blocked <- err
	}()
	fs.Eventually(t, "the read waits", func() bool { return tor.Waits.Load() > 0 })
	if err := f.Remove(film().InfoHash); err != nil {
		t.Fatal(err)
	}
	if err := <-blocked; !errors.Is(err, syscall.ESTALE) {
		t.Errorf("read that waited: %v, want ESTALE", err)
	}
	fs.Eventually(t, "cached pages are dropped", func() bool {
		_, err := file.ReadAt(page, 0)
		return errors.Is(err, syscall.ESTALE)
	})
	fs.Eventually(t, "the name is gone", func() bool {
		_, err := os.Stat(filepath.Join(dir, "film"))
		return errors.Is(err, syscall.ENOENT)
	})
	fs.Eventually(t, "the listing is new", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 1 && entries[0].Name() == "other"
	})
	if err := f.Remove(film().InfoHash); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("remove again: %v", err)
	}

	t.Run("AddAgain", func(t *testing.T) {
		again := fs.NewFakeTorrent(film())
		if shown, err := f.Add("film", again); shown != "film" || err != nil {
			t.Fatalf("add: %q, %v", shown, err)
		}
		fs.Eventually(t, "it is listed", func() bool {
			entries, err := os.ReadDir(dir)
			return err == nil && len(entries) == 2
		})
		got, err := os.ReadFile(filepath.Join(dir, "film/extras/notes.txt"))
		if err != nil || !bytes.Equal(got, again.Content(2)) {
			t.Errorf("read: %v", err)
		}
		if _, err := file.ReadAt(make([]byte, 10), 1<<20); !errors.Is(err, syscall.ESTALE) {
			t.Errorf("read of the old file: %v, want ESTALE", err)
		}
	})
}

func TestMountHeldChanged(t *testing.T) {
	info := film()
	tor := fs.NewFakeTorrent(info)
	tor.HoldAll(false)
	f, dir := mount(t, fs.Options{}, tor)
	path := filepath.Join(dir, "film/film.mkv")
	blocks := func() int64 {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	if got := blocks(); got != 1 { // programs take none for a hole
		t.Errorf("blocks at first: %d", got)
	}
	for p, want := range []int64{FakeBlocks, 2 * FakeBlocks} {
		tor.Hold(info.PieceRange(p), true)
		f.HeldChanged(info.InfoHash, info.PieceRange(p))
		fs.Eventually(t, "blocks are counted anew", func() bool { return blocks() == want })
	}
	tor.HoldAll(false)
	f.HeldChanged(info.InfoHash, weir.Range{End: info.Length})
	fs.Eventually(t, "evicted blocks are gone", func() bool { return blocks() == 1 })
}

// FakeBlocks is how many 512-byte blocks a piece has.
const FakeBlocks = fs.FakePiece / 512

func TestMountStatfs(t *testing.T) {
	info := film()
	tor := fs.NewFakeTorrent(info)
	tor.HoldAll(false)
	tor.Hold(weir.Range{End: 1 << 20}, true)
	_, dir := mount(t, fs.Options{}, tor)
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	blocks := (uint64(info.Length) + 4095) / 4096
	if st.Bsize != 4096 || st.Frsize != 4096 || st.Blocks != blocks || st.Bfree != blocks-256 || st.Bavail != st.Bfree ||
		st.Namelen != 255 || st.Files == 0 {
		t.Errorf("statfs: %+v", st)
	}
}

func TestMountXattrs(t *testing.T) {
	_, dir := mount(t, fs.Options{Version: "1.2.3", Control: "/run/weir.sock"}, fs.NewFakeTorrent(film()))
	for _, tt := range []struct{ path, name, want string }{
		{"", "user.weir.version", "1.2.3"},
		{"", "user.weir.control", "/run/weir.sock"},
		{"", "user.weir.torrents", "1"},
		{"film/film.mkv", "user.weir.state", "warm"},
		{"film", "user.weir.infohash", film().InfoHash.String()},
		{"film", "user.weir.path", "film"},
		{"film", "user.weir.size", "3146805"},
		{"film/extras/notes.txt", "user.weir.path", "extras/notes.txt"},
		{"film/extras/notes.txt", "user.weir.have", "1000"},
		{"film/film.mkv", "user.weir.pieces", "13/13"},
	} {
		buf := make([]byte, 200)
		n, err := syscall.Getxattr(filepath.Join(dir, tt.path), tt.name, buf)
		if err != nil || string(buf[:n]) != tt.want {
			t.Errorf("%s of %q: %q, %v, want %q", tt.name, tt.path, buf[:max(n, 0)], err, tt.want)
		}
		if n, err := syscall.Getxattr(filepath.Join(dir, tt.path), tt.name, nil); n != len(tt.want) || err != nil {
			t.Errorf("length of %s of %q: %d, %v", tt.name, tt.path, n, err)
		}
		if _, err := syscall.Getxattr(filepath.Join(dir, tt.path), tt.name, buf[:1]); len(tt.want) > 1 && err != syscall.ERANGE {
			t.Errorf("short %s of %q: %v, want ERANGE", tt.name, tt.path, err)
		}
	}
	if _, err := syscall.Getxattr(filepath.Join(dir, "film"), "user.other", nil); err != syscall.ENODATA {
		t.Errorf("unknown: %v, want ENODATA", err)
	}
	buf := make([]byte, 500)
	n, err := syscall.Listxattr(filepath.Join(dir, "film/extras"), buf)
	want := "user.weir.infohash\x00user.weir.path\x00"
	if err != nil || string(buf[:n]) != want {
		t.Errorf("list: %q, %v", buf[:max(n, 0)], err)
	}
}
