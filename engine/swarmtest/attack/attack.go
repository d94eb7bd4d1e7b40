// Package attack is what hostile peers send, each kind by its name: raw bytes on a
// connection, for tests that judge what they make a client keep or do. It speaks
// the protocol by itself, as swarmtest does, and imports nothing of the engine.
// It judges nothing: tests do.
package attack

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Target is the torrent that the attacked client has.
type Target struct {
	InfoHash    [20]byte
	Pieces      int
	PieceLength int
	Metadata    int      // bytes of the info dictionary
	Root        [32]byte // of a file of more than one piece, of a v2 torrent
}

// Kind is one way to attack.
type Kind struct {
	Name string
	run  func(c *conn) error
	// bare kinds begin before the handshake.
	bare bool
	// deaf kinds never read what the client answers.
	deaf bool
}

// Outcome is how an attack ended.
type Outcome struct {
	Sent    int64 // bytes
	Ended   bool  // by the other side
	Stalled bool  // the other side reads no more
}

// MostBytes is how much an attack sends before it gives up.
const MostBytes = 96 << 20

// stallAfter is how long a write must stand still to count as stalled.
const stallAfter = 300 * time.Millisecond

// Kinds returns all kinds.
func Kinds() []Kind {
	var all []Kind
	for _, family := range [][]Kind{answers, extensions, messages, handshakes, squatters} {
		all = append(all, family...)
	}
	return all
}

var errEnough = errors.New("sent enough")

// Run attacks over a fresh connection until the client ends it, reads no more, or
// has taken enough; the connection stays open for the caller to close. An error is
// a fault of the attack itself.
func (k Kind) Run(ctx context.Context, nc net.Conn, t Target) (Outcome, error) {
	return k.over(&conn{Conn: nc, Target: t, ctx: ctx, gone: make(chan struct{})})
}

// over attacks over a fresh connection.
func (k Kind) over(c *conn) (Outcome, error) {
	if tcp, ok := c.Conn.(*net.TCPConn); ok && k.deaf {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	err := c.begin(k)
	if err == nil {
		err = k.run(c)
	}
	o := Outcome{Sent: c.sent}
	var timeout net.Error
	switch {
	case err == nil, errors.Is(err, errEnough):
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		o.Stalled = true
	case c.ctx.Err() != nil:
		return o, context.Cause(c.ctx)
	default:
		o.Ended = true
	}
	return o, nil
}

// conn is a connection to the attacked client.
type conn struct {
	net.Conn
	Target
	ctx  context.Context
	sent int64
	gone chan struct{} // closed when the client has ended what is read from
}

// begin shakes hands, unless the kind is bare, and goes on taking what comes, unless
// it is deaf.
func (c *conn) begin(k Kind) error {
	if k.bare {
		c.drain()
		return nil
	}
	if err := c.put(c.hello()); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.Conn, make([]byte, 68)); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if !k.deaf {
		c.drain()
	}
	return nil
}

// drain takes what comes from now on.
func (c *conn) drain() {
	go func() {
		defer close(c.gone)
		_, _ = io.Copy(io.Discard, c.Conn)
	}()
}

// hello is a handshake that offers BEP 6, 10 and 52.
func (c *conn) hello() []byte {
	b := append([]byte("\x13BitTorrent protocol"), 0, 0, 0, 0, 0, 0x10, 0, 0x14)
	b = append(b, c.InfoHash[:]...)
	id := make([]byte, 20)
	_, _ = rand.Read(id)
	return append(b, id...)
}

// put sends b.
func (c *conn) put(b []byte) error {
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if c.sent >= MostBytes {
		return errEnough
	}
	_ = c.SetWriteDeadline(time.Now().Add(stallAfter))
	n, err := c.Write(b)
	c.sent += int64(n)
	return err
}

// flood sends messages, many at a time and the same again, until something ends it.
func (c *conn) flood(next func(i int) []byte) error {
	const step = 64 << 10
	b := make([]byte, 0, 2*step)
	for i := 0; len(b) < step; i++ {
		b = append(b, next(i)...)
	}
	for {
		if err := c.put(b); err != nil {
			return err
		}
	}
}

// frame is one message.
func frame(id byte, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)))
	return append(append(b, id), payload...)
}

// words is a message of numbers of 32 bits.
func words(id byte, ns ...int) []byte {
	var b []byte
	for _, n := range ns {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return frame(id, b...)
}

// extended is a message of BEP 10.
func extended(id byte, payload string) []byte { return frame(20, append([]byte{id}, payload...)...) }
