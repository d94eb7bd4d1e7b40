package kernel

import (
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bazil.org/fuse"
)

// TestLoopErrors gives a loop errors that the kernel documents, and one that it
// should never give: that must not keep a processor busy for ever.
func TestLoopErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Log: slog.New(slog.DiscardHandler)})
		var calls int
		loop := func(errs ...error) error {
			calls = 0
			l := newLoop(s, func() (fuse.Request, error) {
				calls++
				return nil, errs[min(calls, len(errs))-1]
			})
			return l.run(false, nil)
		}
		if err := loop(syscall.EINTR, syscall.EAGAIN, syscall.ENOENT, syscall.ECONNABORTED); err != nil || calls != 4 {
			t.Errorf("an unmounted file system: %v after %d calls", err, calls)
		}
		began := time.Now()
		err := loop(syscall.EIO)
		if !errors.Is(err, syscall.EIO) || calls > 20 {
			t.Errorf("an unknown error without end: %v after %d calls", err, calls)
		}
		if took := time.Since(began); took < 100*time.Millisecond {
			t.Errorf("it gave up after %v, which a moment's trouble may last", took)
		}
		s.Stop()
	})
}

// TestStreams: extra loops are woken for a read that comes after a read, and not for
// those of small files, between which files are opened and closed.
func TestStreams(t *testing.T) {
	read, dir := &fuse.ReadRequest{Size: 128 << 10}, &fuse.ReadRequest{Dir: true}
	look, open, end := &fuse.LookupRequest{}, &fuse.OpenRequest{}, &fuse.ReleaseRequest{}
	for name, tt := range map[string]struct {
		requests []fuse.Request
		calls    int
	}{
		"SmallFiles":  {[]fuse.Request{look, open, read, end, look, open, read, end, open, read, end}, 0},
		"Listing":     {[]fuse.Request{open, dir, dir, dir, end}, 0},
		"ListAndRead": {[]fuse.Request{dir, read, dir, read}, 0},
		"LargeFile":   {[]fuse.Request{look, open, read, read, read, end}, 2},
		"TwoPrograms": {[]fuse.Request{open, read, read, end, end, open, read, end, open, read, read}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(New(Options{}), nil)
			calls := 0
			for _, req := range tt.requests {
				if l.streams(req) {
					calls++
				}
			}
			if calls != tt.calls {
				t.Errorf("%d calls, want %d", calls, tt.calls)
			}
		})
	}
}
