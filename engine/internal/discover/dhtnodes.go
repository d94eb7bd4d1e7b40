package discover

import (
	"net/netip"
	"time"
)

// Bounds on what is remembered of DHT nodes.
const (
	mostNodes = 300
	nodesFor  = 30 * time.Minute // a node that was silent for longer is not recorded
	ipVoters  = 16               // answers whose view of our address counts
	ipQuorum  = 5                // of them that must agree
)

// nodeBook remembers which nodes answered, and what they call us. It decides
// what is kept over a restart and which address our id is made for (BEP 42).
type nodeBook struct {
	id       [20]byte // of our node; zero before the first start
	idFor    netip.Addr
	answered map[netip.AddrPort]bookEntry
	votes    []ipVote // newest last
}

type bookEntry struct {
	id [20]byte
	at time.Time
}

type ipVote struct {
	from, weAre netip.Addr
}

func newNodeBook() *nodeBook {
	return &nodeBook{answered: map[netip.AddrPort]bookEntry{}}
}

// note records an answer. weAre is how the node sees our address, if it said so.
func (b *nodeBook) note(now time.Time, from netip.AddrPort, id [20]byte, weAre netip.Addr) {
	if _, known := b.answered[from]; !known && len(b.answered) >= mostNodes {
		b.dropOldest()
	}
	b.answered[from] = bookEntry{id, now}
	if !weAre.IsGlobalUnicast() || weAre.IsPrivate() {
		return
	}
	for i, v := range b.votes { // one voice each, the newest
		if v.from == from.Addr() {
			b.votes = append(b.votes[:i], b.votes[i+1:]...)
			break
		}
	}
	if len(b.votes) == ipVoters {
		b.votes = b.votes[1:]
	}
	b.votes = append(b.votes, ipVote{from.Addr(), weAre})
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

// publicIP returns the address that most of the last nodes see us at, or an
// invalid one while they don't agree. A few liars don't suffice: our id would
// follow them, which is how a node is led to a chosen place.
func (b *nodeBook) publicIP() netip.Addr {
	counts := map[netip.Addr]int{}
	for _, v := range b.votes {
		if counts[v.weAre]++; counts[v.weAre] >= ipQuorum && counts[v.weAre] > len(b.votes)/2 {
			return v.weAre
		}
	}
	return netip.Addr{}
}

// alive returns the nodes that answered lately.
func (b *nodeBook) alive(now time.Time) []node {
	var out []node
	for a, e := range b.answered {
		if now.Sub(e.at) <= nodesFor {
			out = append(out, node{addr: a, id: e.id, known: true})
		}
	}
	return out
}

// encode returns the book's record: our id, its address, and the nodes.
func (b *nodeBook) encode(now time.Time) []byte {
	var nodes, nodes6 []byte
	for _, n := range b.alive(now) {
		if n.addr.Addr().Is4() {
			nodes = appendCompact(append(nodes, n.id[:]...), n.addr)
		} else {
			nodes6 = appendCompact(append(nodes6, n.id[:]...), n.addr)
		}
	}
	out := appendString([]byte{'d'}, "id")
	out = appendString(out, b.id[:])
	out = appendString(appendString(out, "ip"), b.idFor.AsSlice())
	out = appendString(appendString(out, "nodes"), nodes)
	out = appendString(appendString(out, "nodes6"), nodes6)
	return append(out, 'e')
}

// decodeNodeBook reads a record. One that makes no sense is an empty book: all
// in it can be found again. Its nodes count as having answered at now.
func decodeNodeBook(record []byte, now time.Time) *nodeBook {
	b := newNodeBook()
	d, err := parseDict(record)
	if err != nil {
		return b
	}
	if id := d.get("id").str; len(id) == len(b.id) {
		copy(b.id[:], id)
	}
	if ip, ok := netip.AddrFromSlice(d.get("ip").str); ok {
		b.idFor = ip
	}
	for _, n := range append(parseNodes(d.get("nodes").str, compact4Bytes), parseNodes(d.get("nodes6").str, compact6Bytes)...) {
		if len(b.answered) < mostNodes && usable(n.addr, true) {
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
			id: [20]byte(b[:20]), known: true,
			addr: parseCompact(b[20:size], addrBytes, 1)[0],
		})
	}
	return out
}
