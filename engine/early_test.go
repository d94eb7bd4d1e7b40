package engine_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestRequestsWithTheHandshake: the first blocks are requested from a peer that has sent
// nothing yet; if it does not have them, another peer delivers.
func TestRequestsWithTheHandshake(t *testing.T) {
	c := newContent(t, 1<<20, 1<<20)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	requests := make(chan struct{}, 1) // all have come
	ctx := testContext(t, 20*time.Second)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(conn, make([]byte, wire.HandshakeBytes)); err != nil {
			return
		}
		// bitfield, interested, and a request for each block of up to 256 KiB
		for n := 0; n < 16; {
			var size [4]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			message := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(conn, message); err != nil {
				return
			}
			if len(message) == 13 && message[0] == 6 { // request (BEP 3)
				if n++; n == 16 {
					requests <- struct{}{}
				}
			}
		}
		hello := wire.Handshake{InfoHash: c.InfoHash(), PeerID: [20]byte{'x'}, Bits: wire.OurBits()}
		_, _ = conn.Write(wire.AppendBitfield(hello.Append(nil), make([]bool, 1)))
		<-ctx.Done()
	}()

	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, specOf(c, l.Addr().String()))
	read := make(chan error, 1)
	go func() { read <- tor.ReadAt(ctx, make([]byte, 4096), 0) }()
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	waitWhy(t, ctx, tor, "1 peer connected, none has piece 0") // it has turned out not to have it
	select {
	case err := <-read:
		t.Fatalf("read from a peer without content: %v", err)
	default:
	}
	tor.AddPeers([]string{s.Addr()})
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	select {
	case <-requests:
	default:
		t.Error("the requests did not come with the handshake")
	}
}
