package simnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// hosts are two on a network: a round trip takes 300 ms, and b sends 1,000,000 bytes
// per second.
func hosts() (a, b *simnet.Host) {
	var n simnet.Network
	a = n.Host(netip.MustParseAddr("44.0.0.1"), simnet.Link{RTT: 100 * time.Millisecond})
	b = n.Host(netip.MustParseAddr("44.0.0.2"), simnet.Link{RTT: 200 * time.Millisecond, BytesPerSec: 1_000_000})
	return a, b
}

// connected returns the ends of a connection that a has made to b.
func connected(t *testing.T, a, b *simnet.Host) (dialed, accepted net.Conn) {
	t.Helper()
	l, err := b.Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := time.Now()
	if dialed, err = a.Dial(t.Context(), "44.0.0.2:80"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took != 300*time.Millisecond {
		t.Errorf("dialing took %v, want a round trip", took)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if dialed.RemoteAddr().String() != "44.0.0.2:80" || accepted.RemoteAddr().String() != dialed.LocalAddr().String() {
		t.Errorf("the ends are %v → %v and %v", dialed.LocalAddr(), dialed.RemoteAddr(), accepted.RemoteAddr())
	}
	return dialed, accepted
}

func TestNetworkDelaysAndDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := hosts()
		dialed, accepted := connected(t, a, b)
		begin := time.Now()
		go func() {
			_, _ = accepted.Write(make([]byte, 2_000_000))
			_ = accepted.Close()
		}()
		got, err := io.ReadAll(dialed)
		if err != nil || len(got) != 2_000_000 {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if took := time.Since(begin); took < 2*time.Second || took > 2500*time.Millisecond {
			t.Errorf("2 s of the line took %v", took)
		}
		if _, err := dialed.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write to who has closed: %v", err)
		}
		_ = dialed.Close()
		if _, err := dialed.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	})
}

func TestNetworkDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := hosts()
		dialed, accepted := connected(t, a, b)
		begin := time.Now()
		_ = dialed.SetReadDeadline(begin.Add(time.Second))
		if _, err := dialed.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("read: %v after %v", err, time.Since(begin))
		}
		_ = dialed.SetReadDeadline(time.Time{})
		_, _ = accepted.Write([]byte("x"))
		if n, err := dialed.Read(make([]byte, 8)); n != 1 || err != nil {
			t.Errorf("read after the deadline was lifted: %d, %v", n, err)
		}
		_ = dialed.Close()
		_ = accepted.Close()
	})
}

func TestNetworkTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := hosts()
		if _, err := a.Dial(t.Context(), "44.0.0.2:81"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial where nobody listens: %v", err)
		}
		dialed, accepted := connected(t, a, b)
		b.DropConns()
		if _, err := dialed.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after a reset: %v", err)
		}
		_ = dialed.Close()
		_ = accepted.Close()
		l, err := b.Listen(":80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := b.Listen(":80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		b.SetDown(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		if _, err := a.Dial(ctx, "44.0.0.2:80"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("dial who is down: %v after %v", err, time.Since(begin))
		}
	})
}
