package background_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/internal/background"
)

// beGuard is what a guard's process does, which is this program again.
func beGuard(point string) {
	under := os.NewFile(background.GuardFD, "mountpoint")
	if err := background.RunGuard(os.Stdin, os.NewFile(background.AnswerFD, "answers"), under, point); err != nil {
		os.Exit(1)
	}
}

// guardsOf returns the guards of a folder.
func guardsOf(t *testing.T, point string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if b, _ := os.ReadFile(path); bytes.Equal(b, []byte("weir\x00"+background.GuardCommand+"\x00"+point+"\x00")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// locked reports whether somebody else has the lock of a folder.
func locked(t *testing.T, dir string) bool {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Fatal(err)
	}
	return err != nil
}

// TestStartGuard: a guard is a process with a session of its own; the folder is
// locked until it is mounted; the guard answers, and ends when it is dismissed.
func TestStartGuard(t *testing.T) {
	dir := t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	g, err := background.StartGuard(t.Context(), dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	pids := guardsOf(t, dir)
	for timeout := time.After(patience); len(pids) == 0; pids = guardsOf(t, dir) { // it is between fork and exec
		select {
		case <-timeout:
			t.Fatal("there is no guard")
		case <-time.After(time.Millisecond):
		}
	}
	if len(pids) != 1 {
		t.Fatalf("guards: %v", pids)
	}
	if sid, err := unix.Getsid(pids[0]); err != nil || sid != pids[0] {
		t.Errorf("the guard %d is in session %d, %v", pids[0], sid, err)
	}
	if !locked(t, dir) {
		t.Error("the folder isn't locked before it is mounted")
	}
	// Another one waits for the lock, and not when it is told to end.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	other, err := background.StartGuard(ended, dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if !locked(t, dir) {
		t.Error("another guard took the lock away")
	}
	other.Dismiss()
	g.Mounted()
	if locked(t, dir) {
		t.Error("the folder is locked when it is mounted")
	}
	for _, lazy := range []bool{false, true} {
		if err := g.Unmount(lazy); err != nil { // nothing is mounted, which is what was asked for
			t.Errorf("unmount, lazy %v: %v", lazy, err)
		}
	}
	g.Dismiss()
	if pids := guardsOf(t, dir); len(pids) != 0 {
		t.Errorf("guards after they were dismissed: %v", pids)
	}
	if err := g.Unmount(false); err == nil {
		t.Error("a guard that is gone has unmounted")
	}
	if _, err := background.StartGuard(t.Context(), filepath.Join(dir, "missing"), quiet); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a folder that is missing: %v", err)
	}
}
