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
// 40): both sides compute the same, nobody can choose it, and those with a higher
// one are preferred, so that a swarm of full programs stays well connected. It
// is 0 for addresses of different families.
func Priority(a, b netip.AddrPort) uint32 {
	ipA, ipB := a.Addr().Unmap(), b.Addr().Unmap()
	x, y := ipA.AsSlice(), ipB.AsSlice()
	if len(x) != len(y) || len(x) == 0 {
		return 0
	}
	if ipA == ipB {
		x, y = binary.BigEndian.AppendUint16(nil, a.Port()), binary.BigEndian.AppendUint16(nil, b.Port())
	} else {
		// What a network can choose freely counts little: whole is only what says
		// which network it is, and of the rest every other bit.
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

// OwnAddress finds out how others see us. It is safe for concurrent use.
type OwnAddress struct {
	mu    sync.Mutex
	votes []addressVote // newest last
}

type addressVote struct{ from, weAre netip.Addr }

// Of so many peers' last words as many must agree.
const (
	addressVoters = 16
	addressQuorum = 3
)

// Vote takes what a peer says of us (yourip, BEP 10). Only addresses that the
// whole world can see us at count.
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

// Like returns our address of the same family as a, unspecified while nobody
// agrees on it: then priorities are as good as random, which serves as well on
// our side.
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
