package swarmtest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// ErrRejected is what Leech.Fetch returns for a block that the peer rejected
// (BEP 6), and Leech.Metadata for metadata that it refused (BEP 9).
var ErrRejected = errors.New("rejected by the peer")

// LeechOptions are the settings of a leech.
type LeechOptions struct {
	From       string // IP address to connect from; empty leaves it to the system
	Link       simnet.Link
	NoFast     bool // no fast extension (BEP 6)
	NoExtended bool // no extension protocol (BEP 10)
}

// Leech is one connection to a peer whose uploading is tested. It requests what the test
// tells it to, and has no pieces. Its methods are safe for concurrent use.
type Leech struct {
	nc        net.Conn
	shaper    *simnet.Shaper
	fast, ext bool
	done      chan struct{} // closed when the reader has ended
	writeMu   sync.Mutex

	mu       sync.Mutex
	changed  chan struct{} // closed and made anew with each message
	err      error         // why the connection ended
	all      bool          // have-all was received
	field    bitfield      // as received
	haves    []int         // in the order of the messages
	unchoked bool
	told     bool // interested was sent
	blocks   map[request][]byte
	rejected map[request]bool
	extended *extended
	metadata map[int64][]byte           // nil values for refused pieces
	hashes   map[HashRequest][][32]byte // nil values for rejected ones
}

// DialLeech connects to addr, exchanges handshakes for the torrent, and returns
// when the peer's is there. Close ends it.
func DialLeech(ctx context.Context, addr string, ih weir.InfoHash, o LeechOptions) (*Leech, error) {
	l := &Leech{
		shaper: simnet.NewShaper(o.Link), done: make(chan struct{}), changed: make(chan struct{}),
		blocks: map[request][]byte{}, rejected: map[request]bool{}, metadata: map[int64][]byte{},
	}
	nc, err := l.shaper.Dial(ctx, o.From, addr)
	if err != nil {
		return nil, err
	}
	l.nc = nc
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	r, err := l.handshake(ih, o)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		l.shaper.Close()
		return nil, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	go l.readLoop(r)
	return l, nil
}

func (l *Leech) handshake(ih weir.InfoHash, o LeechOptions) (*bufio.Reader, error) {
	mine := handshake{fast: !o.NoFast, extended: !o.NoExtended, infoHash: ih}
	copy(mine.peerID[:], "-WL0001-")
	_, _ = rand.Read(mine.peerID[8:])
	if _, err := l.nc.Write(mine.append(nil)); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(l.nc, 64<<10)
	theirs, err := readHandshakeHead(r)
	if err != nil {
		return nil, err
	}
	var id [20]byte
	if _, err := io.ReadFull(r, id[:]); err != nil {
		return nil, err
	}
	if theirs.infoHash != ih {
		return nil, fmt.Errorf("answered for torrent %s", theirs.infoHash)
	}
	l.fast, l.ext = mine.fast && theirs.fast, mine.extended && theirs.extended
	var b []byte
	if l.fast {
		b = appendMessage(b, msgHaveNone)
	}
	if l.ext {
		b = appendExtended(b, 0, dict{"m": dict{"ut_metadata": metadataID}, "v": "swarmtest leech"}, nil)
	}
	_, err = l.nc.Write(b)
	return r, err
}

// Close ends the connection and waits for its goroutine.
func (l *Leech) Close() error {
	l.nc.Close()
	<-l.done
	return l.shaper.Close()
}

// Fast reports whether both sides have the fast extension.
func (l *Leech) Fast() bool { return l.fast }

// Extended reports whether both sides have the extension protocol.
func (l *Leech) Extended() bool { return l.ext }

// Err returns why the connection ended, nil while it lives.
func (l *Leech) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Has reports whether the peer said that it has the piece.
func (l *Leech) Has(piece int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all || l.field.has(piece) || slices.Contains(l.haves, piece)
}

// Bitfield returns the bytes of the peer's bitfield, nil when it sent none.
func (l *Leech) Bitfield() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.field)
}

// Haves returns the pieces of the peer's have messages, in order.
func (l *Leech) Haves() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.haves)
}

// Unchoked reports whether the peer unchokes the leech at the moment.
func (l *Leech) Unchoked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unchoked
}

// Wait returns when ok holds. It is called again after each message, without a
// lock, so it may use the other methods.
func (l *Leech) Wait(ctx context.Context, ok func() bool) error {
	for {
		l.mu.Lock()
		changed, err := l.changed, l.err
		l.mu.Unlock()
		if ok() {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a peer: %w", context.Cause(ctx))
		}
	}
}

func (l *Leech) send(b []byte) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	_, err := l.nc.Write(b)
	return err
}

// Interested tells the peer that the leech wants something, once.
func (l *Leech) Interested() error {
	l.mu.Lock()
	told := l.told
	l.told = true
	l.mu.Unlock()
	if told {
		return nil
	}
	return l.send(appendMessage(nil, msgInterested))
}

// Request sends a request, whether the peer unchokes or not, and does not wait.
func (l *Leech) Request(piece, begin, length int) error {
	return l.send(appendRequest(nil, msgRequest, newRequest(piece, begin, length)))
}

// Cancel sends a cancel and does not wait.
func (l *Leech) Cancel(piece, begin, length int) error {
	return l.send(appendRequest(nil, msgCancel, newRequest(piece, begin, length)))
}

// Have tells the peer that the leech has a piece.
func (l *Leech) Have(piece int) error {
	return l.send(appendHave(nil, uint32(piece)))
}

// Block returns what came for a request: its bytes, nil while there are none,
// and whether the peer rejected it.
func (l *Leech) Block(piece, begin, length int) (b []byte, rejected bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := newRequest(piece, begin, length)
	return l.blocks[r], l.rejected[r]
}

// Fetch tells the peer that the leech is interested, waits until it unchokes,
// requests the block and returns its bytes. The error is ErrRejected when the
// peer rejects it.
func (l *Leech) Fetch(ctx context.Context, piece, begin, length int) ([]byte, error) {
	if err := l.Interested(); err != nil {
		return nil, err
	}
	if err := l.Wait(ctx, l.Unchoked); err != nil {
		return nil, err
	}
	r := newRequest(piece, begin, length)
	l.mu.Lock()
	delete(l.blocks, r)
	delete(l.rejected, r)
	l.mu.Unlock()
	if err := l.Request(piece, begin, length); err != nil {
		return nil, err
	}
	var b []byte
	var rejected bool
	err := l.Wait(ctx, func() bool {
		b, rejected = l.Block(piece, begin, length)
		return b != nil || rejected
	})
	if rejected {
		return nil, ErrRejected
	}
	return b, err
}

// Metadata fetches the info dictionary (BEP 9), not verified. The error is
// ErrRejected when the peer refuses.
func (l *Leech) Metadata(ctx context.Context) ([]byte, error) {
	var e extended
	if err := l.Wait(ctx, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.extended != nil {
			e = *l.extended
		}
		return l.extended != nil
	}); err != nil {
		return nil, err
	}
	if e.metadataID == 0 || e.metadataSize <= 0 {
		return nil, weir.Errorf(weir.ErrNotFound, "peer offers no metadata")
	}
	var out []byte
	for piece := int64(0); int64(len(out)) < e.metadataSize; piece++ {
		if err := l.send(appendExtended(nil, e.metadataID, dict{"msg_type": metadataRequest, "piece": piece}, nil)); err != nil {
			return nil, err
		}
		var got []byte
		if err := l.Wait(ctx, func() (ok bool) {
			l.mu.Lock()
			defer l.mu.Unlock()
			got, ok = l.metadata[piece]
			return ok
		}); err != nil {
			return nil, err
		}
		if len(got) == 0 {
			return nil, ErrRejected
		}
		out = append(out, got...)
	}
	return out, nil
}

// RequestQueue returns the reqq of the peer's extended handshake, 0 while there
// is none.
func (l *Leech) RequestQueue() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.extended == nil {
		return 0
	}
	return int(l.extended.reqq)
}

func newRequest(piece, begin, length int) request {
	return request{index: uint32(piece), begin: uint32(begin), length: uint32(length)}
}

func (l *Leech) readLoop(r *bufio.Reader) {
	defer close(l.done)
	var buf []byte
	var err error
	for err == nil {
		var m []byte
		if m, err = readFrame(r, &buf); err == nil && len(m) > 0 {
			if err = l.handle(m[0], m[1:]); err != nil {
				err = fmt.Errorf("message %d of %d bytes: %w", m[0], len(m), err)
			}
		}
		l.mu.Lock()
		l.err = err
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
	l.nc.Close()
}

var errLeechMessage = errors.New("breaks the protocol")

func (l *Leech) handle(id byte, body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id >= msgSuggest && id <= msgAllowedFast && !l.fast || id == msgExtended && !l.ext {
		return errLeechMessage
	}
	switch id {
	case msgChoke, msgUnchoke:
		l.unchoked = id == msgUnchoke
	case msgHave:
		if len(body) != 4 {
			return errLeechMessage
		}
		l.haves = append(l.haves, int(binary.BigEndian.Uint32(body)))
	case msgBitfield:
		l.field = slices.Clone(body)
	case msgHaveAll:
		l.all = true
	case msgPiece:
		if len(body) < 8 {
			return errLeechMessage
		}
		l.blocks[request{
			index: binary.BigEndian.Uint32(body), begin: binary.BigEndian.Uint32(body[4:]),
			length: uint32(len(body) - 8),
		}] = slices.Clone(body[8:])
	case msgReject:
		r, err := parseRequest(body)
		if err != nil {
			return err
		}
		l.rejected[r] = true
	case msgExtended:
		return l.handleExtended(body)
	case msgHashes, msgHashReject:
		return l.handleHashes(id, body)
	}
	return nil
}

func (l *Leech) handleExtended(body []byte) error {
	if len(body) == 0 {
		return errLeechMessage
	}
	switch body[0] {
	case 0:
		e, err := parseExtended(body[1:])
		if err != nil {
			return err
		}
		l.extended = &e
	case metadataID:
		v, tail, err := parseBencode(body[1:])
		d, ok := v.(dict)
		if err != nil || !ok {
			return errLeechMessage
		}
		piece, _ := d["piece"].(int64)
		switch d["msg_type"] {
		case int64(metadataData):
			l.metadata[piece] = slices.Clone(tail)
		case int64(metadataReject):
			l.metadata[piece] = nil
		}
	}
	return nil
}
