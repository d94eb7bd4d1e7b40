package background

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Server is the process that serves a mount.
type Server struct {
	PID int

	fd int // a pidfd
}

// dialTimeout is how long to wait for a process that is stopped or stuck.
const dialTimeout = 2 * time.Second

// FindServer returns the process that listens on a unix socket. Close it.
func FindServer(ctx context.Context, socket string) (*Server, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	c, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	if peerErr != nil {
		return nil, peerErr
	}
	fd, err := unix.PidfdOpen(int(peer.Pid), 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", peer.Pid, err)
	}
	return &Server{PID: int(peer.Pid), fd: fd}, nil
}

// Wait returns when the process has ended, or ctx is done.
func (s *Server) Wait(ctx context.Context) error {
	for ctx.Err() == nil {
		const checkEvery = 100 // milliseconds; how soon the end of ctx is noticed
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, checkEvery)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
	return context.Cause(ctx)
}

// Close releases the pidfd. The process goes on.
func (s *Server) Close() {
	syscall.Close(s.fd)
}
