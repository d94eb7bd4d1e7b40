package fs

import (
	"context"
	"syscall"

	"bazil.org/fuse"
)

// answerChange sees to it that a request to change something gets an answer, and
// returns false if req is none of these.
func (l *loop) answerChange(req fuse.Request) bool {
	switch r := req.(type) {
	case *fuse.CreateRequest:
		var resp fuse.CreateResponse
		err := l.fs.create(r.Node, r.Name, l.fs.opener(r.Pid, r.Uid), &resp)
		finish(r, err, func() { r.Respond(&resp) })
	case *fuse.WriteRequest:
		err := l.fs.writeDraft(r.Handle, r.Data, r.Offset)
		finish(r, err, func() { r.Respond(&fuse.WriteResponse{Size: len(r.Data)}) })
	case *fuse.SetattrRequest:
		var resp fuse.SetattrResponse
		err := l.fs.setattr(r, &resp.Attr)
		finish(r, err, func() { r.Respond(&resp) })
	case *fuse.SetxattrRequest:
		// Programs that copy attributes, too, take this for an answer.
		if isDraft(r.Node) {
			r.RespondError(syscall.EOPNOTSUPP)
		} else {
			r.RespondError(syscall.EROFS)
		}
	case *fuse.FlushRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			err := l.fs.flush(ctx, r.Handle)
			if err == nil {
				r.Respond()
			}
			return err
		})
	case *fuse.MkdirRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			var resp fuse.MkdirResponse
			err := l.fs.mkdir(ctx, r.Node, r.Name, &resp.LookupResponse)
			if err == nil {
				r.Respond(&resp)
			}
			return err
		})
	case *fuse.RemoveRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			err := l.fs.remove(ctx, r.Node, r.Name, r.Dir)
			if err == nil {
				r.Respond()
			}
			return err
		})
	case *fuse.RenameRequest:
		l.nowOrLater(r, &r.Header, func(ctx context.Context) error {
			err := l.fs.rename(ctx, r.Node, r.OldName, r.NewDir, r.NewName)
			if err == nil {
				r.Respond()
			}
			return err
		})
	default:
		return false
	}
	return true
}

// finish answers a request that never waits.
func finish(req fuse.Request, err error, respond func()) {
	if err != nil {
		req.RespondError(toErrno(err))
	} else {
		respond()
	}
}
