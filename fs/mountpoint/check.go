package mountpoint

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weirfs/weir"
)

// CheckDevice returns an error if this machine can't mount anything.
func CheckDevice() error { return checkDevice("/dev/fuse") }

func checkDevice(device string) error {
	dev, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case err == nil:
		dev.Close()
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("open %s: the kernel's FUSE is not there: run modprobe fuse; in a container, start it with --device %s --cap-add SYS_ADMIN: %w", device, device, err)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("open %s: this container may not use it: start it with --device %s --cap-add SYS_ADMIN: %w", device, device, err)
	case errors.Is(err, os.ErrPermission): // the helper opens it with its caller's rights
		return fmt.Errorf("open %s: you may not use it: run chmod 666 %s as root, as it is on most systems, or join the group that may (ls -l %s): %w", device, device, device, err)
	}
	// Other errors are reported when the helper runs.
	if _, err := exec.LookPath(helper); err != nil {
		return errNoHelper
	}
	return nil
}

// Check makes sure that something can be mounted at dir, and returns it as the kernel will
// list it. Every error says what to do. It unmounts what a crashed weir left there.
func Check(dir string, allowNonEmpty bool) (point string, err error) {
	point, err = resolvePoint(dir)
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

// ClearStale unmounts what a crashed weir left at dir, if anything. The error is weir.ErrExists
// if something else is mounted there, such as a live weir.
func ClearStale(dir string) error {
	point, err := resolvePoint(dir)
	if err != nil {
		return pointError(dir, err)
	}
	return clearStale(point)
}

// clearStale unmounts what a crashed weir left at point, and refuses a point
// where anything else is mounted.
func clearStale(point string) error {
	for range 8 { // mounts may be stacked
		e, ok, err := readMountAt(point)
		if err != nil {
			return fmt.Errorf("mountpoint %s: %w", point, err)
		}
		if !ok {
			return nil
		}
		if e.fsType != fileSystemType {
			return weir.Errorf(weir.ErrExists, "mountpoint %s: %s of type %s is mounted there: choose another directory", point, e.source, e.fsType)
		}
		switch err := probe(point); {
		case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ECONNABORTED):
			if err := callHelper(context.Background(), point, true); err != nil {
				return fmt.Errorf("clean up the mount of a crashed weir: %w", err)
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return weir.Errorf(weir.ErrExists, "mountpoint %s: a weir is mounted there and does not answer; if it is stuck, end it and mount again", point)
		default:
			return weir.Errorf(weir.ErrExists, "mountpoint %s: a weir is mounted there: unmount it with: weir umount %q", point, point)
		}
	}
	return weir.Errorf(weir.ErrExists, "mountpoint %s: too many mounts are stacked there: unmount them", point)
}

// OthersAllowed reports whether this user may let others use a mount.
func OthersAllowed() bool { return os.Geteuid() == 0 || othersAllowed("/etc/fuse.conf") }

// othersAllowed reports whether the helper's configuration allows that.
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

// resolvePoint returns dir absolute and without links, as the kernel lists it. It makes no
// request to what is mounted there, which may be dead or never answer.
func resolvePoint(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("mountpoint %s: %w", dir, err)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fmt.Errorf("mountpoint %s: %w", dir, err)
	}
	point := filepath.Join(parent, filepath.Base(abs))
	if _, ok, err := readMountAt(point); ok || err != nil {
		return point, err
	}
	info, err := os.Lstat(point)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(point)
		if err != nil {
			return "", fmt.Errorf("mountpoint %s: %w", dir, err)
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(parent, to)
		}
		// The target may itself be a link or a mount.
		return resolvePoint(to)
	}
	return point, nil
}

// probeTimeout is how long a mount may take to answer.
const probeTimeout = 3 * time.Second

// probe checks whether the mount at point answers. It uses statfs, since the kernel can answer
// other calls from its memory even if weir is dead.
func probe(point string) error {
	answer := make(chan error, 1)
	go func() {
		var st syscall.Statfs_t
		answer <- syscall.Statfs(point, &st)
	}()
	select {
	case err := <-answer:
		return err
	case <-time.After(probeTimeout):
		return os.ErrDeadlineExceeded
	}
}
