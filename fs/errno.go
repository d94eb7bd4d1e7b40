package fs

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
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
}

// toErrno returns the bare errno for err, 0 for nil. Bare, since bazil compares
// and never unwraps. A syscall.Errno counts only when it is the error itself: one
// that is wrapped tells of a file of ours and not of the reader's.
func toErrno(err error) syscall.Errno {
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
