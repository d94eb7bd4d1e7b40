package kernel

import (
	"bazil.org/fuse"

	"github.com/weirfs/weir/fs/internal/node"
)

// answerChange answers req if it is a request to change something, and returns false if not.
func (l *loop) answerChange(req fuse.Request) bool {
	switch r := req.(type) {
	case *fuse.CreateRequest:
		e, o, err := l.fs.Create(node.ID(r.Node), r.Name, caller(&r.Header))
		finish(l, r, &r.Header, e, nil, err, func(e node.Entry) {
			r.Respond(&fuse.CreateResponse{LookupResponse: *lookupResponse(&e), OpenResponse: *openResponse(o)})
		})
	case *fuse.WriteRequest:
		err := l.fs.Write(node.Handle(r.Handle), r.Data, r.Offset)
		finish(l, r, &r.Header, len(r.Data), nil, err, func(n int) { r.Respond(&fuse.WriteResponse{Size: n}) })
	case *fuse.SetattrRequest:
		a, err := l.fs.Setattr(node.ID(r.Node), change(r))
		finish(l, r, &r.Header, a, nil, err, func(a node.Attr) { r.Respond(&fuse.SetattrResponse{Attr: attr(&a)}) })
	case *fuse.SetxattrRequest:
		finish(l, r, &r.Header, node.None{}, nil, l.fs.Setxattr(node.ID(r.Node)), func(node.None) { r.Respond() })
	case *fuse.FlushRequest:
		wait, err := l.fs.Flush(node.Handle(r.Handle))
		finish(l, r, &r.Header, node.None{}, wait, err, func(node.None) { r.Respond() })
	case *fuse.MkdirRequest:
		e, wait, err := l.fs.Mkdir(node.ID(r.Node), r.Name)
		finish(l, r, &r.Header, e, wait, err, func(e node.Entry) { r.Respond(&fuse.MkdirResponse{LookupResponse: *lookupResponse(&e)}) })
	case *fuse.RemoveRequest:
		wait, err := l.fs.Remove(node.ID(r.Node), r.Name, r.Dir)
		finish(l, r, &r.Header, node.None{}, wait, err, func(node.None) { r.Respond() })
	case *fuse.RenameRequest:
		wait, err := l.fs.Rename(node.ID(r.Node), r.OldName, node.ID(r.NewDir), r.NewName)
		finish(l, r, &r.Header, node.None{}, wait, err, func(node.None) { r.Respond() })
	default:
		return false
	}
	return true
}
