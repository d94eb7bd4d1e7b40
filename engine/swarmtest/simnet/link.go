package simnet

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Link describes the line between one host of the swarm and the world. The
// zero Link is the bare loopback and costs nothing. TCP's slow start is not
// imitated.
type Link struct {
	RTT                time.Duration // half of it is added in each direction
	BytesPerSec        int64         // of what the host sends, all its connections together; 0 is unlimited
	ReverseBytesPerSec int64         // of what the host receives; 0 is unlimited
	// QueueBytes is how far a sender may run ahead of the rate, like a socket
	// buffer: what is in there can't be cancelled any more. 0 means 5 ms of the
	// rate, and at least 32 KiB.
	QueueBytes int64
	BurstBytes int64 // sent at once, above the rate, after the line was idle for long enough
	// Connect makes the connection itself take a round trip: nothing sent in the
	// first one arrives earlier than it could after a real TCP handshake.
	Connect bool
}

func (l Link) isZero() bool {
	return l.RTT <= 0 && l.BytesPerSec <= 0 && l.ReverseBytesPerSec <= 0
}

// Shaper puts connections on one Link, whose rates they share. Its methods are
// safe for concurrent use.
type Shaper struct {
	link     Link
	out, in  bucket
	mu       sync.Mutex
	closed   bool
	sessions map[interface{ abort() }]struct{}
}

// NewShaper returns a Shaper for the link. Close ends every connection on it.
func NewShaper(link Link) *Shaper {
	s := &Shaper{link: link, sessions: map[interface{ abort() }]struct{}{}}
	s.out.queueBytes, s.in.queueBytes = link.QueueBytes, link.QueueBytes
	s.out.burstBytes, s.in.burstBytes = link.BurstBytes, link.BurstBytes
	s.SetRate(link.BytesPerSec, link.ReverseBytesPerSec)
	return s
}

// SetRate changes the rates of a link that is in use (0 is unlimited). It does
// not reach connections made while the Link was zero, for those bypass it.
func (s *Shaper) SetRate(bytesPerSec, reverseBytesPerSec int64) {
	s.out.rate.Store(bytesPerSec)
	s.in.rate.Store(reverseBytesPerSec)
}

// Rate returns the rate at which its side sends, 0 if unlimited.
func (s *Shaper) Rate() int64 { return s.out.rate.Load() }

func (s *Shaper) bypassed() bool {
	return s.link.isZero() && s.out.rate.Load() <= 0 && s.in.rate.Load() <= 0
}

// Conn puts a connection that has just been made on the link, at the host's
// end: what is written goes out at the link's rate and arrives half an RTT
// later, and the same the other way round. With a zero Link it is inner itself.
//
// Close delivers what was written before, as TCP does, and returns at once.
func (s *Shaper) Conn(inner net.Conn) net.Conn {
	if s.bypassed() {
		return inner
	}
	c := &shapedConn{
		Conn: inner, shaper: s,
		out: newLane(&s.out, s.link.RTT/2), in: newLane(&s.in, s.link.RTT/2),
		read: deadline{passed: make(chan struct{})}, write: deadline{passed: make(chan struct{})},
	}
	if s.link.Connect {
		// SYN, SYN-ACK, then the first data: three half trips for what the other
		// side sends, four for what this side sends once it has the ACK.
		now := time.Now()
		c.in.floor = now.Add(s.link.RTT * 3 / 2)
		c.out.floor = now.Add(s.link.RTT * 2)
	}
	if !s.enter(c) {
		inner.Close()
		c.in.stop(net.ErrClosed)
		c.out.stop(net.ErrClosed)
		return c
	}
	c.pumps.Add(2)
	c.pumping.Store(2)
	go c.pumpOut()
	go c.pumpIn()
	return c
}

// Listener wraps each connection that l accepts. Closing it closes l, and leaves
// the connections to Close of the Shaper.
func (s *Shaper) Listener(l net.Listener) net.Listener { return shapedListener{l, s} }

// Dial connects to addr (host:port) through the link, from the IP address from
// where that is not empty; with Link.Connect it takes an RTT.
func (s *Shaper) Dial(ctx context.Context, from, addr string) (net.Conn, error) {
	if s.link.Connect && s.link.RTT > 0 {
		t := time.NewTimer(s.link.RTT)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := s.Conn(nc)
	if sc, ok := c.(*shapedConn); ok {
		// The round trip has been waited for above.
		sc.in.setFloor(time.Time{})
		sc.out.setFloor(time.Time{})
	}
	return c, nil
}

// Close ends every connection at once, undelivered bytes are lost, and waits
// for their goroutines.
func (s *Shaper) Close() error {
	s.mu.Lock()
	s.closed = true
	var all []interface{ abort() }
	for c := range s.sessions {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.abort()
	}
	return nil
}

func (s *Shaper) enter(c interface{ abort() }) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[c] = struct{}{}
	return true
}

func (s *Shaper) leave(c interface{ abort() }) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
}

type shapedListener struct {
	net.Listener
	shaper *Shaper
}

func (l shapedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.shaper.Conn(c), nil
}

// shapedConn is one connection on a Shaper: a lane and a goroutine for each
// direction between its user and the inner connection.
type shapedConn struct {
	net.Conn // the inner one
	shaper   *Shaper
	out, in  *lane
	pumps    sync.WaitGroup
	pumping  atomic.Int32
	once     sync.Once

	readMu, writeMu sync.Mutex // one Read and one Write at a time
	read, write     deadline
}

func (c *shapedConn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return c.in.take(p, c.read.wait())
}

func (c *shapedConn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.out.put(p, c.write.wait())
}

func (c *shapedConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *shapedConn) SetReadDeadline(t time.Time) error  { c.read.set(t); return nil }
func (c *shapedConn) SetWriteDeadline(t time.Time) error { c.write.set(t); return nil }

// lingerFor bounds how long a closed connection tries to deliver to a peer that
// does not read.
const lingerFor = 2 * time.Second

func (c *shapedConn) Close() error {
	c.once.Do(func() {
		c.in.stop(net.ErrClosed)
		c.out.finish(net.ErrClosed)
		c.Conn.SetWriteDeadline(time.Now().Add(c.out.delay + lingerFor))
	})
	return nil
}

func (c *shapedConn) abort() {
	c.in.stop(net.ErrClosed)
	c.out.stop(net.ErrClosed)
	c.Conn.Close()
	c.pumps.Wait()
}

func (c *shapedConn) pumpOut() {
	defer c.pumpDone()
	defer c.Conn.Close()
	c.out.stop(c.out.drainTo(c.Conn))
}

func (c *shapedConn) pumpIn() {
	defer c.pumpDone()
	c.in.fillFrom(c.Conn)
}

// pumpDone forgets the connection when its second goroutine ends.
func (c *shapedConn) pumpDone() {
	if c.pumping.Add(-1) == 0 {
		c.shaper.leave(c)
	}
	c.pumps.Done()
}
