// Package quickack turns delayed TCP acknowledgements off. Benchmarks use it too, so that
// both sides of a comparison have it.
package quickack

import (
	"io"
	"net"
	"syscall"
)

// Socket makes the kernel acknowledge at once what a peer sends. Without it a
// peer that leaves Nagle's algorithm on (libtorrent does) holds the last segment
// of a block until we have acknowledged those before, and we wait 40 ms with that
// for something of ours to send.
//
// The kernel resets the option whenever we answer quickly, so it is set again around each
// read and write while few blocks are awaited. With many on their way the delay costs
// nothing, and fewer acknowledgements are better.
type Socket struct {
	raw syscall.RawConn // nil if the connection is no socket
	few func() bool
}

// New returns the Socket of a connection, encrypted or not. few reports whether so few
// blocks are awaited that a delayed acknowledgement costs time; it is called by every
// goroutine that calls Set.
func New(conn net.Conn, few func() bool) *Socket {
	a := &Socket{few: few}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			a.raw = raw
		}
	}
	return a
}

// Set sets the option if few blocks are awaited.
func (a *Socket) Set() {
	if a.raw != nil && a.few() {
		_ = a.raw.Control(setQuickAck) // fails when the connection ends
	}
}

// Reader returns r, which reads the connection, with Set before each read.
func (a *Socket) Reader(r io.Reader) io.Reader { return reader{r, a} }

type reader struct {
	io.Reader
	socket *Socket
}

func (r reader) Read(p []byte) (int, error) {
	r.socket.Set()
	return r.Reader.Read(p)
}
