package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// noNewPrivs reports whether all threads of a process have given up to gain rights,
// which is what can be seen of the sandbox from outside.
func noNewPrivs(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of %d: %v", pid, err)
	}
	for _, thread := range threads {
		if b, err := os.ReadFile(thread); err == nil && !strings.Contains(string(b), "NoNewPrivs:\t1") {
			return false
		}
	}
	return true
}

// TestSandbox uses all that changes a mount while weir has given up its rights, and
// ends it in each way.
func TestSandbox(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	other, err := swarmtest.NewContent(swarmtest.ContentOptions{Name: "watched", PieceLength: pieceBytes, Files: []swarmtest.File{{Path: []string{"x"}, Length: 1000, Seed: 9}}})
	if err != nil {
		t.Fatal(err)
	}
	start := func(t *testing.T, more ...string) (*weirtest.Mount, string) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "watch"), 0o700); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"--peer=" + p.seeder.Addr(), "--watch=" + filepath.Join(dir, "watch")}, more...)
		return weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, append(args, p.torrent)...)...), dir
	}
	t.Run("Commands", func(t *testing.T) {
		m, dir := start(t)
		if !noNewPrivs(t, m.PID()) {
			t.Fatal("weir runs without a sandbox")
		}
		if err := os.WriteFile(filepath.Join(dir, "watch", "w.torrent"), other.Torrent(swarmtest.Hints{}), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the watched torrent is there", func() bool { _, err := os.Stat(m.Path("watched")); return err == nil })
		cache := "--cache=" + filepath.Join(dir, "cache")
		for _, args := range [][]string{
			{"fetch", m.Path("sample")}, {"pin", m.Path("sample", "sub")}, {"unpin", m.Path("sample")}, {"evict", m.Path("sample")},
			{"mv", m.Path("sample"), m.Path("moved")}, {"rm", m.Path("watched")}, {"add", "--into", "in", m.Dir, p.torrent},
			{"cache", "resize", cache, "32MiB"}, {"cache", "verify", cache}, {"cache", "clear", cache}, {"status", m.Path("moved")}, {"ls", m.Dir},
		} {
			if code, stdout, stderr := runWeir(t, args...); code != 0 {
				t.Errorf("weir %s: exit code %d: %s%s", strings.Join(args, " "), code, stdout, stderr)
			}
		}
		wantSum(t, m.Path("moved", "big.bin"), p.sum(t, 0))
		m.Unmount(t)
	})
	t.Run("Term", func(t *testing.T) {
		m, _ := start(t)
		m.Signal(t, syscall.SIGTERM)
		if err := m.Wait(t); err != nil {
			t.Errorf("weir ended: %v", err)
		}
		if isMounted(t, m.Dir) {
			t.Error("it is still mounted")
		}
	})
	t.Run("Killed", func(t *testing.T) {
		m, _ := start(t)
		m.Kill(t)
		eventually(t, "the guard has unmounted", func() bool { return !isMounted(t, m.Dir) })
	})
	t.Run("Off", func(t *testing.T) {
		m, _ := start(t, "--sandbox=false")
		if noNewPrivs(t, m.PID()) {
			t.Error("--sandbox=false has no effect")
		}
		m.Unmount(t)
	})
}
