package swarmtest_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
)

// rawClient speaks the protocol with bytes written out by hand, so that the kit
// isn't checked against its own encoding.
type rawClient struct {
	tb       testing.TB
	c        net.Conn
	reserved [8]byte // of the seeder
	infoHash [20]byte
}

const (
	fast    = "\x00\x00\x00\x00\x00\x00\x00\x04"
	extends = "\x00\x00\x00\x00\x00\x10\x00\x00"
	bare    = "\x00\x00\x00\x00\x00\x00\x00\x00"
	both    = "\x00\x00\x00\x00\x00\x10\x00\x04"
)

func dialRaw(tb testing.TB, s *swarmtest.Seeder) net.Conn {
	tb.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// newRawClient connects and reads the seeder's handshake.
func newRawClient(tb testing.TB, s *swarmtest.Seeder, c *swarmtest.Content, reserved string) *rawClient {
	tb.Helper()
	r := &rawClient{tb: tb, c: dialRaw(tb, s)}
	ih := c.InfoHash()
	r.write("\x13BitTorrent protocol" + reserved + string(ih[:]) + "-XX0000-abcdefghijkl")
	b := r.read(68)
	if string(b[:20]) != "\x13BitTorrent protocol" {
		tb.Fatalf("handshake %q", b)
	}
	copy(r.reserved[:], b[20:])
	copy(r.infoHash[:], b[28:])
	return r
}

func (r *rawClient) write(s string) {
	r.tb.Helper()
	if _, err := io.WriteString(r.c, s); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *rawClient) read(n int) []byte {
	r.tb.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r.c, b); err != nil {
		r.tb.Fatalf("reading %d bytes: %v", n, err)
	}
	return b
}

// message reads one message: its id and its body.
func (r *rawClient) message() (byte, []byte) {
	r.tb.Helper()
	b := r.read(int(binary.BigEndian.Uint32(r.read(4))))
	return b[0], b[1:]
}

// expect reads a message of the given id and body ("*" for any).
func (r *rawClient) expect(id byte, body string) []byte {
	r.tb.Helper()
	got, b := r.message()
	if got != id || body != "*" && string(b) != body {
		r.tb.Fatalf("message %d %.40q, want %d %.40q", got, b, id, body)
	}
	return b
}

func (r *rawClient) expectEnd() {
	r.tb.Helper()
	if b, err := io.ReadAll(r.c); err == nil && len(b) > 0 {
		r.tb.Fatalf("%d bytes before the end", len(b))
	}
}

// expectSilence checks that nothing comes for a while.
func (r *rawClient) expectSilence() {
	r.tb.Helper()
	r.c.SetReadDeadline(time.Now().Add(60 * time.Millisecond))
	n, err := r.c.Read(make([]byte, 1))
	if ne, ok := err.(net.Error); n != 0 || !ok || !ne.Timeout() {
		r.tb.Fatalf("not silent: %d bytes, %v", n, err)
	}
	r.c.SetReadDeadline(time.Now().Add(20 * time.Second))
}

func be(n ...uint32) string {
	var b []byte
	for _, n := range n {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return string(b)
}

func (r *rawClient) interested()                { r.write(be(1) + "\x02") }
func (r *rawClient) haveNone()                  { r.write(be(1) + "\x0f") }
func (r *rawClient) request(i, begin, n uint32) { r.write(be(13) + "\x06" + be(i, begin, n)) }
func (r *rawClient) cancel(i, begin, n uint32)  { r.write(be(13) + "\x08" + be(i, begin, n)) }

// extended sends a message of BEP 10.
func (r *rawClient) extended(id byte, body string) {
	r.write(be(uint32(len(body)+2)) + "\x14" + string(id) + body)
}

// expectBlock reads a block; wrong says that its bytes must differ.
func (r *rawClient) expectBlock(c *swarmtest.Content, i, begin, n uint32, wrong bool) {
	r.tb.Helper()
	b := r.expect(7, "*")
	want := make([]byte, n)
	if _, err := c.ReadAt(want, int64(i)*c.Info().PieceLength+int64(begin)); err != nil {
		r.tb.Fatal(err)
	}
	if string(b[:8]) != be(i, begin) || len(b) != 8+int(n) {
		r.tb.Fatalf("block %x of %d bytes, want %d %d of %d", b[:8], len(b)-8, i, begin, n)
	}
	if bytes.Equal(b[8:], want) == wrong {
		r.tb.Fatalf("block %d+%d: right is %v", i, begin, wrong)
	}
}

// open brings a client with the fast extension as far as the unchoke.
func openRaw(tb testing.TB, s *swarmtest.Seeder, c *swarmtest.Content) *rawClient {
	tb.Helper()
	r := newRawClient(tb, s, c, fast)
	r.expect(14, "")
	r.haveNone()
	r.interested()
	r.expect(1, "")
	return r
}
