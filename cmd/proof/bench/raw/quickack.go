package raw

import (
	"net"
	"syscall"
)

// quickReader reads a connection and acknowledges at once: libtorrent keeps the end of
// what it sends until what went before is acknowledged, and the kernel delays that by
// 40 ms when it is not told otherwise.
type quickReader struct {
	conn net.Conn
	fd   syscall.RawConn // nil where there is none
}

func newQuickReader(conn net.Conn) quickReader {
	r := quickReader{conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		if fd, err := c.SyscallConn(); err == nil {
			r.fd = fd
		}
	}
	return r
}

func (r quickReader) Read(p []byte) (int, error) {
	if r.fd != nil {
		_ = r.fd.Control(setQuickAck) // fails when the connection ends
	}
	return r.conn.Read(p)
}
