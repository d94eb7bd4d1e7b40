package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// inSyscall reports whether a thread of a process is in a system call.
func inSyscall(pid, call int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, thread := range threads {
		if b, _ := os.ReadFile(thread); strings.HasPrefix(string(b), fmt.Sprint(call, " ")) {
			return true
		}
	}
	return false
}

// interruptedLs sees that a signal ends weir ls while it waits for the mount: on a
// machine that is so busy that it has given up by then, once more.
func interruptedLs(t *testing.T, dir string) {
	t.Helper()
	for range 10 {
		ls := exec.Command(weirtest.Binary(), "ls", dir)
		var stderr strings.Builder
		ls.Stderr = &stderr
		if err := ls.Start(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		eventually(t, "weir ls asks the mount, or has given up", func() bool {
			return inSyscall(ls.Process.Pid, unix.SYS_GETXATTR) || time.Since(began) > 5*time.Second
		})
		if err := ls.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		err := ls.Wait()
		switch {
		case err != nil && ls.ProcessState.ExitCode() == exitFailure && strings.Contains(stderr.String(), "interrupt"):
			return
		case ls.ProcessState.ExitCode() == -1: // it had not begun to listen to signals
		case strings.Contains(stderr.String(), "has not answered"): // that comes without a signal, and may come before it
		default:
			t.Errorf("weir ls, interrupted: %v, said %q", err, stderr.String())
			return
		}
	}
	t.Error("weir ls was not caught while it asked the mount")
}

// TestStoppedMount asks a mount whose weir is stopped: every command ends by itself
// and says what to do, and the first signal ends it before.
func TestStoppedMount(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
	place, err := api.Find(m.Dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Signal(t, syscall.SIGSTOP)

	interruptedLs(t, m.Dir)

	file := m.Path("sample", "big.bin")
	var asking sync.WaitGroup
	for _, args := range [][]string{
		{"ls", m.Dir}, {"status", file}, {"add", m.Dir, p.torrent}, {"mv", file, m.Path("x")}, {"rm", m.Path("sample")},
		{"pin", file}, {"unpin", file}, {"evict", file}, {"fetch", file}, {"top", "--count", "1", m.Dir},
		{"cache", "stat", "--cache", filepath.Join(dir, "cache")}, {"cache", "clear", "--cache", filepath.Join(dir, "cache")},
	} {
		asking.Go(func() {
			code, stdout, stderr := runWeir(t, args...)
			if code != exitFailure || !strings.Contains(stderr, "stopped or stuck") || !strings.Contains(stderr, "kill -CONT") {
				t.Errorf("weir %s: exit code %d: %s%s", strings.Join(args, " "), code, stdout, stderr)
			}
		})
	}
	// A stream that has begun ends too; what needs no answer from the mount itself
	// goes by the socket.
	asking.Go(func() {
		c := api.NewClient(place.Socket)
		defer c.Close()
		if err := c.Events(t.Context(), func(api.Event) error { return nil }); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("kill -CONT %d", m.PID())) {
			t.Errorf("events: %v", err)
		}
	})
	asking.Wait()

	m.Signal(t, syscall.SIGCONT)
	if code, _, stderr := runWeir(t, "ls", m.Dir); code != 0 {
		t.Errorf("after it was woken, weir ls: exit code %d: %s", code, stderr)
	}
	m.Unmount(t)
}
