package fs_test

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/fs/mountpoint"
)

// interruptTime is how long an interrupted call may take. weir aims at 100 ms; this
// allows for a loaded machine and still tells it from the deadline.
const interruptTime = 30 * time.Second

// interrupted runs call on a thread of its own, waits until it blocks, sends the
// thread a signal that the program handles, and returns how long the call took
// to return from then, and what.
func interrupted(t *testing.T, blocks func() bool, call func() error) (time.Duration, error) {
	t.Helper()
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGINT)
	defer signal.Stop(ch)
	tid, ended := make(chan int, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		ended <- call()
	}()
	thread := <-tid
	fs.Eventually(t, "the call waits", blocks)
	start := time.Now()
	if err := unix.Tgkill(os.Getpid(), thread, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		return time.Since(start), err
	case <-time.After(interruptTime):
		t.Fatal("the call does not end")
		return 0, nil
	}
}

func TestInterrupt(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	tor.HoldAll(false)
	magnet := fs.NewFakeMagnet(fs.FakeInfo("magnet", fs.FakeFile{Path: "f", Length: 1}))
	f, dir := mount(t, fs.Options{}, tor, magnet)
	readWaits := func() bool { return tor.Waits.Load() > 0 }
	for _, tt := range []struct {
		name   string
		blocks func() bool
		call   func() error
	}{
		{"Read", readWaits, func() error { return readRaw(filepath.Join(dir, "film/film.mkv"), 0) }},
		{"ReadDirect", readWaits, func() error { return readRaw(filepath.Join(dir, "film/film.mkv"), syscall.O_DIRECT) }},
		{"Lookup", func() bool { return fs.Waits(f) > 0 }, func() error {
			return syscall.Stat(filepath.Join(dir, "magnet/f"), new(syscall.Stat_t))
		}},
		{"OpenDir", func() bool { return fs.Waits(f) > 0 }, func() error {
			fd, err := syscall.Open(filepath.Join(dir, "magnet"), syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
			if err == nil {
				syscall.Close(fd)
			}
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			took, err := interrupted(t, tt.blocks, tt.call)
			t.Logf("ended after %v", took)
			if err != syscall.EINTR {
				t.Errorf("error %v, want EINTR", err)
			}
			fs.Eventually(t, "nobody waits", func() bool { return fs.Waits(f) == 0 && tor.Waits.Load() == 0 })
		})
	}
}

// Signals whose handler restarts the call, such as those of Go's scheduler, end nothing; one
// that ends the call follows.
func TestInterruptInPassing(t *testing.T) {
	const rounds = 10
	magnets := make([]*fs.FakeTorrent, rounds)
	for i := range magnets {
		magnets[i] = fs.NewFakeMagnet(fs.FakeInfo("magnet"+strconv.Itoa(i), fs.FakeFile{Path: "f", Length: 1}))
	}
	f, dir := mount(t, fs.Options{}, magnets...)
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGINT)
	defer signal.Stop(ch)
	for i, m := range magnets {
		tid, ended := make(chan int, 1), make(chan error, 1)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tid <- unix.Gettid()
			ended <- syscall.Stat(filepath.Join(dir, "magnet"+strconv.Itoa(i), "f"), new(syscall.Stat_t))
		}()
		thread := <-tid
		send := func(sig syscall.Signal) {
			if err := unix.Tgkill(os.Getpid(), thread, sig); err != nil {
				t.Fatal(err)
			}
		}
		fs.Eventually(t, "the call waits", func() bool { return fs.Waits(f) > 0 })
		send(syscall.SIGURG)
		send(syscall.SIGWINCH)
		fs.Eventually(t, "the kernel has sent an interrupt", func() bool {
			stat, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(thread) + "/stat")
			return err != nil || bytes.Contains(stat, []byte(") D ")) // an error: the call is over
		})
		if _, err := os.ReadDir(dir); err != nil { // a request behind the interrupt
			t.Fatal(err)
		}
		want := error(syscall.EINTR)
		if i%2 == 0 {
			m.Learn()
			want = nil
		} else {
			send(syscall.SIGINT)
		}
		select {
		case err := <-ended:
			if err != want && (err != nil || want != nil) {
				t.Errorf("round %d: %v, want %v", i, err, want)
			}
		case <-time.After(interruptTime):
			t.Fatal("the call does not end")
		}
		fs.Eventually(t, "nobody waits", func() bool { return fs.Waits(f) == 0 })
	}
}

// A signal at the very moment at which the kernel sends the request reaches weir
// while another goroutine has yet to note the request as one that waits.
func TestInterruptAtOnce(t *testing.T) {
	f, dir := mount(t, fs.Options{}, fs.NewFakeMagnet(fs.FakeInfo("magnet", fs.FakeFile{Path: "f", Length: 1})))
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGINT)
	defer signal.Stop(ch)
	magnet := filepath.Join(dir, "magnet")
	for sent, end := 0, time.Now().Add(2*interruptTime); sent < 300; {
		if time.Now().After(end) {
			t.Fatalf("only %d calls were interrupted", sent)
		}
		if signalOnceItWaits(t, func() error {
			fd, err := syscall.Open(magnet, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
			if err == nil {
				syscall.Close(fd)
			}
			return err
		}) {
			sent++
		}
	}
	fs.Eventually(t, "nobody waits", func() bool { return fs.Waits(f) == 0 })
}

// signalOnceItWaits runs call on a thread of its own and signals that as soon as
// the kernel says that it waits for an answer. It returns false if the call was
// over before.
func signalOnceItWaits(t *testing.T, call func() error) bool {
	t.Helper()
	tid, ended := make(chan int, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		ended <- call()
	}()
	thread, end := <-tid, time.Now().Add(interruptTime)
	over := func(err error) {
		if err != syscall.EINTR {
			t.Fatalf("%v, want EINTR", err)
		}
	}
	for {
		// An error says that the thread is gone, so the call is over.
		wchan, _ := os.ReadFile("/proc/self/task/" + strconv.Itoa(thread) + "/wchan")
		if string(wchan) == "request_wait_answer" {
			break
		}
		select {
		case err := <-ended:
			over(err)
			return false
		default: // no rest: the moment is what this is about
		}
		if time.Now().After(end) {
			t.Fatal("the call neither waits nor ends")
		}
	}
	if err := unix.Tgkill(os.Getpid(), thread, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		over(err)
	case <-time.After(interruptTime):
		t.Fatal("the interrupt was lost")
	}
	return true
}

// readRaw reads once, without the retry that package os makes.
func readRaw(path string, flags int) error {
	fd, err := syscall.Open(path, syscall.O_RDONLY|flags, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	buf, err := syscall.Mmap(-1, 0, 1<<16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil { // aligned, for direct reads
		return err
	}
	defer syscall.Munmap(buf)
	_, err = syscall.Read(fd, buf)
	return err
}

func TestKilledReader(t *testing.T) {
	tor := fs.NewFakeTorrent(film())
	tor.HoldAll(false)
	f, dir := mount(t, fs.Options{}, tor)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		child := fs.StartChild(t, "read", filepath.Join(dir, "film/film.mkv"))
		fs.Eventually(t, "the child waits", func() bool { return tor.Waits.Load() > 0 })
		start := time.Now()
		if err := child.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		child.Wait()
		t.Logf("%v: ended after %v", sig, time.Since(start))
		fs.Eventually(t, "nobody wants anything any more", func() bool { return fs.Waits(f) == 0 && tor.Waits.Load() == 0 })
		t.Logf("%v: wanted nothing after %v", sig, time.Since(start))
		fs.Eventually(t, "its files are closed", func() bool { return tor.Opened.Load() == 0 })
	}
	if err := mountpoint.Unmount(t.Context(), dir, false); err != nil {
		t.Errorf("unmount after that: %v", err)
	}
}

// Many reads that hang must not delay anything else.
func TestHangingReads(t *testing.T) {
	tor := fs.NewFakeTorrent(fs.FakeMany("hang", 1, 100, 2*fs.FakePiece))
	tor.HoldAll(false)
	here := fs.NewFakeTorrent(film())
	f, dir := mount(t, fs.Options{}, tor, here)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := os.ReadFile(filepath.Join(dir, "hang/folder-0000", tor.Info().Files[i].Path[1])); err == nil {
				t.Error("a read worked")
			}
		})
	}
	fs.Eventually(t, "all wait", func() bool { return tor.Waits.Load() >= 100 })
	if b, err := os.ReadFile(filepath.Join(dir, "film/film.mkv")); err != nil || !bytes.Equal(b, here.Content(0)) {
		t.Fatalf("read what is here: %v", err)
	}
	var slowest time.Duration
	for range 200 {
		start := time.Now()
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(dir, "film/extras/notes.txt"), &st); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadDir(filepath.Join(dir, "film")); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Statfs(dir, new(syscall.Statfs_t)); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Getxattr(filepath.Join(dir, "film"), "user.weir.have", make([]byte, 99)); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("slowest of 200 rounds: %v", slowest)
	if slowest > interruptTime {
		t.Errorf("slowest round: %v", slowest)
	}
	if err := f.Remove(tor.InfoHash()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

func TestDiskUsage(t *testing.T) {
	tor := fs.NewFakeTorrent(fs.FakeMany("many", 10, 10, 100000))
	tor.HoldAll(false)
	tor.Hold(tor.Info().PieceRange(0), true)
	_, dir := mount(t, fs.Options{}, tor)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-s", "--apparent-size", "--block-size=1"}, "10000000\t"},
		{[]string{"-s", "--block-size=512"}, "611\t"}, // the piece has 512; the two files that it ends in are rounded up, and 97 more have one each
	} {
		out, err := exec.Command("du", append(tt.args, dir)...).Output()
		if err != nil || !bytes.HasPrefix(out, []byte(tt.want)) {
			t.Errorf("du %v: %q, %v, want %q", tt.args, out, err, tt.want)
		}
	}
}

// A file in the mount works as the disk of a loop device.
func TestLoopDevice(t *testing.T) {
	const getFree, setFd, clearFd, setStatus64 = 0x4C82, 0x4C00, 0x4C01, 0x4C04
	tor := fs.NewFakeTorrent(fs.FakeInfo("disk", fs.FakeFile{Path: "disk.img", Length: 4 << 20}))
	_, dir := mount(t, fs.Options{}, tor)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("NOT TESTED, this machine lets us have no loop device: %v", err)
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), getFree)
	if err != nil {
		t.Skipf("NOT TESTED, this machine lets us have no loop device: %v", err)
	}
	device, err := os.Open("/dev/loop" + string(rune('0'+n%10)))
	if err != nil || n > 9 {
		t.Skipf("NOT TESTED, this machine lets us have no loop device %d: %v", n, err)
	}
	defer device.Close()
	image, err := os.Open(filepath.Join(dir, "disk/disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetInt(int(device.Fd()), setFd, int(image.Fd())); err != nil {
		t.Fatal(err)
	}
	image.Close()
	defer unix.IoctlSetInt(int(device.Fd()), clearFd, 0)
	info := unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, device.Fd(), setStatus64, uintptr(unsafe.Pointer(&info))); errno != 0 {
		t.Fatal(errno)
	}
	got := make([]byte, 4<<20)
	if _, err := device.ReadAt(got, 0); err != nil || !bytes.Equal(got, tor.Content(0)) {
		t.Errorf("the loop device has different content: %v", err)
	}
}
