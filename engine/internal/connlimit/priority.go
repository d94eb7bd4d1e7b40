package connlimit

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"slices"
	"sync"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Priority is the canonical priority of the connection between two peers (BEP
// 40). Both sides compute the same value and can't choose it. Connections with a higher
// one are preferred, so that a swarm stays well connected although all its peers are at
// their limits. It is 0 for addresses of different families.
func Priority(a, b netip.AddrPort) uint32 {
	ipA, ipB := a.Addr().Unmap(), b.Addr().Unmap()
	x, y := ipA.AsSlice(), ipB.AsSlice()
	if len(x) != len(y) || len(x) == 0 {
		return 0
	}
	if ipA == ipB {
		x, y = binary.BigEndian.AppendUint16(nil, a.Port()), binary.BigEndian.AppendUint16(nil, b.Port())
	} else {
		// The owner of a network can choose the bits behind its prefix. The first
		// whole bytes count as they are, of the others every other bit.
		common := 0
		for common < len(x) && x[common] == y[common] {
			common++
		}
		whole := max(2, common+1)
		if len(x) == 16 {
			whole = max(6, common+2)
		}
		for i := whole; i < len(x); i++ {
			x[i], y[i] = x[i]&0x55, y[i]&0x55
		}
	}
	if bytes.Compare(x, y) > 0 {
		x, y = y, x
	}
	return crc32.Checksum(append(x, y...), castagnoli)
}

// OwnAddress finds out our external address from what peers report. It is safe for
// concurrent use.
type OwnAddress struct {
	mu    sync.Mutex
	votes []addressVote // newest last
}

type addressVote struct{ from, weAre netip.Addr }

const (
	addressVoters = 16 // the latest reports that count, one a peer
	addressQuorum = 3  // how many of them must agree
)

// Vote takes the address that a peer sees us at (yourip, BEP 10). Only public addresses
// count.
func (o *OwnAddress) Vote(from, weAre netip.Addr) {
	weAre = weAre.Unmap()
	if !weAre.IsGlobalUnicast() || weAre.IsPrivate() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.votes = slices.DeleteFunc(o.votes, func(v addressVote) bool { return v.from == from })
	if len(o.votes) == addressVoters {
		o.votes = slices.Delete(o.votes, 0, 1)
	}
	o.votes = append(o.votes, addressVote{from, weAre})
}

// Like returns our address of the same family as a, or the unspecified address while
// too few peers agree. Priorities differ from the other side's then, which does no harm.
func (o *OwnAddress) Like(a netip.Addr) netip.Addr {
	o.mu.Lock()
	defer o.mu.Unlock()
	counts := map[netip.Addr]int{}
	for _, v := range o.votes {
		if counts[v.weAre]++; counts[v.weAre] >= addressQuorum && v.weAre.Is4() == a.Unmap().Is4() {
			return v.weAre
		}
	}
	if a.Unmap().Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
