package kernel

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"bazil.org/fuse"
)

// loops is the number of goroutines that take requests. Each answers what needs no waiting
// before it takes the next, so a few keep all processors busy. One of them is always active.
// The extra ones help while reads follow reads, and go idle after helpIdle without a request
// or streamIdle without such a read: the kernel wakes waiting threads round-robin, so a
// program that makes one call after another, like ls, or cp with small files, would get a
// cold thread each time and take twice as long (docs/decisions/0040, 0080).
const (
	loops      = 4
	helpIdle   = time.Millisecond
	streamIdle = 20 * time.Millisecond
	// maxFailures is the number of unexpected errors in a row after which a loop ends, about
	// a second after the first.
	maxFailures = 10
)

// extraLoops wakes idle extra loops.
type extraLoops struct {
	idle   atomic.Int32
	wanted chan struct{} // capacity 1
}

func newExtraLoops() *extraLoops { return &extraLoops{wanted: make(chan struct{}, 1)} }

// wakeOne wakes an idle loop, if there is one.
func (x *extraLoops) wakeOne() {
	if x.idle.Load() > 0 {
		wake(x.wanted)
	}
}

// wait returns true when a loop is woken, and false when gone is closed.
func (x *extraLoops) wait(gone <-chan struct{}) bool {
	x.idle.Add(1)
	defer x.idle.Add(-1)
	select {
	case <-x.wanted:
		return true
	case <-gone:
		return false
	}
}

// loop is one goroutine that takes requests, with the buffers that it reuses.
type loop struct {
	server  *Server
	fs      FileSystem
	receive func() (fuse.Request, error)
	extras  *extraLoops
	list    []byte // buffer for listings
	reading bool   // the last request was to read a file

	// The read that is being answered, for hit.
	read     *fuse.ReadRequest
	answered bool
	hit      func(b []byte) // answers read with b; made once, since a closure per read is an allocation
}

func newLoop(s *Server, receive func() (fuse.Request, error)) *loop {
	l := &loop{server: s, fs: s.fs, receive: receive, extras: s.extras}
	l.hit = func(b []byte) {
		l.answered = true
		l.read.Respond(&fuse.ReadResponse{Data: b})
	}
	return l
}

// run answers requests until the mount is gone. An extra loop goes idle from time to
// time, until ended is closed.
func (l *loop) run(extra bool, ended <-chan struct{}) error {
	if extra && !l.extras.wait(ended) {
		return nil
	}
	var began, streamed time.Time
	failed := 0 // in a row
	for {
		if extra {
			began = time.Now()
			if streamed.IsZero() {
				streamed = began
			}
		}
		req, err := l.receive()
		idle := extra && (time.Since(began) > helpIdle || began.Sub(streamed) > streamIdle)
		switch {
		case err == nil:
			failed = 0
			if l.streams(req) {
				streamed = began
				l.extras.wakeOne()
			}
			l.answer(req)
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNABORTED):
			return nil // unmounted
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOENT):
			// ENOENT: the request was interrupted before we got it.
		case errors.Is(err, syscall.EBADF):
			return err
		default:
			if failed++; failed >= maxFailures {
				return fmt.Errorf("read requests from the kernel: %w", err)
			}
			l.server.opt.Log.Error("read request from the kernel", "err", err)
			select {
			case <-time.After(time.Millisecond << failed):
			case <-l.server.base.Done():
			}
		}
		if idle {
			if !l.extras.wait(ended) {
				return nil
			}
			streamed = time.Time{}
		}
	}
}

// streams reports whether req is a read directly after a read: of a file longer than one
// request, or by several programs. Between reads of small files there are opens and closes.
func (l *loop) streams(req fuse.Request) bool {
	r, ok := req.(*fuse.ReadRequest)
	after := l.reading
	l.reading = ok && !r.Dir
	return l.reading && after
}
