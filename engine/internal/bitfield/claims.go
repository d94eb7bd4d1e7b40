package bitfield

import (
	"sync/atomic"

	"github.com/weirfs/weir"
)

// What a peer says to have before the metadata is known can't be judged, and is kept
// as it came. A bitfield that a torrent of usual size has is kept of each peer; the
// rest of larger ones counts against a bound over all torrents.
const (
	usualBytes    = 16 << 10 // of 131,072 pieces
	maxExtraBytes = 32 << 20
	maxHaves      = 1 << 14 // of each peer, beside the bitfield
	maxLosses     = 1 << 12
	maxAllowed    = 64
)

var errNoRoom = weir.Errorf(weir.ErrNoSpace, "no room for the peer's bitfield before the metadata is known")

// Budget counts the bytes of large bitfields, over all torrents. It is safe for
// concurrent use.
type Budget struct{ bytes atomic.Int64 }

// Bytes returns how many are counted.
func (b *Budget) Bytes() int64 { return b.bytes.Load() }

// Claims are what one peer has said before the metadata is known.
type Claims struct {
	All     bool             // it has all; true afterwards, too
	Bits    []byte           // as they came; nil if none did
	Haves   []uint32         // pieces beside Bits
	Losses  map[int]struct{} // pieces that it said to be gone (BEP 54)
	Allowed []int            // pieces that it gives without an unchoke (BEP 6)

	extra int64 // what Bits adds to the budget
}

// SetBits takes a bitfield. The error says that the budget has no room for it.
func (c *Claims) SetBits(b *Budget, bits []byte) error {
	extra := int64(max(0, len(bits)-usualBytes))
	total := b.bytes.Add(extra - c.extra)
	if total > maxExtraBytes && extra > c.extra {
		b.bytes.Add(c.extra - extra)
		return errNoRoom
	}
	c.Bits, c.extra = bits, extra
	return nil
}

// Have takes a piece that the peer has.
func (c *Claims) Have(index int) {
	switch {
	case index/8 < len(c.Bits):
		c.Bits[index/8] |= 0x80 >> (index % 8)
	case len(c.Haves) < maxHaves:
		c.Haves = append(c.Haves, uint32(index))
	}
	delete(c.Losses, index)
}

// Lost takes a piece that the peer has no more.
func (c *Claims) Lost(index int) {
	if len(c.Losses) >= maxLosses {
		return
	}
	if c.Losses == nil {
		c.Losses = map[int]struct{}{}
	}
	c.Losses[index] = struct{}{}
}

// Allow takes a piece that the peer gives without an unchoke.
func (c *Claims) Allow(index int) {
	if len(c.Allowed) < maxAllowed {
		c.Allowed = append(c.Allowed, index)
	}
}

// Clear forgets all but All.
func (c *Claims) Clear(b *Budget) {
	b.bytes.Add(-c.extra)
	*c = Claims{All: c.All}
}
