package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// patience is for what happens at once on a machine that has nothing else to do.
const patience = 20 * time.Second

// eventually fails the test unless ok becomes true.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-timeout:
			tb.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// runWeir runs the built command to its end and returns its exit code and output.
func runWeir(tb testing.TB, args ...string) (code int, stdout, stderr string) {
	tb.Helper()
	return ends(tb, exec.Command(weirtest.Binary(), args...))
}

// ends runs a command to its end.
func ends(tb testing.TB, cmd *exec.Cmd) (code int, stdout, stderr string) {
	tb.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// alive reports whether a process runs. One that has ended may be listed for a
// while, until whoever adopted it asks for its exit code.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

// isMounted reports whether something is mounted at dir, dead or not.
func isMounted(tb testing.TB, dir string) bool {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Contains(string(b), " "+dir+" ")
}

// detached mounts in the background and returns the process. The test's end
// unmounts.
func detached(tb testing.TB, dir string, args ...string) int {
	tb.Helper()
	mnt := filepath.Join(dir, "mnt")
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		tb.Fatal(err)
	}
	args = append([]string{"mount", "--detach", "--log-file=" + filepath.Join(dir, "log"), mnt}, args...)
	code, stdout, stderr := runWeir(tb, args...)
	if code != 0 {
		tb.Fatalf("exit code %d: %s", code, stderr)
	}
	m := regexp.MustCompile(`^mounted on .* by process (\d+), log in `).FindStringSubmatch(stdout)
	if m == nil {
		tb.Fatalf("weir mount --detach said %q", stdout)
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
		eventually(tb, "the weir in the background has ended", func() bool { return !alive(pid) })
		_ = exec.Command("fusermount3", "-u", "-z", "-q", mnt).Run()
	})
	return pid
}

func TestDetach(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	dir := t.TempDir()
	mnt := filepath.Join(dir, "mnt")
	pid := detached(t, dir, flags(dir, "--peer="+p.seeder.Addr(), p.torrent)...)
	wantSum(t, filepath.Join(mnt, "sample", "sub", "one.bin"), p.sum(t, 1))
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != "/" {
		t.Errorf("its working folder is %s (%v), want /", cwd, err)
	}
	if code, _, stderr := runWeir(t, "umount", mnt); code != 0 {
		t.Fatalf("umount: exit code %d: %s", code, stderr)
	}
	if alive(pid) {
		t.Error("weir umount has returned, and weir still runs")
	}

	// What was read is stored: it is there without the seeder.
	detached(t, dir, flags(dir, "--read-timeout=1s", p.torrent)...)
	wantSum(t, filepath.Join(mnt, "sample", "sub", "one.bin"), p.sum(t, 1))
}

func TestDetachFails(t *testing.T) {
	dir := t.TempDir()
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		source string
		more   string
		code   int
		want   string
	}{
		"Source": {"missing.torrent", "--listen=127.0.0.1:0", 1, "missing.torrent"},
		"Listen": {"magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567", "--listen=192.0.2.1:1", 1, "192.0.2.1"},
		"Flag":   {"missing.torrent", "--cache-size=much", 2, "want a size"},
		"Log":    {"missing.torrent", "--log-file=/proc/weir/log", 1, "--log-file"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runWeir(t, "mount", "-d", "--log-file="+filepath.Join(dir, "log"), "--cache="+filepath.Join(dir, "cache"), c.more, mnt, c.source)
			if code != c.code || !strings.Contains(stderr, c.want) || stdout != "" {
				t.Errorf("exit code %d, said %q and %q; want code %d and %q", code, stdout, stderr, c.code, c.want)
			}
			if isMounted(t, mnt) {
				t.Error("something is mounted")
			}
		})
	}
}

// TestGuard kills weir and looks what becomes of its mount.
func TestGuard(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	t.Run("Clears", func(t *testing.T) {
		dir := t.TempDir()
		m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
		f, err := os.Open(m.Path("sample")) // a user doesn't keep the mount there
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m.Kill(t)
		eventually(t, "the mount is gone", func() bool { return !isMounted(t, m.Dir) })
		if names, err := os.ReadDir(m.Dir); err != nil || len(names) != 0 {
			t.Errorf("the mountpoint has %v, %v", names, err)
		}
	})
	t.Run("Not asked for", func(t *testing.T) {
		dir := t.TempDir()
		m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--auto-unmount=false", p.torrent)...)
		if guards := guardsOf(t, m.Dir); len(guards) != 0 {
			t.Errorf("processes %v guard the mount", guards)
		}
		m.Kill(t)
		if !isMounted(t, m.Dir) {
			t.Error("the mount is gone")
		}
	})
	t.Run("Ends with weir", func(t *testing.T) {
		dir := t.TempDir()
		m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
		guards := guardsOf(t, m.Dir)
		if len(guards) != 1 {
			t.Fatalf("processes %v guard the mount, want one", guards)
		}
		m.Signal(t, syscall.SIGINT)
		if err := m.Wait(t); err != nil {
			t.Error(err)
		}
		if guards := guardsOf(t, m.Dir); len(guards) != 0 {
			t.Errorf("processes %v still guard the mount", guards)
		}
	})
	// A weir that follows at once is not hit by its predecessor's guard.
	t.Run("Followed", func(t *testing.T) {
		dir := t.TempDir()
		mnt := filepath.Join(dir, "mnt")
		for range 3 {
			m := weirtest.Start(t, mnt, flags(dir, p.torrent)...)
			before := guardsOf(t, mnt)
			m.Kill(t)
			m = weirtest.Start(t, mnt, flags(dir, p.torrent)...)
			eventually(t, "the guard has gone", func() bool {
				for _, pid := range before {
					if alive(pid) {
						return false
					}
				}
				return true
			})
			if _, err := os.Stat(m.Path("sample", "big.bin")); err != nil {
				t.Fatalf("the mount of the weir that followed: %v", err)
			}
			m.Unmount(t)
		}
	})
}

// guardsOf returns the processes that guard a mount.
func guardsOf(tb testing.TB, mnt string) []int {
	tb.Helper()
	var pids []int
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range procs {
		b, _ := os.ReadFile(p) // it may have gone
		if string(b) == "weir\x00guard\x00"+mnt+"\x00" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			if err != nil {
				tb.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestTermWithOpenFile ends weir while a program has a file open and reads none
// of it: the program gets a second, then the mount is taken away.
func TestTermWithOpenFile(t *testing.T) {
	p := seedSample(t, 4<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
	f, err := os.Open(m.Path("sample", "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begin := time.Now()
	m.Signal(t, syscall.SIGTERM)
	if err := m.Wait(t); err != nil {
		t.Errorf("weir ended with %v", err)
	}
	t.Logf("ended after %v", time.Since(begin))
	if isMounted(t, m.Dir) {
		t.Error("it is still mounted")
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a read after the end succeeded")
	}
}

// TestSecondSignal doesn't wait for programs that use the mount.
func TestSecondSignal(t *testing.T) {
	p := seedSample(t, 4<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
	f, err := os.Open(m.Path("sample", "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.Signal(t, syscall.SIGINT)
	eventually(t, "weir has begun to end", func() bool { return strings.Contains(m.Log(), "a second signal ends weir at once") })
	m.Signal(t, syscall.SIGINT)
	err = m.Wait(t)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailure {
		t.Errorf("weir ended with %v, want exit code 1", err)
	}
	if !strings.Contains(m.Log(), "weir: ended by a second signal") {
		t.Errorf("weir said %s", m.Log())
	}
	eventually(t, "the mount is gone", func() bool { return !isMounted(t, m.Dir) })
	// The cache was not closed in order, and serves the next one all the same.
	m = weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--peer="+p.seeder.Addr(), p.torrent)...)
	wantSum(t, m.Path("sample", "sub", "one.bin"), p.sum(t, 1))
	m.Unmount(t)
}

// TestSignalEcho sends one signal twice at once, as timeout(1) does. It is taken
// for one: programs that use the mount get their second, and nothing is forced.
func TestSignalEcho(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
	f, err := os.Open(m.Path("sample", "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.Signal(t, syscall.SIGTERM)
	m.Signal(t, syscall.SIGTERM)
	if err := m.Wait(t); err != nil {
		t.Errorf("weir ended with %v: %s", err, m.Log())
	}
	if isMounted(t, m.Dir) {
		t.Error("it is still mounted")
	}
}
