package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
)

// Bounds on the length of a message, by its type, and sizes of buffers. Lengths include
// the byte of the type.
const (
	pieceHeaderBytes = 9 // type, index, begin
	hashHeaderBytes  = 1 + 32 + 4*4
	// MaxHashes is the most hashes that clients ask for at a time.
	MaxHashes             = 8192
	maxHashesAndProof     = MaxHashes + 64     // and a proof
	maxHandshakeBytes     = 64 << 10           // an extension handshake; the usual one has 300 bytes
	maxMetadataBytes      = 2 + 16<<10 + 1<<10 // a piece of it and a dictionary
	maxPexBytes           = 64 << 10           // BEP 11 allows 100 addresses
	maxIgnoredBytes       = 1 << 20            // a message that is ignored
	maxEarlyBitfieldBytes = 1 + 512<<10        // a bitfield before the number of pieces is known: 2^22
	initialBufferBytes    = 4 << 10            // all that a silent peer costs
	largeBufferBytes      = 256 << 10          // one system call for many blocks
	growAfterBlocks       = 4                  // blocks
	readStepBytes         = 32 << 10           // long messages are read in such steps
)

// Our numbers for the extensions that we speak (BEP 10).
const (
	MetadataID = 1
	PexID      = 2
	DontHaveID = 3
	PlanID     = 4
)

// Reader reads the messages that follow the handshake. It is not safe for
// concurrent use.
type Reader struct {
	src           io.Reader
	r             *bufio.Reader
	pieces        func() int
	blocks        int // read so far, up to growAfterBlocks
	lastHandshake ExtensionHandshake
}

// NewReader returns a Reader on r. pieces tells how many pieces the torrent has, 0
// while that is not known.
func NewReader(r io.Reader, pieces func() int) *Reader {
	return &Reader{src: r, r: bufio.NewReaderSize(r, initialBufferBytes), pieces: pieces}
}

// Buffered reports whether another message may be there without waiting.
func (r *Reader) Buffered() bool { return r.r.Buffered() > 0 }

// Next waits for a message. Any error ends the connection.
func (r *Reader) Next() (Message, error) {
	head, err := r.r.Peek(4)
	if err != nil {
		return Message{}, err
	}
	n := int64(binary.BigEndian.Uint32(head))
	if n == 0 {
		_, _ = r.r.Discard(4)
		return Message{Ignored: true}, nil
	}
	if head, err = r.r.Peek(5); err != nil {
		return Message{}, err
	}
	m := Message{Type: pp.MessageType(head[4])}
	if least, most := r.bounds(m.Type); n < least || n > most {
		return Message{}, weir.Errorf(weir.ErrInvalid, "a message of type %d can't have %d bytes", m.Type, n)
	}
	m.Bytes = int(n)
	_, _ = r.r.Discard(5)
	return m, r.fields(&m, int(n)-1)
}

// bounds returns how long a message of a type may be.
func (r *Reader) bounds(t pp.MessageType) (least, most int64) {
	switch t {
	case pp.Choke, pp.Unchoke, pp.Interested, pp.NotInterested, pp.HaveAll, pp.HaveNone:
		return 1, 1
	case pp.Have, pp.Suggest, pp.AllowedFast:
		return 5, 5
	case pp.Request, pp.Cancel, pp.Reject:
		return 13, 13
	case pp.Port:
		return 3, 3
	case pp.Piece:
		return pieceHeaderBytes, pieceHeaderBytes + weir.BlockBytes
	case pp.Bitfield:
		if n := r.pieces(); n > 0 {
			exact := 1 + (int64(n)+7)/8
			return exact, exact
		}
		return 1, maxEarlyBitfieldBytes
	case pp.Extended:
		return 2, maxIgnoredBytes
	case pp.HashRequest, pp.HashReject:
		return hashHeaderBytes, hashHeaderBytes
	case pp.Hashes:
		return hashHeaderBytes, hashHeaderBytes + maxHashesAndProof*32
	}
	return 1, maxIgnoredBytes
}

// fields reads the n bytes behind the type.
func (r *Reader) fields(m *Message, n int) error {
	switch m.Type {
	case pp.Choke, pp.Unchoke, pp.Interested, pp.NotInterested, pp.HaveAll, pp.HaveNone:
		return nil
	case pp.Have, pp.AllowedFast:
		return r.numbers(&m.Index)
	case pp.Request, pp.Cancel, pp.Reject:
		return r.numbers(&m.Index, &m.Begin, &m.Length)
	case pp.Port:
		return r.port(m)
	case pp.Piece:
		return r.piece(m, n)
	case pp.Bitfield:
		var err error
		m.Bits, err = r.bytes(n)
		return err
	case pp.Extended:
		return r.extended(m, n)
	case pp.HashRequest, pp.Hashes, pp.HashReject:
		return r.hashes(m, n)
	}
	return r.ignore(m, n)
}

func (r *Reader) ignore(m *Message, n int) error {
	m.Ignored = true
	_, err := r.r.Discard(n)
	return err
}

// numbers reads numbers of four bytes.
func (r *Reader) numbers(to ...*int) error {
	b, err := r.r.Peek(4 * len(to))
	if err != nil {
		return err
	}
	for i, n := range to {
		*n = int(binary.BigEndian.Uint32(b[4*i:]))
	}
	_, _ = r.r.Discard(4 * len(to))
	return nil
}

func (r *Reader) port(m *Message) error {
	b, err := r.r.Peek(2)
	if err != nil {
		return err
	}
	m.Port = int(binary.BigEndian.Uint16(b))
	_, _ = r.r.Discard(2)
	return nil
}

// bytes reads n bytes, for which memory is taken as they arrive.
func (r *Reader) bytes(n int) ([]byte, error) {
	var b []byte
	for len(b) < n {
		step := min(n-len(b), max(readStepBytes, len(b)))
		at := len(b)
		b = append(b, make([]byte, step)...)
		if _, err := io.ReadFull(r.r, b[at:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (r *Reader) piece(m *Message, n int) error {
	if err := r.numbers(&m.Index, &m.Begin); err != nil {
		return err
	}
	if r.blocks++; r.blocks == growAfterBlocks {
		r.grow()
	}
	m.Length = n - 8
	m.Data = NewBlock(m.Length)
	if _, err := io.ReadFull(r.r, m.Data.Bytes()); err != nil {
		m.Data.Free()
		m.Data = nil
		return err
	}
	return nil
}

// grow changes to the large buffer: this peer sends blocks.
func (r *Reader) grow() {
	held, _ := r.r.Peek(r.r.Buffered())
	r.r = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(held)), r.src), largeBufferBytes)
	_, _ = r.r.Peek(len(held)) // so that Buffered counts them
}

func (r *Reader) extended(m *Message, n int) error {
	id, err := r.r.ReadByte()
	if err != nil {
		return err
	}
	m.ExtendedID = int(id)
	n--
	var most int
	switch id {
	case pp.HandshakeExtendedID:
		most = maxHandshakeBytes
	case MetadataID:
		most = maxMetadataBytes
	case PexID:
		most = maxPexBytes
	case DontHaveID:
		most = 4
	case PlanID:
		most = maxPlan
	default:
		return r.ignore(m, n)
	}
	if n > most {
		return weir.Errorf(weir.ErrInvalid, "extension message %d is too long: %d bytes", id, n)
	}
	b, err := r.bytes(n)
	if err != nil {
		return err
	}
	switch id {
	case pp.HandshakeExtendedID:
		m.Handshake = parseExtensionHandshake(b, r.lastHandshake)
		m.Ignored = m.Handshake == nil // the peer is of use without extensions
		if !m.Ignored {
			r.lastHandshake = *m.Handshake
		}
	case MetadataID:
		m.Metadata, err = parseMetadata(b)
	default:
		m.Payload = b
	}
	return err
}

func (r *Reader) hashes(m *Message, n int) error {
	if (n-(hashHeaderBytes-1))%32 != 0 {
		return weir.Errorf(weir.ErrInvalid, "%d bytes are no whole number of hashes", n)
	}
	m.Hash = new(HashMessage)
	if _, err := io.ReadFull(r.r, m.Hash.Root[:]); err != nil {
		return err
	}
	if err := r.numbers(&m.Hash.BaseLayer, &m.Hash.Index, &m.Hash.Length, &m.Hash.ProofLayers); err != nil {
		return err
	}
	b, err := r.bytes(n - (hashHeaderBytes - 1))
	if err != nil || len(b) == 0 {
		return err
	}
	m.Hashes = make([][32]byte, len(b)/32)
	for i := range m.Hashes {
		copy(m.Hashes[i][:], b[32*i:])
	}
	return nil
}
