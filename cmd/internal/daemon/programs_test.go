package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/reader"
)

func TestPrograms(t *testing.T) {
	t.Run("Ourselves", func(t *testing.T) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		p := programs{proc: "/proc"}
		names := p.names(uint32(syscall.Gettid()), time.Now())
		if !slices.Contains(names, filepath.Base(exe)) || len(names) != 2 {
			t.Errorf("names %q of a thread of %s", names, exe)
		}
	})
	proc := t.TempDir()
	process := func(id, leader int, comm, exe string) {
		dir := filepath.Join(proc, strconv.Itoa(id))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"comm": comm + "\n", "status": "Name:\t" + comm + "\nTgid:\t" + strconv.Itoa(leader) + "\nPid:\t1\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if exe != "" {
			if err := os.Remove(filepath.Join(dir, "exe")); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := os.Symlink(exe, filepath.Join(dir, "exe")); err != nil {
				t.Fatal(err)
			}
		}
	}
	process(10, 10, "tracker-miner-f", "/usr/libexec/tracker-miner-fs-3 (deleted)")
	process(11, 10, "pool-worker", "/usr/libexec/tracker-miner-fs-3")
	process(12, 12, "kernel-thread", "")
	p := programs{proc: proc}
	now := time.Unix(1, 0)
	for tid, want := range map[uint32][]string{
		10: {"tracker-miner-fs-3", "tracker-miner-f"},
		11: {"tracker-miner-fs-3", "tracker-miner-f"}, // the main thread's, not its own
		12: {"kernel-thread"},
		13: nil,
	} {
		if got := p.names(tid, now); !slices.Equal(got, want) {
			t.Errorf("thread %d: %q, want %q", tid, got, want)
		}
	}
	process(10, 10, "cat", "/bin/cat")
	if got := p.names(10, now.Add(programTime/2)); !slices.Contains(got, "tracker-miner-fs-3") {
		t.Errorf("%q, want what was found just now", got)
	}
	if got := p.names(10, now.Add(programTime)); !slices.Contains(got, "cat") {
		t.Errorf("%q, want the program that has the id now", got)
	}
	for tid := range uint32(3 * maxPrograms) {
		p.names(1000+tid, now)
	}
	if len(p.known) > maxPrograms {
		t.Errorf("%d programs are remembered", len(p.known))
	}
}

func TestRestrictedPrograms(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	quiet, err := reader.ParseRestricted(filepath.Base(exe))
	if err != nil {
		t.Fatal(err)
	}
	info := &weir.TorrentInfo{PieceLength: 1, Length: 1, Files: []weir.FileInfo{{Path: []string{"a"}, Length: 1}}}
	r := newReaders(0, quiet)
	c, err := cache.Open(cache.Options{Dir: t.TempDir(), LimitBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files := reader.NewTorrent(c, swarm{}, r.budget)
	if _, err := r.open(files, info, 0, fs.Opener{PID: uint32(os.Getpid())}); !errors.Is(err, weir.ErrRefused) {
		t.Errorf("a program that is refused opens a file: %v", err)
	}
	if f, err := newReaders(0, nil).open(files, info, 0, fs.Opener{PID: uint32(os.Getpid())}); err != nil {
		t.Error(err)
	} else if err := f.Close(); err != nil {
		t.Error(err)
	}
	files.Close()
}
