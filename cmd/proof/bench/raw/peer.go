// Package raw requests bytes from seeders and HTTP servers in the simplest way: it
// chooses, verifies and stores nothing. The rate that it reaches is the most that the
// line allows, the limit with which benchmarks compare weir.
//
// What lives here knows of sockets and clocks, and of weir only its vocabulary.
package raw

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/quickack"
)

// Messages of BEP 3.
const (
	msgUnchoke    = 1
	msgInterested = 2
	msgRequest    = 6
	msgPiece      = 7
)

// maxMessageBytes bounds what a peer may send at once: a bitfield or a block.
const maxMessageBytes = 1 << 20

// Peer is a connection that asks for blocks. One goroutine may use it at a time.
type Peer struct {
	conn   net.Conn
	blocks chan int // bytes of each block that came; closed when the connection ends
}

// Dial connects to a seeder, tells it that we are interested, and returns when it
// has unchoked us.
func Dial(ctx context.Context, addr string, ih weir.InfoHash) (*Peer, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	p := &Peer{conn: conn, blocks: make(chan int, 1<<14)}
	r := bufio.NewReaderSize(quickack.New(conn, always).Reader(conn), 256<<10)
	err = p.open(r, ih)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	go p.receive(r)
	return p, nil
}

// open exchanges handshakes, without any extension, and waits for the unchoke.
func (p *Peer) open(r *bufio.Reader, ih weir.InfoHash) error {
	b := append([]byte("\x13BitTorrent protocol"), make([]byte, 8)...)
	b = append(b, ih[:]...)
	b = append(b, "-RA0000-000000000000"...)
	b = append(b, 0, 0, 0, 1, msgInterested)
	if _, err := p.conn.Write(b); err != nil {
		return err
	}
	if _, err := r.Discard(68); err != nil {
		return err
	}
	for {
		if id, _, err := skip(r); err != nil || id == msgUnchoke {
			return err
		}
	}
}

// skip reads over a message and returns what it was, -1 for a keep-alive, and how
// many bytes it had behind its type.
func skip(r *bufio.Reader) (id, n int, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return 0, 0, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length == 0 {
		return -1, 0, nil
	}
	if length > maxMessageBytes {
		return 0, 0, errors.New("not a message")
	}
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return 0, 0, err
	}
	n = int(length) - 1
	_, err = r.Discard(n)
	return int(head[4]), n, err
}

// receive counts blocks until the connection ends.
func (p *Peer) receive(r *bufio.Reader) {
	defer close(p.blocks)
	for {
		id, n, err := skip(r)
		if err != nil {
			return
		}
		if id == msgPiece && n > 8 {
			p.blocks <- n - 8
		}
	}
}

// Close ends the connection.
func (p *Peer) Close() {
	p.conn.Close()
	for range p.blocks { // until its goroutine has ended
	}
}

// Ask requests a range of a piece, in blocks of 16 KiB, with one write.
func (p *Peer) Ask(piece int, begin, end int64) error {
	var b []byte
	for ; begin < end; begin += weir.BlockBytes {
		b = binary.BigEndian.AppendUint32(b, 13)
		b = append(b, msgRequest)
		b = binary.BigEndian.AppendUint32(b, uint32(piece))
		b = binary.BigEndian.AppendUint32(b, uint32(begin))
		b = binary.BigEndian.AppendUint32(b, uint32(min(weir.BlockBytes, end-begin)))
	}
	_, err := p.conn.Write(b)
	return err
}

// Wait returns when so many more bytes of blocks have come.
func (p *Peer) Wait(ctx context.Context, bytes int64) error {
	for bytes > 0 {
		select {
		case n, ok := <-p.blocks:
			if !ok {
				return io.ErrUnexpectedEOF
			}
			bytes -= int64(n)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// always acknowledges at once, however much is awaited.
func always() bool { return true }
