package fs

import (
	"bytes"
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

// helper is the program that mounts and unmounts for users who may not.
const helper = "fusermount3"

// probeFor is how long a mount has to show a sign of life.
const probeFor = 3 * time.Second

// Unmount is FindMounted and Mounted.Unmount.
func Unmount(ctx context.Context, dir string, lazy bool) error {
	m, err := FindMounted(dir)
	if err != nil {
		return err
	}
	return m.Unmount(ctx, lazy)
}

// Unmounter is another process that takes a mount away, for a weir that may not any
// more. Its Unmount returns an error that wraps weir.ErrInUse while programs use it.
type Unmounter interface {
	Unmount(lazy bool) error
	Abort() error // what programs wait for fails
}

// Abort ends the connection of the weir mount at dir, of whatever process.
func Abort(dir string) error {
	point, err := resolvePoint(dir)
	if err != nil {
		return err
	}
	e, ok, err := readMountAt(point)
	if err != nil || !ok || e.fsType != weirType {
		return err
	}
	return abort(point, e)
}

// helperFor bounds one call of the helper: unmounting waits for nobody, but a file
// system on the way to the mountpoint may hang.
const helperFor = 10 * time.Second

// unmount calls the helper for a point that is a weir mount.
func unmount(ctx context.Context, point string, lazy bool) error {
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	ctx, stop := context.WithTimeout(ctx, helperFor)
	defer stop()
	cmd := exec.CommandContext(ctx, helper, append(args, "--", point)...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return errNoHelper
	}
	if ctx.Err() != nil {
		return fmt.Errorf("unmount %s: %s does not return: %w", point, helper, context.Cause(ctx))
	}
	if _, still, _ := readMountAt(point); !still {
		return nil // somebody was quicker
	}
	if who := append(kernelUsersOf(point), usersOf(point)...); len(who) > 0 {
		return fmt.Errorf("unmount %s: used by %s; end them, or see weir umount --lazy: %w", point, strings.Join(who, ", "), weir.ErrInUse)
	}
	return fmt.Errorf("unmount %s: %s", point, bytes.TrimSpace(out))
}

// resolvePoint returns dir absolute and without links, as the kernel lists it,
// without touching what is mounted there: that may be dead, or never answer.
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
		// As far as the link's target is itself a link or a mount, this goes on.
		return resolvePoint(to)
	}
	return point, nil
}

// probe asks the mount at point for a sign of life. It uses statfs, since other
// calls are answered from the kernel's memory when weir is long dead.
func probe(point string) error {
	answer := make(chan error, 1)
	go func() {
		var st syscall.Statfs_t
		answer <- syscall.Statfs(point, &st)
	}()
	select {
	case err := <-answer:
		return err
	case <-time.After(probeFor):
		return os.ErrDeadlineExceeded
	}
}

// abort ends the connection of a mount at once, whatever uses it. It needs the
// control file system, or root.
func abort(point string, e mountEntry) error {
	path := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", e.minor)
	err := os.WriteFile(path, []byte("1"), 0)
	if err == nil {
		return nil
	}
	now, ok, _ := readMountAt(point)
	if !ok || !now.same(e) {
		return err
	}
	const force = 1 // MNT_FORCE aborts even where it then fails as busy
	if ferr := syscall.Unmount(point, force); ferr != nil && ferr != syscall.EBUSY {
		return ferr
	}
	return nil
}
