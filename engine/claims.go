package engine

import "github.com/weirfs/weir"

// What a peer says to have before the metadata is known can't be judged, and is kept
// as it came. A bitfield that a torrent of usual size has is kept of each peer; the
// rest of larger ones counts against a bound over all torrents.
const (
	usualBitsBytes = 16 << 10 // of 131,072 pieces
	maxClaimBytes  = 32 << 20
	maxEarlyHaves  = 1 << 14 // of each peer, beside the bitfield
)

var errNoRoom = weir.Errorf(weir.ErrNoSpace, "no room for the peer's bitfield before the metadata is known")

// keepBits keeps a peer's bitfield until the metadata is known; nil lets it go.
func (s *swarm) keepBits(p *peer, bits []byte) error {
	extra := int64(max(0, len(bits)-usualBitsBytes))
	total := s.eng.claimBytes.Add(extra - p.claimBytes)
	if total > maxClaimBytes && extra > p.claimBytes {
		s.eng.claimBytes.Add(p.claimBytes - extra)
		return errNoRoom
	}
	p.bits, p.claimBytes = bits, extra
	return nil
}

// keepHave notes a piece that a peer has before the metadata is known.
func (p *peer) keepHave(index int) {
	switch {
	case index/8 < len(p.bits):
		p.bits[index/8] |= 0x80 >> (index % 8)
	case len(p.haves) < maxEarlyHaves:
		p.haves = append(p.haves, uint32(index))
	}
}
