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

// loops is how many goroutines read requests at most. Each answers what needs no
// waiting before it reads the next, so that a few keep all processors busy. One of
// them always does; the others help it while reads follow reads, and rest when no
// request has come for helpIdle, or no such read for streamIdle. For the kernel gives
// requests to those who wait in turn: if a program asks for one thing after another,
// as ls does, and cp with small files, four that take turns are each asleep when theirs
// comes, and the work takes twice as long (docs/decisions/0040, 0080).
const (
	loops      = 4
	helpIdle   = time.Millisecond
	streamIdle = 20 * time.Millisecond
	// maxFailures is after how many errors that no kernel should give a loop ends, a
	// second after the first.
	maxFailures = 10
)

// help calls loops that rest.
type help struct {
	resting atomic.Int32
	wanted  chan struct{} // capacity 1
}

func newHelp() *help { return &help{wanted: make(chan struct{}, 1)} }

// call has one of those that rest come, if there is one.
func (h *help) call() {
	if h.resting.Load() > 0 {
		wake(h.wanted)
	}
}

// rest returns true when it is called, and false when gone is closed.
func (h *help) rest(gone <-chan struct{}) bool {
	h.resting.Add(1)
	defer h.resting.Add(-1)
	select {
	case <-h.wanted:
		return true
	case <-gone:
		return false
	}
}

// loop is one of them, with what it uses again and again.
type loop struct {
	server  *Server
	fs      FileSystem
	receive func() (fuse.Request, error)
	help    *help
	list    []byte // listings are made here
	reading bool   // the last request was to read a file

	// The read that is being answered, for hit.
	read     *fuse.ReadRequest
	answered bool
	hit      func(b []byte) // answers read with b; made once, since a closure per read is an allocation
}

func newLoop(s *Server, receive func() (fuse.Request, error)) *loop {
	l := &loop{server: s, fs: s.fs, receive: receive, help: s.help}
	l.hit = func(b []byte) {
		l.answered = true
		l.read.Respond(&fuse.ReadResponse{Data: b})
	}
	return l
}

// run answers requests until the mount is gone. If it helps only, it rests from
// time to time, until ended is closed.
func (l *loop) run(helps bool, ended <-chan struct{}) error {
	if helps && !l.help.rest(ended) {
		return nil
	}
	var began, streamed time.Time
	failed := 0 // times one after another
	for {
		if helps {
			began = time.Now()
			if streamed.IsZero() {
				streamed = began
			}
		}
		req, err := l.receive()
		idle := helps && (time.Since(began) > helpIdle || began.Sub(streamed) > streamIdle)
		switch {
		case err == nil:
			failed = 0
			if l.streams(req) {
				streamed = began
				l.help.call()
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
			if !l.help.rest(ended) {
				return nil
			}
			streamed = time.Time{}
		}
	}
}

// streams reports whether req is a read that comes after a read: of a file that is
// longer than a request, or one of several programs'. Small files are opened and
// closed in between.
func (l *loop) streams(req fuse.Request) bool {
	r, ok := req.(*fuse.ReadRequest)
	after := l.reading
	l.reading = ok && !r.Dir
	return l.reading && after
}
