package engine

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// onSockets calls fn with the socket of each peer, and reports false if one has none.
func (t *Torrent) onSockets(fn func(fd int)) (ok bool) {
	sw, err := t.warm()
	if err != nil {
		return false
	}
	sw.runOnOwner(func() {
		ok = len(sw.peers) > 0
		for _, p := range sw.peers {
			conn, is := p.link.Conn.(syscall.Conn)
			if !is {
				ok = false
				continue
			}
			raw, err := conn.SyscallConn()
			ok = ok && err == nil && raw.Control(func(fd uintptr) { fn(int(fd)) }) == nil
		}
	})
	return ok
}

// DelayAcks has the kernel delay what it acknowledges to peers; false if it can't.
func (t *Torrent) DelayAcks() bool {
	ok := true
	return t.onSockets(func(fd int) {
		ok = ok && unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0) == nil
	}) && ok
}

// AcksAtOnce reports whether the kernel acknowledges to all peers at once.
func (t *Torrent) AcksAtOnce() bool {
	ok := true
	return t.onSockets(func(fd int) {
		n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK)
		ok = ok && err == nil && n == 1
	}) && ok
}
