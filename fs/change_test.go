package fs_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
)

// fakeHost makes the changes that it is asked for, and records them. A file whose content is
// "bad" is refused; any other becomes a torrent of its name.
type fakeHost struct {
	fs        *fs.FS
	wholeName bool // torrents are named like their files, extension and all

	mu   sync.Mutex
	done []string
}

func (h *fakeHost) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, fmt.Sprintf(format, args...))
}

// take returns what was done since the last time.
func (h *fakeHost) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := h.done
	h.done = nil
	return done
}

func (h *fakeHost) AddFile(_ context.Context, dir, name string, content []byte) error {
	h.note("add %s/%s %d", dir, name, len(content))
	if string(content) == "bad" {
		return fmt.Errorf("torrent %s: %w", name, weir.ErrInvalid)
	}
	shown := name
	if !h.wholeName {
		shown = strings.TrimSuffix(name, filepath.Ext(name))
	}
	_, err := h.fs.AddAt(dir, shown, fs.NewFakeTorrent(small(shown)))
	return err
}

func (h *fakeHost) RemoveTorrent(_ context.Context, ih weir.InfoHash) error {
	h.note("remove")
	return h.fs.Remove(ih)
}

func (h *fakeHost) MoveTorrent(_ context.Context, ih weir.InfoHash, dir, name string) error {
	h.note("move to %s/%s", dir, name)
	_, err := h.fs.Move(ih, dir, name)
	return err
}

func (h *fakeHost) MakeFolder(_ context.Context, dir string) error {
	h.note("mkdir %s", dir)
	return h.fs.MakeFolder(dir)
}

func (h *fakeHost) RemoveFolder(_ context.Context, dir string) error {
	h.note("rmdir %s", dir)
	return h.fs.RemoveFolder(dir)
}

func (h *fakeHost) MoveFolder(_ context.Context, from, to string) error {
	h.note("mv %s %s", from, to)
	return h.fs.MoveFolder(from, to)
}

func (h *fakeHost) ByHash(ctx context.Context, ih weir.InfoHash) error {
	switch ih {
	case small("found").InfoHash:
		h.note("by hash")
		_, err := h.fs.AddAt("", "found", fs.NewFakeTorrent(small("found")))
		return err
	case small("slow").InfoHash:
		<-ctx.Done()
		return ctx.Err()
	}
	return fmt.Errorf("by hash: %w", weir.ErrNotFound)
}

func small(name string) *weir.TorrentInfo {
	return fs.FakeInfo(name, fs.FakeFile{Path: "a", Length: 1000}, fs.FakeFile{Path: "d/b", Length: 10}, fs.FakeFile{Path: "d/c", Length: 10})
}

// mountHost mounts a tree that a fakeHost changes.
func mountHost(t *testing.T, torrents ...*fs.FakeTorrent) (*fakeHost, string) {
	t.Helper()
	h := &fakeHost{}
	h.fs = fs.New(fs.Options{Mountpoint: t.TempDir(), Host: h, ByHash: true, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	for _, tor := range torrents {
		if _, err := h.fs.Add(fs.FakeName(tor), tor); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, h.fs)
	return h, fs.Point(h.fs)
}

// shell runs a script in dir and returns what it prints.
func shell(dir, script string) (string, error) {
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// refused reports whether an error says that something may not be changed: EROFS from weir,
// or EACCES from the kernel, which checks users other than root first.
func refused(out string) bool {
	return strings.Contains(out, "Read-only file system") || strings.Contains(out, "Permission denied")
}

func mustShell(t *testing.T, dir, script string) string {
	t.Helper()
	out, err := shell(dir, script)
	if err != nil {
		t.Fatalf("%s: %v, %s", script, err, out)
	}
	return out
}

func (h *fakeHost) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := h.take(); !slices.Equal(got, want) {
		t.Errorf("the host was asked to %q, want %q", got, want)
	}
}

func TestCopyIn(t *testing.T) {
	h, dir := mountHost(t)
	from := t.TempDir()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // many writes
	for name, content := range map[string][]byte{"big.torrent": big, "Bad.TORRENT": []byte("bad"), "plain.pdf": []byte("x")} {
		if err := os.WriteFile(filepath.Join(from, name), content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	list := func() string { return mustShell(t, dir, "ls") }
	mustShell(t, from, "cp big.torrent "+dir)
	h.expect(t, "add /big.torrent 1048576")
	if got := list(); got != "big\nby-hash\n" {
		t.Errorf("after cp: %q", got)
	}
	mustShell(t, dir, "mkdir linux && cp -p "+from+"/big.torrent linux/other.torrent && ls linux/other")
	h.expect(t, "mkdir linux", "add linux/other.torrent 1048576")
	mustShell(t, dir, "echo magnet:?x > m.txt && ls -d m") // the shell closes a copy of the descriptor before it writes
	h.expect(t, "add /m.txt 10")
	mustShell(t, dir, "echo magnet:?x > m.txt; ls -d m") // there already: no error
	h.expect(t, "add /m.txt 10")
	mustShell(t, dir, "cp "+from+"/big.torrent .part.torrent.Xy12 && mv .part.torrent.Xy12 renamed.torrent && ls -d renamed")
	h.expect(t, "add /renamed.torrent 1048576")
	mustShell(t, dir, "cp "+from+"/big.torrent gone.torrent.part && rm gone.torrent.part && touch empty.torrent")
	h.expect(t)

	out, err := shell(from, "cp Bad.TORRENT "+dir)
	if err == nil || !strings.Contains(out, "Invalid argument") {
		t.Errorf("refused content: %q, %v", out, err)
	}
	h.expect(t, "add /Bad.TORRENT 3")
	for _, script := range []string{"cp plain.pdf " + dir, "cp big.torrent " + dir + "/big/", "cp big.torrent " + dir + "/by-hash/"} {
		if out, err := shell(from, script); err == nil || !refused(out) {
			t.Errorf("%s: %q, %v", script, out, err)
		}
	}
	h.expect(t)
	fs.Eventually(t, "no file is left", func() bool { return list() == "big\nby-hash\nlinux\nm\nrenamed\n" })
}

func TestCopyTooMuch(t *testing.T) {
	_, dir := mountHost(t)
	file, err := os.Create(filepath.Join(dir, "x.torrent"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(64<<20 + 1); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("truncate: %v, want EFBIG", err)
	}
	if _, err := file.WriteAt([]byte("x"), 64<<20); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("write: %v, want EFBIG", err)
	}
	if err := file.Truncate(64 << 20); err != nil {
		t.Errorf("as much as there may be: %v", err)
	}
	if err := file.Truncate(0); err != nil {
		t.Errorf("and nothing: %v", err)
	}
}

func TestFoldersThroughMount(t *testing.T) {
	one, two := fs.NewFakeTorrent(small("one")), fs.NewFakeTorrent(small("two"))
	h, dir := mountHost(t, one, two)
	mustShell(t, dir, "mkdir -p linux/debian && mv one linux/debian/ && mv two linux/zwei && cat linux/debian/one/a > /dev/null")
	h.expect(t, "mkdir linux", "mkdir linux/debian", "move to linux/debian/one", "move to linux/zwei")
	if got := mustShell(t, dir, "find . -type d | sort; cd linux/debian/one/d/.. && pwd -P"); got != strings.Join([]string{
		".", "./by-hash", "./linux", "./linux/debian", "./linux/debian/one", "./linux/debian/one/d", "./linux/zwei", "./linux/zwei/d", dir + "/linux/debian/one\n"}, "\n") {
		t.Errorf("found %s", got)
	}
	mustShell(t, dir, "mv linux unix && ls unix/zwei/a")
	h.expect(t, "mv linux unix")
	for script, want := range map[string]string{
		"rmdir unix": "not empty", "mkdir unix": "exists", "mkdir by-hash": "exists", "mkdir .Trash-0": "Read-only", "mkdir unix/zwei/x": "Read-only",
		"mv unix/zwei/a .": "Read-only", "mv by-hash b": "Read-only", "rmdir nothing": "No such", "ln -s a b": "Read-only",
		"chmod 700 unix": "Read-only", "touch unix/zwei/a": "Read-only", "mv -T unix/zwei unix/debian": "exists",
	} {
		out, err := shell(dir, script)
		if err == nil || !strings.Contains(out, want) && (want != "Read-only" || !refused(out)) {
			t.Errorf("%s: %q, %v", script, out, err)
		}
	}
	h.expect(t)
	mustShell(t, dir, "mv unix/zwei unix/.z") // torrents may have such names
	h.expect(t, "move to unix/.z")
	mustShell(t, dir, "rmdir unix/debian/one unix/debian")
	h.expect(t, "remove", "rmdir unix/debian")
	mustShell(t, dir, "mkdir empty && rm -r unix empty && ls")
	if got := mustShell(t, dir, "ls"); got != "by-hash\n" {
		t.Errorf("left: %q", got)
	}
	if out := mustShell(t, dir, "df --output=pcent . && stat -f -c %a ."); strings.Contains(out, "\n0\n") {
		t.Errorf("no room: %s", out)
	}
}

func TestRemoveRecursive(t *testing.T) {
	h, dir := mountHost(t, fs.NewFakeTorrent(small("one")), fs.NewFakeTorrent(small("two")), fs.NewFakeTorrent(fs.FakeMany("many", 20, 100, 10)))
	mustShell(t, dir, "rm -r one && rm -rf many")
	h.expect(t, "remove", "remove")
	if got := mustShell(t, dir, "ls"); got != "by-hash\ntwo\n" {
		t.Errorf("left: %q", got)
	}
	// A file or a folder of a torrent that is removed alone comes back; the torrent stays.
	if got := mustShell(t, dir, "rm two/a; rm -r two/d; ls two; ls two/a two/d 2>&1; true"); strings.Count(got, "No such file") != 2 || strings.HasPrefix(got, "d") {
		t.Errorf("hidden: %q", got)
	}
	if out, err := shell(dir, "rm two/a"); err == nil {
		t.Errorf("removed twice: %s", out)
	}
	h.expect(t)
	fs.RestoreRemoved(h.fs, time.Now().Add(time.Hour))
	fs.Eventually(t, "all is back", func() bool {
		out, _ := shell(dir, "ls two two/d")
		return out == "two:\na\nd\n\ntwo/d:\nb\nc\n"
	})
	if out, err := shell(dir, "rmdir two/d"); err == nil || !strings.Contains(out, "not empty") {
		t.Errorf("rmdir of a folder in a torrent: %q, %v", out, err)
	}
	mustShell(t, dir, "rmdir two")
	h.expect(t, "remove")
}

func TestByHash(t *testing.T) {
	one := fs.NewFakeTorrent(small("one"))
	h, dir := mountHost(t, one)
	hash := func(name string) string { return small(name).InfoHash.String() }
	if got := mustShell(t, dir, "ls by-hash"); got != hash("one")+"\n" {
		t.Errorf("listed: %q", got)
	}
	for range 2 {
		if got := mustShell(t, dir, "readlink by-hash/"+hash("found")+"; ls by-hash/"+hash("found")+"/"); got != "../found\na\nd\n" {
			t.Errorf("found: %q", got)
		}
	}
	h.expect(t, "by hash")
	mustShell(t, dir, "mkdir x && mv one x && cat by-hash/"+hash("one")+"/a > /dev/null && ls by-hash/"+strings.ToUpper(hash("one"))+"/a")
	for _, name := range []string{"readme", hash("nothing"), strings.Repeat("g", 40)} {
		if _, err := os.Stat(filepath.Join(dir, "by-hash", name)); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%s: %v, want ENOENT", name, err)
		}
	}
	took, err := interrupted(t, func() bool { return fs.Waits(h.fs) > 0 }, func() error {
		return syscall.Stat(filepath.Join(dir, "by-hash", hash("slow")), new(syscall.Stat_t))
	})
	if err != syscall.EINTR {
		t.Errorf("interrupted after %v: %v, want EINTR", took, err)
	}
	if out, err := shell(dir, "rm by-hash/"+hash("one")); err == nil || !refused(out) {
		t.Errorf("rm of a link: %q, %v", out, err)
	}
	if err := h.fs.Remove(one.InfoHash()); err != nil {
		t.Fatal(err)
	}
	fs.Eventually(t, "its link is gone", func() bool {
		_, err := os.Lstat(filepath.Join(dir, "by-hash", hash("one")))
		return errors.Is(err, syscall.ENOENT)
	})
}

// Files that are open, and the folder that a program works in, outlive a move.
func TestMoveKeepsWhatIsOpen(t *testing.T) {
	one := fs.NewFakeTorrent(small("one"))
	h, dir := mountHost(t, one)
	file, err := os.Open(filepath.Join(dir, "one/a"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cwd, err := unix.Open(filepath.Join(dir, "one/d"), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(cwd)
	if shown, err := h.fs.Move(one.InfoHash(), "far/away", ""); shown != "one" || err != nil {
		t.Fatalf("move: %q, %v", shown, err)
	}
	fs.Eventually(t, "the old name is gone", func() bool {
		_, err := os.Lstat(filepath.Join(dir, "one"))
		return errors.Is(err, syscall.ENOENT)
	})
	if b, err := os.ReadFile(filepath.Join(dir, "far/away/one/a")); err != nil || !bytes.Equal(b, one.Content(0)) {
		t.Errorf("read at the new place: %v", err)
	}
	var there, open unix.Stat_t
	if err := errors.Join(unix.Stat(filepath.Join(dir, "far/away/one/a"), &there), unix.Fstat(int(file.Fd()), &open)); err != nil || there.Ino != open.Ino {
		t.Errorf("inodes %d and %d, %v", there.Ino, open.Ino, err)
	}
	if err := unix.Fstatat(cwd, "b", &there, 0); err != nil {
		t.Errorf("in the folder that is open: %v", err)
	}
	want := []fs.HandleInfo{{Torrent: one.InfoHash(), Path: "far/away/one/a"}}
	got := h.fs.Handles()
	if len(got) != 1 || got[0].Torrent != want[0].Torrent || got[0].Path != want[0].Path || got[0].PID == 0 || time.Since(got[0].Opened) > time.Hour {
		t.Errorf("handles: %+v", got)
	}
}

func TestWaitingTells(t *testing.T) {
	one := fs.NewFakeTorrent(fs.FakeInfo("one", fs.FakeFile{Path: "d/film", Length: 3 << 20}))
	one.HoldAll(false)
	f, dir := mount(t, fs.Options{}, one)
	ended := make(chan error)
	go func() { ended <- readRaw(filepath.Join(dir, "one/d/film"), syscall.O_DIRECT) }()
	fs.Eventually(t, "it waits", func() bool { return len(f.Waiting()) == 1 && one.Waits.Load() == 1 })
	w := f.Waiting()[0]
	if w.Torrent != sha1.Sum([]byte("one")) || w.Path != "one/d/film" || w.Range != (weir.Range{End: 1 << 16}) || w.PID == 0 || w.Since.IsZero() {
		t.Errorf("waits: %+v", w)
	}
	one.HoldAll(true)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRefusedOpener(t *testing.T) {
	one := fs.NewFakeTorrent(small("one"))
	_, dir := mount(t, fs.Options{}, one)
	one.Refuse(fmt.Errorf("thumbnailer: %w", weir.ErrRefused))
	if _, err := os.Open(filepath.Join(dir, "one/a")); !errors.Is(err, syscall.EACCES) {
		t.Errorf("open: %v, want EACCES", err)
	}
	if by := one.OpenedBy(); by.PID == 0 || by.UID != uint32(os.Getuid()) {
		t.Errorf("opened by %+v", by)
	}
}
