package dht

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	peer_store "github.com/anacrolix/dht/v2/peer-store"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// Bounds on what our DHT node keeps for others.
const (
	maxHashes  = 2000
	maxPerHash = 100
	peerLife   = 2 * time.Hour
	maxGiven   = 50 // in one answer, which must fit a packet
)

// peerStore keeps the peers that announced themselves to our DHT node, within
// bounds. It is safe for concurrent use.
type peerStore struct {
	now func() time.Time

	mu      sync.Mutex
	peers   map[weir.InfoHash]map[netip.AddrPort]time.Time
	expired time.Time // when all of peers was last looked through
}

var _ peer_store.Interface = (*peerStore)(nil)

func newPeerStore() *peerStore {
	return &peerStore{now: time.Now, peers: map[weir.InfoHash]map[netip.AddrPort]time.Time{}}
}

// AddPeer keeps a peer. When there is no room it is not kept.
func (p *peerStore) AddPeer(ih peer_store.InfoHash, na krpc.NodeAddr) {
	if na.Port <= 0 || na.Port >= 1<<16 {
		return
	}
	a := na.ToNodeAddrPort().AddrPort
	a = peeraddr.Unmap(a)
	if !peeraddr.Usable(a, true) { // it came from there, so that loopback is right
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h, now := weir.InfoHash(ih), p.now()
	known, ok := p.peers[h]
	if !ok {
		if len(p.peers) >= maxHashes && !p.expire(now) {
			return
		}
		known = map[netip.AddrPort]time.Time{}
		p.peers[h] = known
	}
	if _, again := known[a]; !again && len(known) >= maxPerHash {
		forgetOld(known, now)
		if len(known) >= maxPerHash {
			return
		}
	}
	known[a] = now
}

// GetPeers returns some of the peers of a torrent, at random.
func (p *peerStore) GetPeers(ih peer_store.InfoHash) []krpc.NodeAddr {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.peers[weir.InfoHash(ih)]
	forgetOld(known, p.now())
	var out []krpc.NodeAddr
	for a := range known {
		out = append(out, krpc.NodeAddr{IP: a.Addr().AsSlice(), Port: int(a.Port())})
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(len(out), maxGiven)]
}

// expire forgets what is old and reports whether there is room again; mu is
// held. It looks at most once a minute: a flood of announces must not cost more
// than its packets.
func (p *peerStore) expire(now time.Time) bool {
	if now.Sub(p.expired) < time.Minute {
		return false
	}
	p.expired = now
	for h, known := range p.peers {
		if forgetOld(known, now); len(known) == 0 {
			delete(p.peers, h)
		}
	}
	return len(p.peers) < maxHashes
}

func forgetOld(known map[netip.AddrPort]time.Time, now time.Time) {
	for a, at := range known {
		if now.Sub(at) > peerLife {
			delete(known, a)
		}
	}
}
