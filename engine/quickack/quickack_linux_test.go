package quickack_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/quickack"
)

func one(ih weir.InfoHash) func(func(weir.InfoHash) bool) {
	return func(yield func(weir.InfoHash) bool) { yield(ih) }
}

// connPair returns the two ends of a TCP connection.
func connPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	return ours, theirs
}

// quickAck reads the option, after set was done to it.
func quickAck(t *testing.T, conn net.Conn, set func(fd int)) (on bool) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		set(int(fd))
		n, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK)
		if err != nil {
			t.Error(err)
		}
		on = n == 1
	})
	if err != nil {
		t.Fatal(err)
	}
	return on
}

func off(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0) }

func look(int) {}

func TestQuickAck(t *testing.T) {
	ih := weir.InfoHash{1}
	for name, wrap := range map[string]func(t *testing.T, ours, theirs net.Conn) net.Conn{
		"Plain": func(_ *testing.T, ours, _ net.Conn) net.Conn { return ours },
		"Encrypted": func(t *testing.T, ours, theirs net.Conn) net.Conn {
			go func() {
				_, _ = wire.Accept(context.Background(), theirs, wire.EncryptionRequired, one(ih)) // ours says how it went
			}()
			c, err := wire.Encrypt(context.Background(), ours, ih, nil, wire.EncryptionRequired)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		"Accepted": func(t *testing.T, ours, theirs net.Conn) net.Conn {
			if _, err := theirs.Write([]byte("\x13BitTorrent protocol")); err != nil {
				t.Fatal(err)
			}
			c, err := wire.Accept(context.Background(), ours, wire.EncryptionAllowed, one(ih))
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := connPair(t)
			var few atomic.Bool
			ack := quickack.New(wrap(t, ours, theirs), few.Load)
			if quickAck(t, ours, off) {
				t.Fatal("the kernel does not take the option back")
			}
			ack.Set()
			if quickAck(t, ours, look) {
				t.Error("set though many blocks are awaited")
			}
			few.Store(true)
			ack.Set()
			if !quickAck(t, ours, look) {
				t.Error("not set")
			}
			quickAck(t, ours, off)
			r := ack.Reader(readerFunc(func([]byte) (int, error) {
				if !quickAck(t, ours, look) {
					t.Error("not set before a read")
				}
				return 0, io.EOF
			}))
			if _, err := r.Read(nil); err != io.EOF {
				t.Errorf("read: %v", err)
			}
		})
	}
	t.Run("NotTCP", func(*testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		quickack.New(a, func() bool { return true }).Set()
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
