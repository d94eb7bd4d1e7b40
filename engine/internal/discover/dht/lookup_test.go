package dht

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/weirfs/weir"
)

func testNode(i int, id byte) node {
	return node{addr: ap(fmt.Sprintf("10.1.%d.%d:7", i/250, i%250+1)), id: [20]byte{id, byte(i >> 8), byte(i)}, hasID: true}
}

// TestLookupFindsClosest walks through a made-up network in which each node
// knows a few others, and looks at who is taken for the closest.
func TestLookupFindsClosest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []node
	for i := range 400 {
		n := testNode(i, 0)
		for j := range n.id {
			n.id[j] = byte(rng.Uint32())
		}
		all = append(all, n)
	}
	target := weir.InfoHash{0x5a, 0xa5}
	l := newLookup(target)
	byAddr := map[netip.AddrPort]node{}
	for _, n := range all {
		byAddr[n.addr] = n
	}
	// A node names the eight that it knows to be closest to the target: of the
	// whole network every third, by its own choice.
	names := func(seed uint64) (out []node) {
		r := rand.New(rand.NewPCG(seed, 0))
		for _, n := range all {
			if r.IntN(3) == 0 {
				out = append(out, n)
			}
		}
		slices.SortFunc(out, l.compare)
		return out[:8]
	}
	l.add(node{addr: all[0].addr}) // a router, whose id nobody told
	var inFlight []node
	for turn := uint64(0); !l.over(); turn++ {
		for {
			n, ok := l.next()
			if !ok {
				break
			}
			inFlight = append(inFlight, n)
		}
		if len(inFlight) == 0 || len(inFlight) > maxInFlight {
			t.Fatalf("%d questions under way", len(inFlight))
		}
		n := inFlight[0]
		inFlight = inFlight[1:]
		if turn%5 == 4 {
			l.failed()
			continue
		}
		l.answered(answerer{node: byAddr[n.addr], token: "t"}, names(turn))
	}
	if len(l.closest) != width || l.asked > 60 {
		t.Fatalf("%d closest after %d questions", len(l.closest), l.asked)
	}
	slices.SortFunc(all, l.compare)
	good := 0
	for i, c := range l.closest {
		if i > 0 && l.compare(l.closest[i-1].node, c.node) > 0 {
			t.Error("not in order")
		}
		if slices.IndexFunc(all[:16], func(n node) bool { return n.addr == c.addr }) >= 0 {
			good++
		}
	}
	if good < 6 {
		t.Errorf("only %d of the found are among the closest 16", good)
	}
}

// TestLookupEnds has every node name new ones without end.
func TestLookupEnds(t *testing.T) {
	l := newLookup(weir.InfoHash{0xff})
	l.add(testNode(0, 0))
	asked := 0
	for !l.over() {
		n, ok := l.next()
		if !ok {
			t.Fatal("stuck")
		}
		asked++
		var named []node
		for i := range 30 { // ever closer
			named = append(named, node{addr: ap(fmt.Sprintf("10.%d.%d.1:7", asked, i)), id: [20]byte{0xff ^ byte(200-asked), byte(i)}, hasID: true})
		}
		l.answered(answerer{node: n}, named)
	}
	if asked > maxAsked {
		t.Errorf("asked %d", asked)
	}
	if len(l.seen) > 4*maxAsked {
		t.Errorf("remembers %d", len(l.seen))
	}
}
