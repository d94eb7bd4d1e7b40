package swarmtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/weirfs/weir"
)

// Message ids of BEP 3, BEP 6 and BEP 10.
const (
	msgChoke         = 0
	msgUnchoke       = 1
	msgInterested    = 2
	msgNotInterested = 3
	msgHave          = 4
	msgBitfield      = 5
	msgRequest       = 6
	msgPiece         = 7
	msgCancel        = 8
	msgPort          = 9
	msgSuggest       = 13
	msgHaveAll       = 14
	msgHaveNone      = 15
	msgReject        = 16
	msgAllowedFast   = 17
	msgExtended      = 20
)

// protocolName opens the handshake (BEP 3).
const protocolName = "\x13BitTorrent protocol"

const handshakeBytes = len(protocolName) + 8 + 20 + 20

// maxFrameBytes is the longest message that is read. A bitfield of a million
// pieces has 125 kB.
const maxFrameBytes = 1 << 20

// maxRequestBytes is the longest block that is served; more is refused, as the
// common clients do.
const maxRequestBytes = 128 << 10

// handshake is what both sides say first (BEP 3).
type handshake struct {
	fast     bool // BEP 6
	extended bool // BEP 10
	v2       bool // BEP 52
	infoHash weir.InfoHash
	peerID   [20]byte
}

func (h handshake) append(b []byte) []byte {
	b = append(b, protocolName...)
	var reserved [8]byte
	if h.extended {
		reserved[5] |= 0x10
	}
	if h.fast {
		reserved[7] |= 0x04
	}
	if h.v2 {
		reserved[7] |= 0x10
	}
	b = append(b, reserved[:]...)
	b = append(b, h.infoHash[:]...)
	return append(b, h.peerID[:]...)
}

// readHandshakeHead reads a handshake up to the info hash, after which the side
// that was connected to must answer; the peer id follows.
func readHandshakeHead(r io.Reader) (handshake, error) {
	var b [handshakeBytes - 20]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return handshake{}, err
	}
	if string(b[:len(protocolName)]) != protocolName {
		return handshake{}, errors.New("not a BitTorrent handshake")
	}
	reserved := b[len(protocolName):]
	h := handshake{extended: reserved[5]&0x10 != 0, fast: reserved[7]&0x04 != 0, v2: reserved[7]&0x10 != 0}
	copy(h.infoHash[:], reserved[8:])
	return h, nil
}

// request names a block: in requests, cancels, rejects and pieces.
type request struct {
	index, begin, length uint32
}

func parseRequest(b []byte) (request, error) {
	if len(b) != 12 {
		return request{}, fmt.Errorf("request of %d bytes", len(b))
	}
	return request{
		index:  binary.BigEndian.Uint32(b),
		begin:  binary.BigEndian.Uint32(b[4:]),
		length: binary.BigEndian.Uint32(b[8:]),
	}, nil
}

func appendMessage(b []byte, id byte, payload ...byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(payload)))
	return append(append(b, id), payload...)
}

// appendRequest appends a request, a cancel or a reject.
func appendRequest(b []byte, id byte, r request) []byte {
	b = binary.BigEndian.AppendUint32(b, 13)
	b = append(b, id)
	b = binary.BigEndian.AppendUint32(b, r.index)
	b = binary.BigEndian.AppendUint32(b, r.begin)
	return binary.BigEndian.AppendUint32(b, r.length)
}

func appendHave(b []byte, index uint32) []byte {
	return appendMessage(b, msgHave, byte(index>>24), byte(index>>16), byte(index>>8), byte(index))
}

// appendPieceHead appends a piece message as far as the block, whose bytes the
// caller appends.
func appendPieceHead(b []byte, r request) []byte {
	b = binary.BigEndian.AppendUint32(b, 9+r.length)
	b = append(b, msgPiece)
	b = binary.BigEndian.AppendUint32(b, r.index)
	return binary.BigEndian.AppendUint32(b, r.begin)
}

// appendExtended appends a message of BEP 10.
func appendExtended(b []byte, id byte, d dict, tail []byte) []byte {
	body := append(appendBencode([]byte{id}, d), tail...)
	return appendMessage(b, msgExtended, body...)
}

// readFrame reads a message into buf, which grows as needed; a keep-alive has no
// bytes. The result is valid until the next call.
func readFrame(r io.Reader, buf *[]byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrameBytes {
		return nil, fmt.Errorf("message of %d bytes", n)
	}
	if int(n) > cap(*buf) {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n]
	_, err := io.ReadFull(r, b)
	return b, err
}

// bitfield is the set of pieces of BEP 3: the high bit of byte 0 is piece 0.
type bitfield []byte

func newBitfield(pieces int) bitfield { return make(bitfield, (pieces+7)/8) }

func (f bitfield) set(i int)      { f[i/8] |= 0x80 >> (i % 8) }
func (f bitfield) has(i int) bool { return i/8 < len(f) && f[i/8]&(0x80>>(i%8)) != 0 }

// extended is what a handshake of BEP 10 told: what matters here.
type extended struct {
	metadataID   byte // the peer's id for ut_metadata; 0 is none
	metadataSize int64
	reqq         int64
	client       string
}

func parseExtended(b []byte) (extended, error) {
	v, _, err := parseBencode(b)
	if err != nil {
		return extended{}, fmt.Errorf("extended handshake: %w", err)
	}
	d, ok := v.(dict)
	if !ok {
		return extended{}, errors.New("extended handshake: not a dictionary")
	}
	var e extended
	if m, ok := d["m"].(dict); ok {
		if id, ok := m["ut_metadata"].(int64); ok && id > 0 && id < 256 {
			e.metadataID = byte(id)
		}
	}
	e.metadataSize, _ = d["metadata_size"].(int64)
	e.reqq, _ = d["reqq"].(int64)
	e.client, _ = d["v"].(string)
	return e, nil
}

// The messages of ut_metadata (BEP 9), which moves 16 KiB at a time.
const (
	metadataRequest = 0
	metadataData    = 1
	metadataReject  = 2

	metadataPieceBytes = 16 << 10
)
