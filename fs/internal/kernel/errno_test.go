package kernel

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/weirfs/weir"
)

func TestHostError(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{fmt.Errorf("x: %w", weir.ErrInvalid), syscall.EINVAL},
		{weir.ErrHostile, syscall.EINVAL},
		{weir.ErrExists, syscall.EEXIST},
		{weir.ErrInUse, syscall.EBUSY},
		{weir.ErrNoSpace, syscall.ENOSPC},
		{weir.ErrNotFound, syscall.ENOENT},
		{weir.ErrRefused, syscall.EACCES},
		{context.Canceled, syscall.EINTR},
		{errors.New("x"), syscall.EIO},
	} {
		if got := Errno(HostError(tt.err)); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestAccess(t *testing.T) {
	if access(4|1, false) != nil || access(2, false) != syscall.EROFS || access(2, true) != nil {
		t.Error("reading is allowed, writing only where something can be written")
	}
}
