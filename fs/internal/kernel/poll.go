package kernel

import (
	"path/filepath"
	"syscall"
	"time"

	"bazil.org/fuse"
	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/fs/internal/node"
)

// A Go program that opens a file below its own mount could hang: the runtime adds the file to
// its poller while holding a processor, the kernel asks weir whether the file is ready, and no
// goroutine can run to answer. The kernel stops asking once weir has answered ENOSYS to poll.
// So weir polls a file once before Mount returns, in a way that leaves the processor free.
const pollName = ".weir-poll"

// learnNoPoll polls a file of the mount once. If that fails, only programs that read their own
// mount may hang.
func (s *Server) learnNoPoll(point string) {
	s.polling.Store(true)
	defer s.polling.Store(false)
	fd, err := syscall.Open(filepath.Join(point, pollName), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		s.opt.Log.Debug("open the file for poll", "err", err)
		return
	}
	defer syscall.Close(fd)
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err != nil {
		s.opt.Log.Debug("poll once", "err", err)
	}
}

// answerPoll answers requests about that file while Mount is under way, and returns false if
// req is about something else.
func (s *Server) answerPoll(req fuse.Request) bool {
	attr := fuse.Attr{Inode: uint64(node.Poll), Mode: 0o444, Nlink: 1, Atime: time.Unix(0, 0), Mtime: time.Unix(0, 0), Ctime: time.Unix(0, 0)}
	switch r := req.(type) {
	case *fuse.LookupRequest:
		if r.Node != fuse.RootID || r.Name != pollName {
			return false
		}
		r.Respond(&fuse.LookupResponse{Node: fuse.NodeID(node.Poll), Attr: attr})
	case *fuse.GetattrRequest:
		if node.ID(r.Node) != node.Poll {
			return false
		}
		r.Respond(&fuse.GetattrResponse{Attr: attr})
	case *fuse.OpenRequest:
		if node.ID(r.Node) != node.Poll {
			return false
		}
		r.Respond(&fuse.OpenResponse{}) // nobody reads it, so it needs no handle
	default:
		return false
	}
	return true
}
