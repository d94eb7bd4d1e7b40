package kernel

import (
	"context"
	"syscall"
	"time"

	"bazil.org/fuse"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs/internal/node"
)

// answer answers req, now or later.
func (l *loop) answer(req fuse.Request) {
	if l.server.polling.Load() && l.server.answerPoll(req) {
		return
	}
	switch r := req.(type) {
	case *fuse.ReadRequest:
		if r.Dir {
			l.answerReadDir(r)
		} else {
			l.answerRead(r)
		}
	case *fuse.LookupRequest:
		e, wait, err := l.fs.Lookup(node.ID(r.Node), r.Name)
		finish(l, r, &r.Header, e, wait, err, func(e node.Entry) { r.Respond(lookupResponse(&e)) })
	case *fuse.GetattrRequest:
		a, wait, err := l.fs.Getattr(node.ID(r.Node))
		finish(l, r, &r.Header, a, wait, err, func(a node.Attr) { r.Respond(&fuse.GetattrResponse{Attr: attr(&a)}) })
	case *fuse.OpenRequest:
		l.answerOpen(r)
	case *fuse.ReleaseRequest:
		if !r.Dir {
			l.fs.Release(node.Handle(r.Handle))
		}
		r.Respond()
	case *fuse.GetxattrRequest:
		v, wait, err := l.fs.Getxattr(node.ID(r.Node), r.Name, r.Size)
		finish(l, r, &r.Header, v, wait, err, func(v []byte) { r.Respond(&fuse.GetxattrResponse{Xattr: v}) })
	case *fuse.ListxattrRequest:
		v, err := l.fs.Listxattr(node.ID(r.Node), r.Size)
		finish(l, r, &r.Header, v, nil, err, func(v []byte) { r.Respond(&fuse.ListxattrResponse{Xattr: v}) })
	case *fuse.ReadlinkRequest:
		to, wait, err := l.fs.Readlink(node.ID(r.Node))
		finish(l, r, &r.Header, to, wait, err, func(to string) { r.Respond(to) })
	case *fuse.StatfsRequest:
		u, wait, err := l.fs.Statfs()
		finish(l, r, &r.Header, u, wait, err, func(u node.Usage) { r.Respond(statfsResponse(u)) })
	case *fuse.InterruptRequest:
		l.answerInterrupt(r)
	default:
		if !l.fs.Writable() || !l.answerChange(req) {
			l.answerRest(req)
		}
	}
}

// answerRest answers requests that don't depend on the node.
func (l *loop) answerRest(req fuse.Request) {
	switch r := req.(type) {
	case *fuse.ForgetRequest:
		r.Respond()
	case *fuse.BatchForgetRequest:
		r.Respond()
	case *fuse.AccessRequest:
		if err := access(r.Mask, l.fs.Writable()); err != nil {
			r.RespondError(Errno(err))
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
		// The kernel does it itself, or takes it for "nothing to do". For flush, fsync, poll,
		// lseek and most others it does not ask again.
		req.RespondError(syscall.ENOSYS)
	}
}

// access refuses writing if nothing can be changed. The kernel checks all other rights.
func access(mask uint32, writable bool) error {
	const write = 2
	if mask&write != 0 && !writable {
		return syscall.EROFS
	}
	return nil
}

// finish answers a request with what an operation returned, on a goroutine of its
// own if it has to wait.
func finish[A any](l *loop, req fuse.Request, h *fuse.Header, a A, wait node.Wait[A], err error, respond func(A)) {
	if err == nil && wait != nil {
		err = l.server.later(h, Waiting{}, func(ctx context.Context) {
			a, err := wait(ctx)
			if err != nil {
				req.RespondError(Errno(reason(ctx, err)))
				return
			}
			respond(a)
		})
		if err == nil {
			return
		}
	}
	if err != nil {
		req.RespondError(Errno(err))
		return
	}
	respond(a)
}

func (l *loop) answerOpen(r *fuse.OpenRequest) {
	var o node.Opened
	var wait node.Wait[node.Opened]
	var err error
	if r.Dir {
		o, wait, err = l.fs.OpenDir(node.ID(r.Node))
	} else {
		o, wait, err = l.fs.OpenFile(node.ID(r.Node), r.Flags.IsReadOnly(), caller(&r.Header))
	}
	finish(l, r, &r.Header, o, wait, err, func(o node.Opened) { r.Respond(openResponse(o)) })
}

// answerRead answers from what is held, which costs only bazil's copy, or starts a goroutine
// that waits.
func (l *loop) answerRead(r *fuse.ReadRequest) {
	l.read, l.answered = r, false
	pending, err := l.fs.Read(node.Read{Handle: node.Handle(r.Handle), Off: r.Offset, N: r.Size, TID: r.Pid}, l.hit)
	l.read = nil
	switch {
	case l.answered:
	case err != nil:
		r.RespondError(Errno(err))
	case pending == nil: // the file system broke its promise
		r.RespondError(syscall.EIO)
	default:
		l.readLater(r, pending)
	}
}

func (l *loop) readLater(r *fuse.ReadRequest, p *node.PendingRead) {
	w := Waiting{Handle: node.Handle(r.Handle), Range: weir.Range{Off: r.Offset, End: r.Offset + int64(p.N)}}
	err := l.server.later(&r.Header, w, func(ctx context.Context) {
		buf := takeBuffer(p.N)
		defer giveBuffer(buf)
		if err := p.Fill(ctx, (*buf)[:p.N]); err != nil {
			r.RespondError(Errno(reason(ctx, err)))
		} else {
			r.Respond(&fuse.ReadResponse{Data: (*buf)[:p.N]})
		}
	})
	if err != nil {
		r.RespondError(Errno(err))
	}
}

func (l *loop) answerReadDir(r *fuse.ReadRequest) {
	b, wait, err := l.fs.ReadDir(node.ID(r.Node), r.Offset, r.Size, l.list[:0])
	if err == nil && wait == nil {
		l.list = b
	}
	// It rarely waits: opening the folder has waited for its tree.
	finish(l, r, &r.Header, b, wait, err, func(b []byte) { r.Respond(&fuse.ReadResponse{Data: b}) })
}

// interruptRetry is the time after which the kernel is asked to repeat an interrupt.
const interruptRetry = time.Millisecond

// answerInterrupt ends a wait. An interrupt may overtake its request, which another loop has
// read but not yet added to the waits. Then the kernel is asked to send the interrupt again,
// which it does if the request is still unanswered.
func (l *loop) answerInterrupt(r *fuse.InterruptRequest) {
	if l.server.waits.interrupt(r.IntrID) {
		r.Respond()
		return
	}
	time.AfterFunc(interruptRetry, func() { r.RespondError(syscall.EAGAIN) })
}
