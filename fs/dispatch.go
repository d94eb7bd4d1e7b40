package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
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
		poke(h.wanted)
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
	fs      *FS
	receive func() (fuse.Request, error)
	help    *help
	list    []byte // listings are made here
	reading bool   // the last request was to read a file

	// The read that is being answered, for hit.
	read     *fuse.ReadRequest
	answered bool
	hit      func(b []byte) // answers read with b; made once, since a closure per read is an allocation
}

func newLoop(f *FS, conn *fuse.Conn, h *help) *loop {
	l := &loop{fs: f, receive: conn.ReadRequest, help: h}
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
			l.fs.log.Error("read request from the kernel", "err", err)
			select {
			case <-time.After(time.Millisecond << failed):
			case <-l.fs.base.Done():
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

// answer sees to it that req gets an answer, now or later.
func (l *loop) answer(req fuse.Request) {
	switch r := req.(type) {
	case *fuse.ReadRequest:
		if r.Dir {
			l.answerReadDir(r)
		} else {
			l.answerRead(r)
		}
	case *fuse.LookupRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			var resp fuse.LookupResponse
			if err := l.fs.lookup(ctx, r.Node, r.Name, &resp); err != nil {
				return err
			}
			r.Respond(&resp)
			return nil
		})
	case *fuse.GetattrRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			var resp fuse.GetattrResponse
			err := l.fs.getattr(ctx, r.Node, &resp.Attr)
			if err == nil {
				r.Respond(&resp)
			}
			return err
		})
	case *fuse.OpenRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			var resp fuse.OpenResponse
			err := error(nil)
			if r.Dir {
				err = l.fs.openDir(ctx, r.Node, &resp)
			} else {
				err = l.fs.openFile(ctx, r.Node, r.Flags, l.fs.opener(r.Pid, r.Uid), &resp)
			}
			if err == nil {
				r.Respond(&resp)
			}
			return err
		})
	case *fuse.ReleaseRequest:
		if !r.Dir {
			l.fs.release(r.Handle)
		}
		r.Respond()
	case *fuse.GetxattrRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			v, err := l.fs.getxattr(ctx, r.Node, r.Name, r.Size)
			if err == nil {
				r.Respond(&fuse.GetxattrResponse{Xattr: v})
			}
			return err
		})
	case *fuse.ListxattrRequest:
		if v, err := l.fs.listxattr(r.Node, r.Size); err != nil {
			r.RespondError(toErrno(err))
		} else {
			r.Respond(&fuse.ListxattrResponse{Xattr: v})
		}
	case *fuse.ReadlinkRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			to, err := l.fs.readLink(ctx, r.Node)
			if err == nil {
				r.Respond(to)
			}
			return err
		})
	case *fuse.StatfsRequest:
		l.answerStatfs(r)
	case *fuse.InterruptRequest:
		l.answerInterrupt(r)
	default:
		if l.fs.opt.Host == nil || !l.answerChange(req) {
			answerRest(l.fs, req)
		}
	}
}

// answerRest answers what is the same for all nodes.
func answerRest(f *FS, req fuse.Request) {
	switch r := req.(type) {
	case *fuse.ForgetRequest:
		r.Respond()
	case *fuse.BatchForgetRequest:
		r.Respond()
	case *fuse.AccessRequest:
		if err := f.access(r.Mask); err != nil {
			r.RespondError(toErrno(err))
		} else {
			r.Respond()
		}
	case *fuse.DestroyRequest:
		r.Respond()
	case *fuse.WriteRequest, *fuse.CreateRequest, *fuse.MkdirRequest, *fuse.MknodRequest, *fuse.RemoveRequest,
		*fuse.RenameRequest, *fuse.SymlinkRequest, *fuse.LinkRequest, *fuse.SetattrRequest, *fuse.SetxattrRequest,
		*fuse.RemovexattrRequest, *fuse.FAllocateRequest:
		req.RespondError(syscall.EROFS)
	default:
		// The kernel takes it for "nothing to do here" or does it by itself, and for
		// flush, fsync, poll, lseek and most others it does not ask again.
		req.RespondError(syscall.ENOSYS)
	}
}

// nowOrLater runs op, which answers the request if it returns nil; at first
// inline, and on a goroutine of its own if it has to wait.
func (l *loop) nowOrLater(req fuse.Request, h *fuse.Header, op func(ctx context.Context) error) {
	err := op(noWait)
	if err == (errMustWait{}) {
		t, _ := l.fs.root.of(h.Node)
		err = l.fs.later(h, about{t: t}, func(ctx context.Context) {
			if err := op(ctx); err != nil {
				req.RespondError(toErrno(reason(ctx, err)))
			}
		})
	}
	if err != nil {
		req.RespondError(toErrno(err))
	}
}

// answerRead answers from what is held, which costs bazil's copy and nothing
// else, or has a goroutine wait for the swarm.
func (l *loop) answerRead(r *fuse.ReadRequest) {
	h, n, err := l.fs.readable(r.Handle, r.Offset, r.Size)
	if err != nil {
		r.RespondError(toErrno(err))
		return
	}
	if h.draft != nil {
		r.Respond(&fuse.ReadResponse{Data: h.draft.read(r.Offset, n)})
		return
	}
	if n == 0 {
		r.Respond(&fuse.ReadResponse{})
		return
	}
	l.read, l.answered = r, false
	miss, err := h.file.View(r.Offset, n, l.hit)
	l.read = nil
	switch {
	case l.answered:
	case err != nil:
		r.RespondError(toErrno(err))
	case miss == nil: // a File that breaks its promise
		r.RespondError(syscall.EIO)
	default:
		l.readLater(r, h, n, miss)
	}
}

func (l *loop) readLater(r *fuse.ReadRequest, h *handle, n int, miss *weir.Miss) {
	pid, in := r.Pid, weir.Range{Off: r.Offset, End: r.Offset + int64(n)}
	if h.late.again(pid, in, time.Now()) {
		r.RespondError(toErrno(context.DeadlineExceeded))
		return
	}
	err := l.fs.later(&r.Header, about{t: h.t, h: h, in: in}, func(ctx context.Context) {
		buf := takeBuffer(n)
		defer giveBuffer(buf)
		if err := h.file.Fetch(ctx, miss, (*buf)[:n]); err != nil {
			errno := toErrno(reason(ctx, err))
			if errno == syscall.ETIMEDOUT {
				h.late.note(pid, in, time.Now())
			}
			r.RespondError(errno)
		} else {
			r.Respond(&fuse.ReadResponse{Data: (*buf)[:n]})
		}
	})
	if err != nil {
		r.RespondError(toErrno(err))
	}
}

func (l *loop) answerReadDir(r *fuse.ReadRequest) {
	b, err := l.fs.readDir(noWait, r.Node, r.Offset, r.Size, l.list[:0])
	if err == nil {
		l.list = b
		r.Respond(&fuse.ReadResponse{Data: b})
		return
	}
	// Rare: opening the folder has waited for what is in it.
	l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
		b, err := l.fs.readDir(ctx, r.Node, r.Offset, r.Size, nil)
		if err == nil {
			r.Respond(&fuse.ReadResponse{Data: b})
		}
		return err
	})
}

func (l *loop) answerStatfs(r *fuse.StatfsRequest) {
	if s, ok := l.fs.totals.recent(time.Now()); ok {
		r.Respond(s.statfs())
		return
	}
	err := l.fs.later(&r.Header, about{}, func(context.Context) {
		s := l.fs.count()
		l.fs.totals.keep(s, time.Now())
		r.Respond(s.statfs())
	})
	if err != nil {
		r.RespondError(toErrno(err))
	}
}

// interruptAgain is after which time the kernel is asked to repeat an interrupt.
const interruptAgain = time.Millisecond

// answerInterrupt ends a wait. An interrupt may overtake its request, which
// another loop has read and not yet filed: then the kernel is asked to send it
// again, which it does if the request is still unanswered.
func (l *loop) answerInterrupt(r *fuse.InterruptRequest) {
	if l.fs.waits.interrupt(r.IntrID) {
		r.Respond()
		return
	}
	time.AfterFunc(interruptAgain, func() { r.RespondError(syscall.EAGAIN) })
}
