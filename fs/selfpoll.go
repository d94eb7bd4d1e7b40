package fs

import (
	"path/filepath"
	"syscall"
	"time"

	"bazil.org/fuse"
	"golang.org/x/sys/unix"
)

// A Go program that opens a file below its own mount hangs: the runtime adds the
// file to its poller while it keeps a processor from everything else, the kernel
// asks weir whether the file is ready, and nobody is left to answer. The kernel
// stops asking once it was told that weir does not know poll, so weir has itself
// asked before Mount returns, in a way that leaves the processor free.
const pollName = ".weir-poll"

// learnNoPoll makes the kernel ask for poll once. If it does not work, only
// programs that read their own mount are worse off.
func (f *FS) learnNoPoll(point string) {
	f.polling.Store(true)
	defer f.polling.Store(false)
	fd, err := syscall.Open(filepath.Join(point, pollName), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		f.log.Debug("open the file for poll", "err", err)
		return
	}
	defer syscall.Close(fd)
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err != nil {
		f.log.Debug("poll once", "err", err)
	}
}

// pollAttr describes the file for poll, which is there for a moment only.
func (f *FS) pollAttr(a *fuse.Attr) {
	f.fill(a, pollNode, time.Unix(0, 0))
	a.Valid = 0
	a.Mode = fileMode
	a.Nlink = 1
}
