package wire

import (
	"fmt"
	"io"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
)

// HandshakeBytes is the length of the handshake of BEP 3.
const HandshakeBytes = 68

// Handshake is the first message of each side (BEP 3).
type Handshake struct {
	InfoHash weir.InfoHash
	PeerID   [20]byte
	Bits     pp.PeerExtensionBits
}

// OurBits are the extensions that weir speaks: BEP 6 and BEP 10.
func OurBits() pp.PeerExtensionBits {
	return pp.NewPeerExtensionBytes(pp.ExtensionBitFast, pp.ExtensionBitLtep)
}

// WithDHT says that we have a node in the DHT too (BEP 5).
func WithDHT(b pp.PeerExtensionBits) pp.PeerExtensionBits {
	b.SetBit(pp.ExtensionBitDht, true)
	return b
}

// The bit by which a peer offers to make the connection one of the v2 swarm, if the
// other side answers with the v2 hash (BEP 52).
const upgradeByte, upgradeBit = 7, 0x10

// Upgrading returns h with that bit.
func (h Handshake) Upgrading() Handshake {
	h.Bits[upgradeByte] |= upgradeBit
	return h
}

// UpgradesToV2 reports whether h has it.
func (h Handshake) UpgradesToV2() bool { return h.Bits[upgradeByte]&upgradeBit != 0 }

// Append appends the handshake to b.
func (h Handshake) Append(b []byte) []byte {
	b = append(b, pp.Protocol...)
	b = append(b, h.Bits[:]...)
	b = append(b, h.InfoHash[:]...)
	return append(b, h.PeerID[:]...)
}

// ReadHandshake reads the other side's handshake.
func ReadHandshake(r io.Reader) (Handshake, error) {
	var b [HandshakeBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Handshake{}, fmt.Errorf("read handshake: %w", err)
	}
	rest, ok := b[:], string(b[:len(pp.Protocol)]) == pp.Protocol
	if !ok {
		return Handshake{}, weir.Errorf(weir.ErrInvalid, "peer does not speak BitTorrent in the clear")
	}
	var h Handshake
	rest = rest[len(pp.Protocol):]
	rest = rest[copy(h.Bits[:], rest):]
	rest = rest[copy(h.InfoHash[:], rest):]
	copy(h.PeerID[:], rest)
	return h, nil
}
