package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir/fs"
)

// A dead magnet makes programs that walk the tree wait only once, until a peer connects.
func TestLateLook(t *testing.T) {
	dead := fs.NewFakeMagnet(fs.FakeInfo("dead", fs.FakeFile{Path: "f", Length: 10}))
	f, dir := mount(t, fs.Options{ReadTimeout: 300 * time.Millisecond}, dead)
	look := func() error {
		_, err := os.ReadDir(filepath.Join(dir, "dead"))
		return err
	}
	waited := func(what string, want int32) {
		t.Helper()
		if got := dead.Looks.Swap(0); got != want {
			t.Errorf("%s: %d waits for the metadata, want %d", what, got, want)
		}
	}
	if err := look(); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("the first look: %v, want ETIMEDOUT", err)
	}
	waited("the first look", 1)
	out, err := shell(dir, "du -s . ; find . ; ls dead; stat dead/f; cat dead/f")
	if err == nil || strings.Count(out, "timed out") != 5 {
		t.Errorf("others: %q, %v", out, err)
	}
	waited("others after it", 0)
	dead.Peers.Add(1)
	if err := look(); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("when a peer came: %v, want ETIMEDOUT", err)
	}
	waited("when a peer came", 1)
	_ = look()
	waited("after it", 0)
	dead.Peers.Add(-1)
	_ = look()
	dead.Peers.Add(1) // another one
	_ = look()
	waited("when another peer came", 1)
	fs.LookAgain(f, dead)
	_ = look()
	waited("after a while", 1)
	dead.Learn()
	if err := look(); err != nil {
		t.Errorf("with metadata: %v", err)
	}
}

// A look into a magnet waits for less time than a read.
func TestLookIsShorterThanRead(t *testing.T) {
	dead := fs.NewFakeMagnet(fs.FakeInfo("dead", fs.FakeFile{Path: "f", Length: 10}))
	_, dir := mount(t, fs.Options{ReadTimeout: 90 * time.Second}, dead)
	ended := make(chan error, 1)
	go func() {
		_, err := os.ReadDir(filepath.Join(dir, "dead"))
		ended <- err
	}()
	fs.Eventually(t, "it waits", func() bool { return dead.Looks.Load() > 0 })
	if left := dead.Left(); left <= 0 || left > 30*time.Second {
		t.Errorf("a wait of %v at most, want 30 s", left)
	}
	dead.Learn()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A file's opener is the process, also when the thread that opened it has ended.
func TestOpenerIsTheProcess(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	tor.HoldAll(false)
	f, dir := mount(t, fs.Options{}, tor)
	opened := make(chan *os.File)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		file, err := os.Open(filepath.Join(dir, "film/film.mkv"))
		if err != nil {
			t.Error(err)
		}
		opened <- file
	}()
	file := <-opened
	defer file.Close()
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSpace(string(comm))
	got := f.Handles()
	if len(got) != 1 || int(got[0].PID) != os.Getpid() || got[0].Program != name {
		t.Errorf("opened by %+v, want process %d, %s", got, os.Getpid(), name)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := file.Read(make([]byte, 10))
		ended <- err
	}()
	fs.Eventually(t, "it waits", func() bool { return len(f.Waiting()) > 0 })
	for _, w := range f.Waiting() {
		if int(w.PID) != os.Getpid() || w.Program != name {
			t.Errorf("read by %+v", w)
		}
	}
	tor.HoldAll(true)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
