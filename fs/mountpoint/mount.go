package mountpoint

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/weirfs/weir"
)

// Mount is a mount of weir, of any process.
type Mount struct {
	entry
	copies []mountCopy // as of the last check before the unmount
}

// Find returns the mount at dir. The error is weir.ErrNotFound if nothing is mounted
// there, weir.ErrInvalid if it is not weir's.
func Find(dir string) (*Mount, error) {
	point, err := resolvePoint(dir)
	if err != nil {
		return nil, err
	}
	e, ok, err := readMountAt(point)
	switch {
	case err != nil:
		return nil, fmt.Errorf("unmount %s: %w", point, err)
	case !ok:
		return nil, weir.Errorf(weir.ErrNotFound, "unmount %s: nothing is mounted there", point)
	case e.fsType != fileSystemType:
		return nil, weir.Errorf(weir.ErrInvalid, "unmount %s: that is a mount of type %s and not of weir: use umount(8)", point, e.fsType)
	}
	return &Mount{entry: e}, nil
}

// Mounted returns what was just mounted at point, as Check returned it. With an error, the
// kernel's list can't be read or lacks it, and the Mount only has its point.
func Mounted(point string) (*Mount, error) {
	e, ok, err := readMountAt(point)
	if err == nil && !ok {
		err = fmt.Errorf("mount %s: not listed in /proc/self/mountinfo", point)
	}
	e.point = point
	return &Mount{entry: e}, err
}

// Point returns the mountpoint, absolute and without links.
func (m *Mount) Point() string { return m.point }

// Device returns the mount's device number, as in /sys/class/bdi.
func (m *Mount) Device() string { return fmt.Sprintf("%d:%d", m.major, m.minor) }

// Options returns the options of the mount and of its file system.
func (m *Mount) Options() string { return m.options }

// SetReadAhead sets the kernel's read-ahead for the mount, in KiB. It needs root.
func (m *Mount) SetReadAhead(kb int) error {
	path := filepath.Join("/sys/class/bdi", m.Device(), "read_ahead_kb")
	return os.WriteFile(path, strconv.AppendInt(nil, int64(kb), 10), 0)
}

// Unmount unmounts. While programs use the mount, or if copies of it would remain, the error
// is weir.ErrInUse, and says who and what to do. With lazy the mount disappears from its
// mountpoint at once, and ends when they are done.
func (m *Mount) Unmount(ctx context.Context, lazy bool) error {
	if !lazy {
		if stay := m.remainingCopies(ctx); len(stay) > 0 {
			return weir.Errorf(weir.ErrInUse, "unmount %s: %s; or see weir umount --lazy", m.point, describe(stay))
		}
	}
	return callHelper(ctx, m.point, lazy)
}

// Unmount is Find and Mount.Unmount.
func Unmount(ctx context.Context, dir string, lazy bool) error {
	m, err := Find(dir)
	if err != nil {
		return err
	}
	return m.Unmount(ctx, lazy)
}

// Present reports whether the mount is still at its mountpoint. Another mount there may have
// the same device number.
func (m *Mount) Present() (bool, error) {
	now, ok, err := readMountAt(m.point)
	return ok && now.same(m.entry), err
}

// Detach unmounts the mountpoint only; copies stay.
func (m *Mount) Detach(ctx context.Context, lazy bool) error { return callHelper(ctx, m.point, lazy) }

// Abort ends the connection at once: whatever waits for weir fails. It needs the
// control file system, or root.
func (m *Mount) Abort() error {
	path := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", m.minor)
	err := os.WriteFile(path, []byte("1"), 0)
	if err == nil {
		return nil
	}
	if present, _ := m.Present(); !present {
		return err
	}
	const force = 1 // MNT_FORCE aborts even where it then fails as busy
	if ferr := syscall.Unmount(m.point, force); ferr != nil && ferr != syscall.EBUSY {
		return ferr
	}
	return nil
}

// Abort ends the connection of the weir mount at dir, of whatever process.
func Abort(dir string) error {
	point, err := resolvePoint(dir)
	if err != nil {
		return err
	}
	e, ok, err := readMountAt(point)
	if err != nil || !ok || e.fsType != fileSystemType {
		return err
	}
	return (&Mount{entry: e}).Abort()
}
