// Package simnet slows connections down, for tests, the demo and benchmarks: links with a
// chosen delay and rates, over sockets of this machine or in memory, where time may be
// simulated. It knows nothing of what is sent over them.
package simnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Network is a network in memory: hosts that dial each other over links with a
// delay and a rate. It knows channels, locks and the clock and no socket, so that it
// works in a bubble of testing/synctest, where hours pass in no time. The zero
// Network is ready for use.
type Network struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*hostListener
	lastPort  uint16
}

// Host is a machine with an address on a Network. Its methods are safe for
// concurrent use.
type Host struct {
	network *Network
	addr    netip.Addr
	link    Link
	out     bucket
	down    atomic.Bool

	mu    sync.Mutex
	conns map[*hostConn]struct{}
}

// Host adds a machine with a link, of which RTT, BytesPerSec, QueueBytes and
// BurstBytes count.
func (n *Network) Host(addr netip.Addr, link Link) *Host {
	h := &Host{network: n, addr: addr, link: link, conns: map[*hostConn]struct{}{}}
	h.out.coarse, h.out.queueBytes, h.out.burstBytes = true, link.QueueBytes, link.BurstBytes
	h.out.rate.Store(link.BytesPerSec)
	return h
}

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// SetDown takes the host off the network or brings it back. Its connections are
// reset, and whoever dials it hears nothing.
func (h *Host) SetDown(down bool) {
	h.down.Store(down)
	if down {
		h.DropConns()
	}
}

// DropConns resets all connections of the host.
func (h *Host) DropConns() {
	h.mu.Lock()
	all := make([]*hostConn, 0, len(h.conns))
	for c := range h.conns {
		all = append(all, c)
	}
	h.mu.Unlock()
	for _, c := range all {
		c.reset()
	}
}

// Listen takes connections. Only the port of address counts; 0 is one that no
// other listener of the Network has.
func (h *Host) Listen(address string) (net.Listener, error) {
	_, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		return nil, err
	}
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	at := netip.AddrPortFrom(h.addr, uint16(port))
	if port == 0 {
		at = netip.AddrPortFrom(h.addr, n.freePort())
	}
	if n.listeners[at] != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, syscall.EADDRINUSE)
	}
	if n.listeners == nil {
		n.listeners = map[netip.AddrPort]*hostListener{}
	}
	l := &hostListener{host: h, at: at, queue: make(chan *hostConn, 128), done: make(chan struct{})}
	n.listeners[at] = l
	return l, nil
}

// freePort returns one that nobody has; Network.mu is held.
func (n *Network) freePort() uint16 {
	n.lastPort = max(n.lastPort, 1023) + 1
	return n.lastPort
}

// Dial connects to host:port, which takes a round trip.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	n := h.network
	n.mu.Lock()
	l := n.listeners[to]
	from := netip.AddrPortFrom(h.addr, n.freePort())
	n.mu.Unlock()
	rtt := h.link.RTT
	if l != nil {
		rtt += l.host.link.RTT
	}
	answer := time.NewTimer(rtt)
	defer answer.Stop()
	for heard := false; !heard; {
		select {
		case <-answer.C:
			heard = !h.down.Load() && (l == nil || !l.host.down.Load())
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: context.Cause(ctx)}
		}
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	ab, ba := newLane(&h.out, rtt/2), newLane(&l.host.out, rtt/2)
	mine, theirs := newHostConn(h, ab, ba, from, to), newHostConn(l.host, ba, ab, to, from)
	if !l.offer(theirs) {
		mine.reset()
		theirs.reset()
		return nil, refused
	}
	return mine, nil
}

// hostListener is a host's ear at a port.
type hostListener struct {
	host  *Host
	at    netip.AddrPort
	queue chan *hostConn

	mu     sync.Mutex
	closed bool
	done   chan struct{}
}

// offer queues a connection that was made.
func (l *hostListener) offer(c *hostConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	select {
	case l.queue <- c:
		return true
	default:
		return false
	}
}

func (l *hostListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

func (l *hostListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	close(l.done)
	l.host.network.mu.Lock()
	delete(l.host.network.listeners, l.at)
	l.host.network.mu.Unlock()
	for {
		select {
		case c := <-l.queue:
			c.reset()
		default:
			return nil
		}
	}
}

func (l *hostListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// hostConn is one end of a connection: it puts on one lane and takes from another.
type hostConn struct {
	host          *Host
	out, in       *lane
	local, remote netip.AddrPort
	closed        atomic.Bool

	readMu, writeMu sync.Mutex // one Read and one Write at a time
	read, write     deadline
}

func newHostConn(h *Host, out, in *lane, local, remote netip.AddrPort) *hostConn {
	c := &hostConn{
		host: h, out: out, in: in, local: local, remote: remote,
		read: deadline{passed: make(chan struct{})}, write: deadline{passed: make(chan struct{})},
	}
	h.mu.Lock()
	h.conns[c] = struct{}{}
	h.mu.Unlock()
	return c
}

func (c *hostConn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	n, err := c.in.take(p, c.read.wait())
	return n, c.failed("read", err)
}

func (c *hostConn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	n, err := c.out.put(p, c.write.wait())
	return n, c.failed("write", err)
}

// failed puts an error into the form that a socket gives it.
func (c *hostConn) failed(op string, err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF) && !c.closed.Load():
		return err
	case c.closed.Load():
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close delivers what was written before, and the end after it.
func (c *hostConn) Close() error {
	if c.closed.Swap(true) {
		return c.failed("close", net.ErrClosed)
	}
	c.out.finish(io.EOF)
	c.in.stop(syscall.ECONNRESET)
	c.forget()
	return nil
}

// reset ends the connection for both sides; what is under way is lost.
func (c *hostConn) reset() {
	c.out.stop(syscall.ECONNRESET)
	c.in.stop(syscall.ECONNRESET)
	c.forget()
}

// forget takes the end off its host.
func (c *hostConn) forget() {
	_ = c.SetDeadline(time.Time{})
	c.host.mu.Lock()
	delete(c.host.conns, c)
	c.host.mu.Unlock()
}

func (c *hostConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *hostConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *hostConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *hostConn) SetReadDeadline(t time.Time) error  { c.read.set(t); return nil }
func (c *hostConn) SetWriteDeadline(t time.Time) error { c.write.set(t); return nil }

// Listen takes connections at a host, or without one at an address of this machine.
func Listen(h *Host, address string) (net.Listener, error) {
	if h != nil {
		return h.Listen(address)
	}
	return net.Listen("tcp", address)
}
