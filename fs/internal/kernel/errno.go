package kernel

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/weirfs/weir"
)

// errnos is the one place where an error becomes what a program sees. The first
// match wins; what is not listed is EIO.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{weir.ErrRemoved, syscall.ESTALE},
	{weir.ErrNotFound, syscall.ENOENT},
	{weir.ErrClosed, syscall.ENOTCONN}, // what the next call sees once the mount is gone
	{weir.ErrCorrupt, syscall.EIO},
	{weir.ErrRefused, syscall.EACCES},
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
}

// Errno returns the bare errno for err, 0 for nil. Bare, since bazil compares
// and never unwraps. A syscall.Errno counts only when it is the error itself: one
// that is wrapped tells of a file of ours and not of the reader's.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return syscall.EIO
}

// hostErrnos is what a program sees when a Host says no to a change. What is not
// listed goes through errnos.
var hostErrnos = []struct {
	err   error
	errno syscall.Errno
}{
	{weir.ErrInvalid, syscall.EINVAL},
	{weir.ErrHostile, syscall.EINVAL},
	{weir.ErrExists, syscall.EEXIST},
	{weir.ErrInUse, syscall.EBUSY},
	{weir.ErrNoSpace, syscall.ENOSPC},
}

// HostError returns what Errno makes the right errno of, for an error of a Host.
func HostError(err error) error {
	for _, e := range hostErrnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return err
}
