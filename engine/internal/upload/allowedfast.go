package upload

import (
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/subnet"
	"github.com/weirfs/weir/engine/internal/wire"
)

// A newcomer has nothing to give, so it may wait long for a slot. It is granted a few
// pieces that it may ask for while it is choked (allowed fast, BEP 6). They follow
// from its network, so that coming again brings no others.

const (
	// grantPieces is how many pieces are granted, and how few a peer must have (k).
	grantPieces = 10
	// grantBytes bounds the pieces that are granted. Each may be asked for twice,
	// because a choke takes back what waits.
	grantBytes = 4 << 20
	// mostGrants is how many networks are remembered, until the torrent cools.
	mostGrants = 4096
)

// grant is what a network may still ask for while its peers are choked.
type grant struct {
	pieces []int
	left   int64 // bytes
}

// allowedFast returns the first k pieces of those that a peer at ip may ask for, in a
// torrent of n pieces. The network is the first 24 bits of an IPv4 address, as BEP 6 has it, and the
// first 64 of an IPv6 address, of which it says nothing.
func allowedFast(ip netip.Addr, ih weir.InfoHash, n, k int) []int {
	network := grantedNet(ip).Addr().AsSlice()
	if len(network) == 16 {
		network = network[:8]
	}
	var pieces []int
	for x := append(network, ih[:]...); len(pieces) < min(k, n); {
		sum := sha1.Sum(x)
		for y := range slices.Chunk(sum[:], 4) {
			if i := int(binary.BigEndian.Uint32(y) % uint32(n)); len(pieces) < min(k, n) && !slices.Contains(pieces, i) {
				pieces = append(pieces, i)
			}
		}
		x = sum[:]
	}
	return pieces
}

// grantedNet returns the addresses that share a grant.
func grantedNet(ip netip.Addr) netip.Prefix { return subnet.Of(ip, 24, 64) }

// offerGrant tells a choked peer that has little which pieces it may ask for all the same.
func (u *Uploads) offerGrant(p *Peer) {
	if u.picks == nil || p.pick == nil || !p.choking || !p.wants || !p.link.Fast() || p.granted {
		return
	}
	p.granted = true // or looked at: it has more from now on
	if p.pick.HasAtLeast(grantPieces) {
		return
	}
	info, ip := u.info, p.link.Remote().Addr()
	if !ip.IsValid() || info.NumPieces() == 0 || info.NumPieces() > 1<<31 {
		return
	}
	network := grantedNet(ip)
	g := u.grants[network]
	if g == nil {
		if len(u.grants) >= mostGrants {
			return
		}
		g = &grant{}
		for _, i := range allowedFast(ip, u.ih, info.NumPieces(), grantPieces) {
			if length := askable(info, i); g.left/2+length <= grantBytes {
				g.pieces = append(g.pieces, i)
				g.left += 2 * length
			}
		}
		if u.grants == nil {
			u.grants = map[netip.Prefix]*grant{}
		}
		u.grants[network] = g
	}
	p.grant = g
	for _, i := range g.pieces {
		if u.picks.Held(i) && !p.pick.HasPiece(i) {
			p.link.Send(func(b []byte) []byte { return wire.AppendAllowedFast(b, i) })
		}
	}
}

// spendGrant reports whether a choked peer may have a block, which it has then used up.
func (p *Peer) spendGrant(b link.Block) bool {
	g := p.grant
	if g == nil || !slices.Contains(g.pieces, b.Index) || g.left < int64(b.Length) {
		return false
	}
	g.left -= int64(b.Length)
	return true
}
