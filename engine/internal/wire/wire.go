// Package wire reads and writes the messages of one peer connection (BEP 3, 6, 9, 10,
// 54). It knows how messages look and nothing of what they mean for a torrent: no
// picking, no state of a swarm, no goroutine lives here.
//
// The numbers of messages and extension bits are those of anacrolix/torrent's
// peer_protocol. A message longer than its type allows is refused. The frequent ones (piece, request, cancel, have) are read and written without an
// allocation.
package wire

import (
	"encoding/binary"
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

// Extend puts zeros around the block's bytes: before of them in front, and behind as many
// as make it n bytes in all.
func (b *Block) Extend(before, n int) {
	if before > 0 {
		copy(b.buf[before:n], b.buf[:b.n])
		clear(b.buf[:before])
		b.n += before
	}
	if n > b.n {
		clear(b.buf[b.n:n])
		b.n = n
	}
}

// Free gives the buffer back. The block must not be used afterwards.
func (b *Block) Free() { blocks.Put(b) }

// Message is one message from a peer. Which fields are set depends on Type.
type Message struct {
	Type                 pp.MessageType
	Ignored              bool   // a keep-alive, or of a type or number that we don't know
	Index, Begin, Length int    // Length of a Piece is the length of its data
	Data                 *Block // of a Piece; the receiver frees it
	Bits                 []byte // of a Bitfield, as it came
	Port                 int    // of a Port: UDP, of the peer's DHT node
	ExtendedID           int
	Payload              []byte              // of an Extended message that is not parsed here
	Handshake            *ExtensionHandshake // of an Extended message with that number
	Metadata             *MetadataMessage    // the same
	Hash                 *HashMessage
	Hashes               [][32]byte // of a Hashes message: the layer, then the proof
	Bytes                int        // on the wire, without the length
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

// AppendAllowedFast appends an allowed fast (BEP 6).
func AppendAllowedFast(b []byte, index int) []byte {
	b = binary.BigEndian.AppendUint32(b, 5)
	b = append(b, byte(pp.AllowedFast))
	return binary.BigEndian.AppendUint32(b, uint32(index))
}

// AppendBare appends a message without fields, such as choke or have all.
func AppendBare(b []byte, t pp.MessageType) []byte {
	return append(binary.BigEndian.AppendUint32(b, 1), byte(t))
}

// AppendKeepAlive appends a message of no length.
func AppendKeepAlive(b []byte) []byte { return binary.BigEndian.AppendUint32(b, 0) }

// AppendPort appends the UDP port of our DHT node (BEP 5).
func AppendPort(b []byte, port int) []byte {
	b = append(binary.BigEndian.AppendUint32(b, 3), byte(pp.Port))
	return binary.BigEndian.AppendUint16(b, uint16(port))
}

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
