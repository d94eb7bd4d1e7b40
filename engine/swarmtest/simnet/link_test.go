package simnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// slack is what a loaded machine may add to a wait; waits are never shorter.
const slack = 300 * time.Millisecond

// newLinkedPair connects a bare client to a host on the link.
func newLinkedPair(tb testing.TB, link simnet.Link) (client, host net.Conn) {
	tb.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	shaper := simnet.NewShaper(link)
	l := shaper.Listener(inner)
	client, err = net.Dial("tcp", inner.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	host, err = l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	l.Close()
	tb.Cleanup(func() { client.Close(); host.Close(); shaper.Close() })
	return client, host
}

func within(tb testing.TB, what string, got, want time.Duration) {
	tb.Helper()
	if got < want-2*time.Millisecond || got > want+slack {
		tb.Errorf("%s took %v, want %v", what, got, want)
	}
}

func echo(tb testing.TB, c net.Conn, n int) time.Duration {
	tb.Helper()
	start := time.Now()
	if _, err := c.Write(make([]byte, n)); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
		tb.Fatal(err)
	}
	return time.Since(start)
}

func TestLinkDelay(t *testing.T) {
	for name, tc := range map[string]struct {
		link        simnet.Link
		first, next time.Duration
	}{
		"None":    {simnet.Link{}, 0, 0},
		"RTT":     {simnet.Link{RTT: 60 * time.Millisecond}, 60 * time.Millisecond, 60 * time.Millisecond},
		"Connect": {simnet.Link{RTT: 60 * time.Millisecond, Connect: true}, 120 * time.Millisecond, 60 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			client, host := newLinkedPair(t, tc.link)
			go io.Copy(host, struct{ io.Reader }{host})
			// The host sees the connection a moment after the client has it.
			within(t, "first echo", echo(t, client, 10)+2*time.Millisecond, tc.first)
			within(t, "second echo", echo(t, client, 10), tc.next)
		})
	}
}

func TestLinkRate(t *testing.T) {
	const rate = 2_000_000
	for name, tc := range map[string]struct {
		link       simnet.Link
		fromClient bool
		want       time.Duration
	}{
		"Forward":  {simnet.Link{BytesPerSec: rate, RTT: 20 * time.Millisecond}, false, 310 * time.Millisecond},
		"Reverse":  {simnet.Link{ReverseBytesPerSec: rate}, true, 300 * time.Millisecond},
		"NoLimit":  {simnet.Link{RTT: 20 * time.Millisecond}, false, 10 * time.Millisecond},
		"Backward": {simnet.Link{BytesPerSec: rate}, true, 0},
		"Burst":    {simnet.Link{BytesPerSec: rate, BurstBytes: 400_000}, false, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			client, host := newLinkedPair(t, tc.link)
			from, to := host, client
			if tc.fromClient {
				from, to = client, host
			}
			want := make([]byte, 600_000)
			swarmtest.Fill(want, 1, 0)
			start := time.Now()
			wrote := make(chan error, 1)
			go func() {
				_, err := from.Write(want)
				wrote <- err
			}()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(to, got); err != nil {
				t.Fatal(err)
			}
			within(t, "600 kB", time.Since(start), tc.want)
			if err := <-wrote; err != nil || !bytes.Equal(got, want) {
				t.Fatalf("bytes changed or out of order, %v", err)
			}
		})
	}
}

func TestLinkDeadlines(t *testing.T) {
	client, host := newLinkedPair(t, simnet.Link{RTT: 10 * time.Millisecond, BytesPerSec: 100_000})
	p := make([]byte, 1)
	host.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := host.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v", err)
	}
	if ne := net.Error(nil); !errors.As(error(os.ErrDeadlineExceeded), &ne) || !ne.Timeout() {
		t.Fatal("not a timeout")
	}
	// The connection is good for more once the deadline is lifted.
	host.SetReadDeadline(time.Time{})
	client.Write([]byte("x"))
	if _, err := host.Read(p); err != nil || p[0] != 'x' {
		t.Fatalf("read after the deadline: %q, %v", p, err)
	}
	// A deadline set meanwhile ends a read that waits already.
	ended := make(chan error, 1)
	go func() {
		_, err := host.Read(p)
		ended <- err
	}()
	host.SetReadDeadline(time.Now().Add(-time.Second))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("waiting read: %v", err)
	}
	host.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := host.Write(make([]byte, 1_000_000)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 1_000_000 {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func TestLinkClose(t *testing.T) {
	t.Run("DeliversWhatWasWritten", func(t *testing.T) {
		client, host := newLinkedPair(t, simnet.Link{RTT: 40 * time.Millisecond, BytesPerSec: 1_000_000})
		if _, err := host.Write(make([]byte, 30_000)); err != nil {
			t.Fatal(err)
		}
		host.Close()
		if _, err := host.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		if _, err := host.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
		if b, err := io.ReadAll(client); err != nil || len(b) != 30_000 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	})
	t.Run("EndArrivesAfterTheBytes", func(t *testing.T) {
		client, host := newLinkedPair(t, simnet.Link{RTT: 40 * time.Millisecond})
		client.Write(make([]byte, 100))
		client.Close()
		start := time.Now()
		if b, err := io.ReadAll(host); err != nil || len(b) != 100 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		within(t, "end", time.Since(start)+5*time.Millisecond, 20*time.Millisecond)
	})
	t.Run("ShaperEndsAll", func(t *testing.T) {
		s := simnet.NewShaper(simnet.Link{BytesPerSec: 1000})
		a, b := net.Pipe()
		defer b.Close()
		c := s.Conn(a)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Write(make([]byte, 1<<20))
			ended <- err
		}()
		if _, err := io.ReadFull(b, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("write: %v", err)
		}
		late, other := net.Pipe()
		defer other.Close()
		if _, err := s.Conn(late).Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("connection after Close: %v", err)
		}
	})
}

func TestLinkSharedRate(t *testing.T) {
	s := simnet.NewShaper(simnet.Link{BytesPerSec: 2_000_000})
	defer s.Close()
	start := time.Now()
	done := make(chan struct{})
	for range 4 {
		a, b := net.Pipe()
		defer b.Close()
		go s.Conn(a).Write(make([]byte, 150_000))
		go func() {
			io.ReadFull(b, make([]byte, 150_000))
			done <- struct{}{}
		}()
	}
	for range 4 {
		<-done
	}
	within(t, "4 × 150 kB", time.Since(start), 300*time.Millisecond)
}

func TestRelay(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	go func() {
		for {
			c, err := inner.Accept()
			if err != nil {
				return
			}
			go func() { // an echo that ends when the other side has ended
				defer c.Close()
				io.Copy(c, struct{ io.Reader }{c})
			}()
		}
	}()
	r, err := simnet.OpenRelay("127.0.0.1:0", inner.Addr().String(), simnet.Link{RTT: 60 * time.Millisecond, BytesPerSec: 2_000_000})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	within(t, "echo", echo(t, c, 10), 60*time.Millisecond)

	want := make([]byte, 400_000)
	swarmtest.Fill(want, 2, 0)
	start := time.Now()
	go func() {
		c.Write(want)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	within(t, "400 kB", time.Since(start), 260*time.Millisecond)

	// Close ends a connection in the middle.
	open, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	echo(t, open, 1)
	r.Close()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection lives on")
	}
}
