package kernel

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
)

func TestWaits(t *testing.T) {
	s := New(Options{Deadline: time.Hour})
	ends := make(chan error, 3)
	begin := func(id fuse.RequestID, of fuse.NodeID) error {
		return s.later(&fuse.Header{ID: id, Node: of}, Waiting{}, func(ctx context.Context) {
			<-ctx.Done()
			ends <- context.Cause(ctx)
		})
	}
	if err := begin(1, 7); err != nil {
		t.Fatal(err)
	}
	if s.waits.interrupt(2) {
		t.Error("interrupted nobody")
	}
	if !s.waits.interrupt(1) || <-ends != context.Canceled {
		t.Error("not interrupted")
	}
	if err := begin(3, 7); err != nil {
		t.Fatal(err)
	}
	of := func(id node.ID) func(Waiting) bool { return func(w Waiting) bool { return w.Node == id } }
	s.Cancel(of(8), weir.ErrRemoved)
	if all := s.Waiting(); len(all) != 1 || all[0].Node != 7 {
		t.Errorf("waiting: %+v", all)
	}
	s.Cancel(of(7), weir.ErrRemoved)
	if err := <-ends; err != weir.ErrRemoved {
		t.Errorf("canceled: %v", err)
	}
	if err := begin(5, 0); err != nil {
		t.Fatal(err)
	}
	s.EndWaits()
	if err := <-ends; err != weir.ErrClosed {
		t.Errorf("closed: %v", err)
	}
	if err := begin(6, 0); err != weir.ErrClosed {
		t.Errorf("begun after: %v", err)
	}
}

func TestWaitDeadline(t *testing.T) {
	s := New(Options{Deadline: time.Millisecond})
	end := make(chan error)
	err := s.later(&fuse.Header{ID: 1}, Waiting{}, func(ctx context.Context) {
		<-ctx.Done()
		end <- reason(ctx, ctx.Err())
	})
	if err != nil || Errno(<-end).Error() != "connection timed out" {
		t.Errorf("deadline: %v", err)
	}
	s.EndWaits()
}

func TestErrno(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{weir.ErrRemoved, syscall.ESTALE},
		{fmt.Errorf("x: %w", weir.ErrRemoved), syscall.ESTALE},
		{weir.ErrNotFound, syscall.ENOENT},
		{weir.ErrClosed, syscall.ENOTCONN},
		{weir.ErrCorrupt, syscall.EIO},
		{weir.ErrInvalid, syscall.EIO},
		{weir.ErrNoSpace, syscall.EIO},
		{context.Canceled, syscall.EINTR},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), syscall.ETIMEDOUT},
		{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
		{syscall.EROFS, syscall.EROFS},
		{fmt.Errorf("cache: %w", syscall.ENOENT), syscall.EIO},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, syscall.EIO},
		{io.ErrUnexpectedEOF, syscall.EIO},
	} {
		if got := Errno(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestReason(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	if err := reason(ctx, weir.ErrCorrupt); err != weir.ErrCorrupt {
		t.Errorf("before the end: %v", err)
	}
	cancel(weir.ErrRemoved)
	if err := reason(ctx, fmt.Errorf("x: %w", context.Canceled)); err != weir.ErrRemoved {
		t.Errorf("ended: %v", err)
	}
	if err := reason(ctx, weir.ErrCorrupt); err != weir.ErrCorrupt {
		t.Errorf("another error: %v", err)
	}
}
