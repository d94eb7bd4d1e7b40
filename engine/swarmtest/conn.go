package swarmtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/anacrolix/torrent/mse"
	"github.com/weirfs/weir"
)

// conn is one connection of a seeder: the goroutine that runs it reads, another
// one writes. Lock order: Seeder.mu, then conn.mu.
type conn struct {
	s     *Seeder
	nc    net.Conn
	r     *bufio.Reader
	rw    io.ReadWriter // nc, or the obfuscated stream over it
	id    int64
	peer  string
	began time.Time
	wake  chan struct{} // of capacity 1: the writer may have something to do
	done  chan struct{} // closed when the reader has ended

	// Set by open, under both locks, before the first message is handled.
	sv        *served
	fast, ext bool // both sides have it

	heard bool // the reader's: a message other than an extended one came

	mu         sync.Mutex
	control    []byte // messages that go before the next block
	later      []delayed
	queue      []queued
	interested bool
	choking    bool
	metadataID byte // the peer's for ut_metadata; 0 while unknown

	// The writer's.
	sent        int64 // bytes of blocks
	tally       tally
	misbehaved  Faults // the one-time faults that were served
	writeBuffer []byte
}

type queued struct {
	request
	due time.Time
}

// delayed is a message for later.
type delayed struct {
	at      time.Time
	message []byte
}

func newConn(s *Seeder, nc net.Conn) *conn {
	c := &conn{
		s: s, nc: nc, rw: nc, peer: nc.RemoteAddr().String(), began: time.Now(),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		choking: true, tally: tally{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	c.id = s.counters.ConnsTotal
	return c
}

// run serves the connection until it ends. For a connection that the seeder
// made, sv is what it was made for. ready gets the outcome of the handshake.
func (c *conn) run(sv *served, ready chan<- error) {
	var writer sync.WaitGroup
	opened := false
	sv, h, err := c.handshake(sv, func() { writer.Go(c.writeLoop) })
	if err == nil {
		c.open(sv, h)
	}
	ready <- err
	if err == nil {
		opened = true
		err = c.readLoop()
	}
	c.nc.Close()
	close(c.done)
	writer.Wait()
	c.s.mu.Lock()
	delete(c.s.conns, c)
	if opened {
		c.s.counters.ConnsOpen--
	}
	c.s.mu.Unlock()
	c.event(EventClose, request{}, err.Error())
}

// handshake exchanges the handshakes of BEP 3. It calls startWriter when the
// stream that the writer needs is there. The result is what the connection is
// for, and what both sides can do.
func (c *conn) handshake(sv *served, startWriter func()) (_ *served, both handshake, err error) {
	f := c.s.faults.Load()
	c.r = bufio.NewReaderSize(c.nc, 32<<10)
	if f.Mute {
		if _, err := io.Copy(io.Discard, c.r); err != nil {
			return nil, both, err
		}
		return nil, both, io.EOF
	}
	mine := handshake{fast: !f.NoFast, extended: !f.NoExtended, peerID: c.s.peerID}
	outgoing := sv != nil
	if outgoing {
		mine.infoHash, mine.v2 = sv.c.InfoHash(), sv.c.v2 != nil
		c.say(mine.append)
	} else if err := c.acceptEncryption(); err != nil {
		return nil, both, err
	}
	startWriter()
	theirs, err := readHandshakeHead(c.r)
	if err != nil {
		return nil, both, err
	}
	if outgoing && theirs.infoHash != sv.c.InfoHash() {
		return nil, both, errors.New("handshake for another torrent")
	}
	if !outgoing {
		if sv = c.s.served[theirs.infoHash]; sv == nil {
			return nil, both, weir.Errorf(weir.ErrNotFound, "handshake for %s, which is not served here", theirs.infoHash)
		}
		mine.infoHash, mine.v2 = theirs.infoHash, sv.c.v2 != nil
		if f.WrongInfoHash {
			mine.infoHash[0] ^= 0xff
		}
		c.say(mine.append)
	}
	var id [20]byte
	if _, err := io.ReadFull(c.r, id[:]); err != nil {
		return nil, both, err
	}
	if id == c.s.peerID {
		return nil, both, errors.New("connected to itself")
	}
	both.fast, both.extended = mine.fast && theirs.fast, mine.extended && theirs.extended
	return sv, both, nil
}

// acceptEncryption looks at the first byte and puts the obfuscated stream in
// place where the peer wants one and the seeder takes it.
func (c *conn) acceptEncryption() error {
	mode := c.s.opt.Encryption
	first, err := c.r.Peek(1)
	if err != nil {
		return err
	}
	plain := first[0] == protocolName[0]
	switch {
	case plain && mode != EncryptionRequired:
		return nil
	case plain || mode == EncryptionOff:
		return fmt.Errorf("first byte %#x: not the stream this seeder takes", first[0])
	}
	keys := func(yield func([]byte) bool) {
		for ih := range c.s.served {
			if !yield(ih[:]) {
				return
			}
		}
	}
	choose := mse.DefaultCryptoSelector
	if mode == EncryptionRequired {
		choose = func(mse.CryptoMethod) mse.CryptoMethod { return mse.CryptoMethodRC4 }
	}
	ctx, cancel := context.WithTimeout(c.s.ctx, 10*time.Second)
	defer cancel()
	stream, _, err := mse.ReceiveHandshake(ctx, struct {
		io.Reader
		io.Writer
	}{c.r, c.nc}, keys, choose)
	if err != nil {
		return err
	}
	c.rw, c.r = stream, bufio.NewReaderSize(stream, 32<<10)
	return nil
}

// open sends what follows the handshake: the pieces and the extended handshake.
func (c *conn) open(sv *served, both handshake) {
	f := c.s.faults.Load()
	size := int64(len(sv.c.infoBytes))
	if f.MetadataSize != 0 {
		size = f.MetadataSize
	}
	// Under the seeder's lock, so that a piece given from now on is announced.
	c.s.mu.Lock()
	c.mu.Lock()
	c.s.counters.ConnsOpen++
	c.sv, c.fast, c.ext = sv, both.fast, both.extended
	c.control = c.appendPieces(c.control, f)
	if c.ext {
		c.control = appendExtended(c.control, 0, dict{
			"m": dict{"ut_metadata": metadataID}, "metadata_size": size,
			"reqq": c.s.opt.RequestQueue, "v": c.s.opt.Client, "p": int(c.s.AddrPort().Port()),
		}, nil)
	}
	c.mu.Unlock()
	c.s.mu.Unlock()
	signal(c.wake)
	c.event(EventOpen, request{}, "")
}

// appendPieces appends the message that says which pieces the seeder has;
// Seeder.mu is held.
func (c *conn) appendPieces(b []byte, f *Faults) []byte {
	pieces := c.sv.c.info.NumPieces()
	field := append([]byte(nil), c.sv.have...)
	switch {
	case f.BitfieldExtra:
		return appendMessage(b, msgBitfield, append(field, 0)...)
	case f.BitfieldSpare && pieces%8 != 0:
		bitfield(field).set(pieces)
	case c.fast && c.sv.count == pieces:
		return appendMessage(b, msgHaveAll)
	case c.fast && c.sv.count == 0:
		return appendMessage(b, msgHaveNone)
	case c.sv.count == 0:
		return b // BEP 3: may be left out
	}
	return appendMessage(b, msgBitfield, field...)
}

// say appends messages to what the writer sends next.
func (c *conn) say(f func([]byte) []byte) {
	c.mu.Lock()
	c.control = f(c.control)
	c.mu.Unlock()
	signal(c.wake)
}

func (c *conn) event(kind EventKind, r request, detail string) {
	if c.s.opt.Trace == nil {
		return
	}
	e := Event{
		Time: time.Now(), Kind: kind, Seeder: c.s.addr, Conn: c.id, Peer: c.peer,
		Piece: int(r.index), Begin: int64(r.begin), Length: int64(r.length), Detail: detail,
	}
	if c.sv != nil {
		e.Torrent = c.sv.c.InfoHash()
	}
	c.s.opt.Trace(e)
}

// violation records a breach of the protocol by the peer.
func (c *conn) violation(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	c.s.mu.Lock()
	c.s.counters.Violations++
	if len(c.s.faulty) < maxViolations {
		c.s.faulty = append(c.s.faulty, c.peer+": "+what)
	}
	c.s.mu.Unlock()
	c.event(EventViolation, request{}, what)
}

// signal wakes whoever waits for ch, which holds one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
