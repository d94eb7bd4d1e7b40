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
	{weir.ErrClosed, syscall.ENOTCONN}, // as the next call returns once the mount is gone
	{weir.ErrCorrupt, syscall.EIO},
	{weir.ErrRefused, syscall.EACCES},
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
}

// Errno returns the errno for err, 0 for nil. It is not wrapped, since bazil only compares. A
// syscall.Errno counts only if it is err itself: a wrapped one is about a file of weir's own
// and not about the program's.
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

// hostErrnos are for errors of a Host that refuses a change. What is not listed goes through
// errnos.
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

// HostError turns an error of a Host into one for which Errno returns the right errno.
func HostError(err error) error {
	for _, e := range hostErrnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return err
}
