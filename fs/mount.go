package fs

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
)

var errNoHelper = errors.New("no " + helper + " in PATH: install it, on Debian with: apt-get install fuse3")

// How many requests the kernel may have under way that no program waits for by
// name, which is what most reads are. Reads that hang must not use them up, or
// held content of other files could not be read. Beyond the second figure the
// kernel reads no further ahead than it must.
const (
	maxBackground       = 2048
	congestionThreshold = 512
)

// Mount checks that mounting can work, mounts, and begins to answer the kernel:
// when it returns, the mount can be used. Call Serve then, or Close. Every error
// says what to do about it. A mount that a crashed weir left behind is cleaned up
// first.
func (f *FS) Mount() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("mount %s: %w", f.opt.Mountpoint, weir.ErrClosed)
	}
	if f.conn != nil {
		return fmt.Errorf("mount %s: mounted before: %w", f.opt.Mountpoint, weir.ErrExists)
	}
	if err := CheckHost(); err != nil {
		return err
	}
	point, err := checkPoint(f.opt.Mountpoint, f.opt.AllowNonEmpty)
	if err != nil {
		return err
	}
	if f.opt.AllowOther && os.Geteuid() != 0 && !othersAllowed("/etc/fuse.conf") {
		return fmt.Errorf("mount %s: allowing other users needs a line user_allow_other in /etc/fuse.conf", point)
	}
	options := []fuse.MountOption{
		fuse.FSName(cmp.Or(f.opt.Source, "weir")), fuse.Subtype("weir"), fuse.DefaultPermissions(), fuse.AsyncRead(),
		fuse.MaxReadahead(uint32(max(DefaultReadAheadKB, f.opt.ReadAheadKB)) << 10),
		fuse.MaxBackground(maxBackground), fuse.CongestionThreshold(congestionThreshold),
	}
	if export := exportSupport(); export != nil {
		options = append(options, export)
	}
	if f.opt.Host == nil {
		options = append(options, fuse.ReadOnly())
	}
	if f.opt.AllowOther {
		options = append(options, fuse.AllowOther())
	}
	if f.opt.AllowNonEmpty {
		options = append(options, fuse.AllowNonEmptyMount())
	}
	conn, err := fuse.Mount(point, options...)
	if err != nil {
		return fmt.Errorf("mount %s: %w", point, err)
	}
	f.conn = conn
	e, ok, err := readMountAt(point)
	if err != nil || !ok {
		f.log.Debug("find the mount in mountinfo", "err", err)
	}
	e.point = point
	f.mounted = e
	f.raiseReadAhead(e)
	f.limitDeadline()
	f.start(conn)
	f.learnNoPoll(point)
	return nil
}

// CheckHost reports what is missing for mounting anything on this machine.
func CheckHost() error { return checkHost("/dev/fuse") }

func checkHost(device string) error {
	dev, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case err == nil:
		dev.Close()
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("open %s: the kernel's FUSE is not there: run modprobe fuse; in a container, start it with --device %s --cap-add SYS_ADMIN: %w", device, device, err)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("open %s: this container may not use it: start it with --device %s --cap-add SYS_ADMIN: %w", device, device, err)
	case errors.Is(err, os.ErrPermission): // the helper opens it with its caller's rights
		return fmt.Errorf("open %s: you may not: run chmod 666 %s as root, as it is on most systems, or join the group that may (ls -l %s): %w", device, device, device, err)
	}
	// What any other error means, the helper says.
	if _, err := exec.LookPath(helper); err != nil {
		return errNoHelper
	}
	return nil
}

// CheckMountpoint makes sure that something can be mounted at dir, as Mount does
// before it mounts; every error says what to do about it. What a crashed weir left
// there is cleaned up.
func CheckMountpoint(dir string, allowNonEmpty bool) error {
	_, err := checkPoint(dir, allowNonEmpty)
	return err
}

// checkPoint returns the mountpoint as the kernel will list it, after making
// sure that something can be mounted there.
func checkPoint(dir string, allowNonEmpty bool) (string, error) {
	point, err := resolvePoint(dir)
	if err != nil {
		return "", pointError(dir, err)
	}
	if err := clearStale(point); err != nil {
		return "", err
	}
	info, err := os.Stat(point)
	if err != nil {
		return "", pointError(point, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("mountpoint %s is a file: name a directory: %w", point, syscall.ENOTDIR)
	}
	if os.Geteuid() != 0 && syscall.Access(point, 2) != nil {
		return "", fmt.Errorf("mountpoint %s: you may not write there; choose a directory of your own: %w", point, os.ErrPermission)
	}
	if allowNonEmpty {
		return point, nil
	}
	file, err := os.Open(point)
	if err != nil {
		return "", pointError(point, err)
	}
	defer file.Close()
	if names, _ := file.Readdirnames(1); len(names) > 0 {
		return "", fmt.Errorf("mountpoint %s is not empty (it holds %q): name an empty directory, or hide what is in it with --nonempty: %w", point, names[0], syscall.ENOTEMPTY)
	}
	return point, nil
}

func pointError(point string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("mountpoint %s does not exist: make it with: mkdir -p %q: %w", point, point, os.ErrNotExist)
	}
	return fmt.Errorf("mountpoint %s: %w", point, err)
}

// clearStale unmounts what a crashed weir left at point, and refuses a point
// where anything else is mounted.
func clearStale(point string) error {
	for range 8 { // mounts may lie upon each other
		e, ok, err := readMountAt(point)
		if err != nil {
			return fmt.Errorf("mountpoint %s: %w", point, err)
		}
		if !ok {
			return nil
		}
		if e.fsType != weirType {
			return fmt.Errorf("mountpoint %s: %s of type %s is mounted there: choose another directory: %w", point, e.source, e.fsType, weir.ErrExists)
		}
		switch err := probe(point); {
		case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ECONNABORTED):
			if err := unmount(context.Background(), point, true); err != nil {
				return fmt.Errorf("clean up the mount of a crashed weir: %w", err)
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("mountpoint %s: a weir is mounted there and does not answer; if it is stuck, end it and mount again: %w", point, weir.ErrExists)
		default:
			return fmt.Errorf("mountpoint %s: a weir is mounted there: unmount it with: weir umount %q: %w", point, point, weir.ErrExists)
		}
	}
	return fmt.Errorf("mountpoint %s: too many mounts upon each other: %w", point, weir.ErrExists)
}

// othersAllowed reports whether the helper's configuration lets users admit
// others.
func othersAllowed(conf string) bool {
	file, err := os.Open(conf)
	if err != nil {
		return false
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if strings.TrimSpace(s.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}

// raiseReadAhead sets the kernel's read-ahead for the mount, which its own 128
// KiB keeps at half the speed. It needs root; without, it stays as it is.
func (f *FS) raiseReadAhead(e mountEntry) {
	if f.opt.ReadAheadKB < 0 {
		return
	}
	path := filepath.Join("/sys/class/bdi", fmt.Sprintf("%d:%d", e.major, e.minor), "read_ahead_kb")
	if err := os.WriteFile(path, strconv.AppendInt(nil, int64(f.opt.ReadAheadKB), 10), 0); err != nil {
		f.log.Debug("raise the kernel's read-ahead", "err", err)
	}
}

// limitDeadline keeps the read deadline below the kernel's own, where an
// administrator has set one: a request over that ends the whole mount.
func (f *FS) limitDeadline() {
	limit := kernelTimeout(sysctl("default_request_timeout"), sysctl("max_request_timeout"))
	f.deadline = deadlineBelow(f.opt.ReadTimeout, limit)
	if f.deadline != f.opt.ReadTimeout {
		f.log.Warn("read timeout is shortened: the kernel ends mounts with longer requests",
			"asked", f.opt.ReadTimeout, "used", f.deadline, "sysctl", "fs.fuse.default_request_timeout", "limit", limit)
	}
}

// sysctl returns a setting of fs.fuse in seconds, 0 where there is none.
func sysctl(name string) time.Duration {
	b, err := os.ReadFile("/proc/sys/fs/fuse/" + name)
	if err != nil {
		return 0
	}
	s, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

// kernelTimeout returns after which time the kernel gives up on a mount that
// did not ask for a timeout; 0 means never. It is 15 s at least (fuse_init_out
// handling in Linux 6.15).
func kernelTimeout(def, most time.Duration) time.Duration {
	limit := def
	if most > 0 && (limit == 0 || limit > most) {
		limit = most
	}
	if limit == 0 {
		return 0
	}
	return max(limit, 15*time.Second)
}

// deadlineBelow returns want, or two thirds of the kernel's limit if that is
// less: the kernel looks every few seconds only, and answers take time too.
func deadlineBelow(want, limit time.Duration) time.Duration {
	if limit == 0 {
		return want
	}
	return min(want, limit*2/3)
}
