// Package wire turns one peer connection into messages and back (BEP 3, 6, 9,
// 10, 54). It knows how messages look and nothing of what they mean for a
// torrent: no picking, no state of a swarm, no goroutine lives here.
//
// The field layouts are those of anacrolix/torrent's peer_protocol. The frequent
// messages (piece, request, cancel, have) are read and written here without an
// allocation, the others go through that package.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
)

// Block is the buffer of one block. Blocks are pooled: whoever gets one from a
// Reader owns it until Free.
type Block struct {
	buf [weir.BlockBytes]byte
	n   int
}

var blocks = sync.Pool{New: func() any { return new(Block) }}

// NewBlock returns a block of n bytes, at most weir.BlockBytes, of unspecified
// content.
func NewBlock(n int) *Block {
	b := blocks.Get().(*Block)
	b.n = n
	return b
}

// Bytes returns the block's content.
func (b *Block) Bytes() []byte { return b.buf[:b.n] }

// Free gives the buffer back. The block must not be used afterwards.
func (b *Block) Free() { blocks.Put(b) }

// Message is one message from a peer. Which fields are set depends on Type.
type Message struct {
	Type                 pp.MessageType
	Index, Begin, Length int    // Length of a Piece is the length of its data
	Data                 *Block // of a Piece; the receiver frees it
	Bits                 []bool // of a Bitfield
	ExtendedID           int
	Payload              []byte // of an Extended message
	Hash                 *HashMessage
	Hashes               [][32]byte // of a Hashes message: the layer, then the proof
}

// HashMessage is what the messages about hashes have in common (BEP 52): which
// hashes of which file's tree.
type HashMessage struct {
	Root        [32]byte
	BaseLayer   int
	Index       int
	Length      int
	ProofLayers int
}

// Bounds on what a peer may send.
const (
	maxMessage = 4 << 20   // a bitfield of 2^25 pieces; metadata comes in 16 KiB
	readBuffer = 256 << 10 // one system call for many blocks
)

var errBlockTooLong = errors.New("block longer than 16 KiB")

// Reader reads the messages that follow the handshake. It is not safe for
// concurrent use.
type Reader struct {
	r   *bufio.Reader
	dec pp.Decoder
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader {
	br := bufio.NewReaderSize(r, readBuffer)
	return &Reader{r: br, dec: pp.Decoder{R: br, MaxLength: maxMessage}}
}

// Buffered reports whether another message may be at hand without waiting.
func (r *Reader) Buffered() bool { return r.r.Buffered() > 0 }

// Next waits for a message. Keep-alives and messages of unknown type are
// skipped. Any error ends the connection.
func (r *Reader) Next() (Message, error) {
	for {
		head, err := r.r.Peek(4)
		if err != nil {
			return Message{}, err
		}
		n := binary.BigEndian.Uint32(head)
		if n == 0 {
			_, _ = r.r.Discard(4)
			continue
		}
		if n > maxMessage {
			return Message{}, fmt.Errorf("message of %d bytes: %w", n, weir.ErrInvalid)
		}
		if head, err = r.r.Peek(5); err != nil {
			return Message{}, err
		}
		switch t := pp.MessageType(head[4]); {
		case t == pp.Piece:
			return r.piece(int(n))
		case !known(t):
			if _, err := r.r.Discard(4 + int(n)); err != nil {
				return Message{}, err
			}
			continue
		}
		return r.other()
	}
}

func known(t pp.MessageType) bool {
	switch t {
	case pp.Choke, pp.Unchoke, pp.Interested, pp.NotInterested, pp.Have, pp.Bitfield, pp.Request, pp.Piece, pp.Cancel,
		pp.Port, pp.Suggest, pp.HaveAll, pp.HaveNone, pp.Reject, pp.AllowedFast, pp.Extended,
		pp.HashRequest, pp.Hashes, pp.HashReject:
		return true
	}
	return false
}

func (r *Reader) piece(n int) (Message, error) {
	const fixed = 9 // type, index, begin
	if n < fixed {
		return Message{}, fmt.Errorf("piece message of %d bytes: %w", n, weir.ErrInvalid)
	}
	if n-fixed > weir.BlockBytes {
		return Message{}, errBlockTooLong
	}
	head, err := r.r.Peek(4 + fixed)
	if err != nil {
		return Message{}, err
	}
	m := Message{
		Type:   pp.Piece,
		Index:  int(binary.BigEndian.Uint32(head[5:])),
		Begin:  int(binary.BigEndian.Uint32(head[9:])),
		Length: n - fixed,
		Data:   NewBlock(n - fixed),
	}
	_, _ = r.r.Discard(4 + fixed)
	if _, err := io.ReadFull(r.r, m.Data.Bytes()); err != nil {
		m.Data.Free()
		return Message{}, err
	}
	return m, nil
}

func (r *Reader) other() (Message, error) {
	var p pp.Message
	if err := r.dec.Decode(&p); err != nil {
		return Message{}, err
	}
	m := Message{
		Type:       p.Type,
		Index:      int(p.Index),
		Begin:      int(p.Begin),
		Length:     int(p.Length),
		Bits:       p.Bitfield,
		ExtendedID: int(p.ExtendedID),
		Payload:    p.ExtendedPayload,
		Hashes:     p.Hashes,
	}
	switch p.Type {
	case pp.HashRequest, pp.Hashes, pp.HashReject:
		m.Hash = &HashMessage{
			Root: p.PiecesRoot, BaseLayer: int(p.BaseLayer), Index: int(p.Index), Length: int(p.Length), ProofLayers: int(p.ProofLayers),
		}
	}
	return m, nil
}

// AppendRequest appends a request, cancel or reject to b.
func AppendRequest(b []byte, t pp.MessageType, index, begin, length int) []byte {
	b = binary.BigEndian.AppendUint32(b, 13)
	b = append(b, byte(t))
	b = binary.BigEndian.AppendUint32(b, uint32(index))
	b = binary.BigEndian.AppendUint32(b, uint32(begin))
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// AppendPieceHeader appends what stands before n bytes of a piece message.
func AppendPieceHeader(b []byte, index, begin, n int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(9+n))
	b = append(b, byte(pp.Piece))
	b = binary.BigEndian.AppendUint32(b, uint32(index))
	return binary.BigEndian.AppendUint32(b, uint32(begin))
}

// AppendHave appends a have.
func AppendHave(b []byte, index int) []byte {
	b = binary.BigEndian.AppendUint32(b, 5)
	b = append(b, byte(pp.Have))
	return binary.BigEndian.AppendUint32(b, uint32(index))
}

// AppendBare appends a message without fields, such as choke or have all.
func AppendBare(b []byte, t pp.MessageType) []byte {
	return append(binary.BigEndian.AppendUint32(b, 1), byte(t))
}

// AppendKeepAlive appends a message of no length.
func AppendKeepAlive(b []byte) []byte { return binary.BigEndian.AppendUint32(b, 0) }

// AppendBitfield appends a bitfield.
func AppendBitfield(b []byte, have []bool) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(1+(len(have)+7)/8))
	b = append(b, byte(pp.Bitfield))
	at := len(b)
	b = append(b, make([]byte, (len(have)+7)/8)...)
	for i, h := range have {
		if h {
			b[at+i/8] |= 0x80 >> (i % 8)
		}
	}
	return b
}

// AppendExtended appends an extension message (BEP 10).
func AppendExtended(b []byte, id int, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(2+len(payload)))
	b = append(b, byte(pp.Extended), byte(id))
	return append(b, payload...)
}

// AppendHashes appends a hash request, hashes, or a hash reject (BEP 52).
func AppendHashes(b []byte, t pp.MessageType, h HashMessage, hashes [][32]byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(1+32+16+32*len(hashes)))
	b = append(b, byte(t))
	b = append(b, h.Root[:]...)
	for _, n := range []int{h.BaseLayer, h.Index, h.Length, h.ProofLayers} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}
