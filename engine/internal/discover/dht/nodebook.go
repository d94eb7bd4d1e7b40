package dht

import (
	"crypto/rand"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"

	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

// Bounds on what is remembered of DHT nodes.
const (
	maxNodes = 300
	aliveFor = 30 * time.Minute // a node that was silent for longer is not recorded
	ipVoters = 16               // answers whose view of our address counts
	ipQuorum = 5                // of them that must agree
)

// nodeBook remembers which nodes answered, and at which address they see us. It decides
// what is kept over a restart, and the address that our id is made for (BEP 42).
type nodeBook struct {
	id       [20]byte   // of our node; zero before the first start
	idIP     netip.Addr // that id is made for; invalid if for none
	answered map[netip.AddrPort]bookEntry
	votes    []ipVote // newest last
}

type bookEntry struct {
	id [20]byte
	at time.Time
}

type ipVote struct {
	from, ourIP netip.Addr
}

func newNodeBook() *nodeBook {
	return &nodeBook{answered: map[netip.AddrPort]bookEntry{}}
}

// answer records an answer. ourIP is how the node sees our address, if it said so.
func (b *nodeBook) answer(now time.Time, from netip.AddrPort, id [20]byte, ourIP netip.Addr) {
	if _, known := b.answered[from]; !known && len(b.answered) >= maxNodes {
		b.dropOldest()
	}
	b.answered[from] = bookEntry{id, now}
	if !ourIP.IsGlobalUnicast() || ourIP.IsPrivate() {
		return
	}
	for i, v := range b.votes { // the newest vote of each counts
		if v.from == from.Addr() {
			b.votes = append(b.votes[:i], b.votes[i+1:]...)
			break
		}
	}
	if len(b.votes) == ipVoters {
		b.votes = b.votes[1:]
	}
	b.votes = append(b.votes, ipVote{from.Addr(), ourIP})
}

func (b *nodeBook) dropOldest() {
	var oldest netip.AddrPort
	for a, e := range b.answered {
		if !oldest.IsValid() || e.at.Before(b.answered[oldest].at) {
			oldest = a
		}
	}
	delete(b.answered, oldest)
}

// publicIP returns the address that most of the last nodes see us at, or an invalid one
// while they don't agree. A few liars don't suffice: they would choose where our id lies.
func (b *nodeBook) publicIP() netip.Addr {
	counts := map[netip.Addr]int{}
	for _, v := range b.votes {
		if counts[v.ourIP]++; counts[v.ourIP] >= ipQuorum && counts[v.ourIP] > len(b.votes)/2 {
			return v.ourIP
		}
	}
	return netip.Addr{}
}

// alive returns the nodes that answered lately.
func (b *nodeBook) alive(now time.Time) []node {
	var out []node
	for a, e := range b.answered {
		if now.Sub(e.at) <= aliveFor {
			out = append(out, node{addr: a, id: e.id, hasID: true})
		}
	}
	return out
}

// encode returns the book's record: our id, its address, and the nodes.
func (b *nodeBook) encode(now time.Time) []byte {
	var nodes, nodes6 []byte
	for _, n := range b.alive(now) {
		if n.addr.Addr().Is4() {
			nodes = peeraddr.Append(append(nodes, n.id[:]...), n.addr)
		} else {
			nodes6 = peeraddr.Append(append(nodes6, n.id[:]...), n.addr)
		}
	}
	out := bencode.AppendString([]byte{'d'}, "id")
	out = bencode.AppendString(out, b.id[:])
	out = bencode.AppendString(bencode.AppendString(out, "ip"), b.idIP.AsSlice())
	out = bencode.AppendString(bencode.AppendString(out, "nodes"), nodes)
	out = bencode.AppendString(bencode.AppendString(out, "nodes6"), nodes6)
	return append(out, 'e')
}

// decodeNodeBook reads a record. One that makes no sense is an empty book: all of it can
// be found again. Its nodes count as having answered at now.
func decodeNodeBook(record []byte, now time.Time) *nodeBook {
	var id, ip, nodes, nodes6 []byte
	values := map[string]*[]byte{"id": &id, "ip": &ip, "nodes": &nodes, "nodes6": &nodes6}
	c := bencode.New(record)
	err := c.Dict(func(key []byte) error {
		if to := values[string(key)]; to != nil {
			return c.MaybeString(to)
		}
		return c.Skip()
	})
	b := newNodeBook()
	if err != nil {
		return b
	}
	if len(id) == len(b.id) {
		copy(b.id[:], id)
	}
	if ip, ok := netip.AddrFromSlice(ip); ok {
		b.idIP = ip
	}
	for _, n := range append(parseNodes(nodes, peeraddr.Bytes4), parseNodes(nodes6, peeraddr.Bytes6)...) {
		if len(b.answered) < maxNodes && peeraddr.Usable(n.addr, true) {
			b.answered[n.addr] = bookEntry{n.id, now}
		}
	}
	return b
}

// parseNodes reads compact node information (BEP 5, 32): an id and an address.
func parseNodes(b []byte, addrBytes int) []node {
	size := 20 + addrBytes
	var out []node
	for ; len(b) >= size; b = b[size:] {
		out = append(out, node{
			id: [20]byte(b[:20]), hasID: true,
			addr: peeraddr.Parse(b[20:size], addrBytes, 1)[0],
		})
	}
	return out
}

// updateID makes a new id if there is none, or if others see us at another address than
// it is made for: a random one in which the address shows (BEP 42).
func (b *nodeBook) updateID() {
	ip := b.publicIP()
	if b.id != ([20]byte{}) && (!ip.IsValid() || ip == b.idIP) {
		return
	}
	_, _ = rand.Read(b.id[:]) // never fails
	if ip.IsValid() {
		b.idIP = ip
		dht.SecureNodeId((*krpc.ID)(&b.id), ip.AsSlice())
	}
}
