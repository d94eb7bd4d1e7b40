package discover

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	peer_store "github.com/anacrolix/dht/v2/peer-store"
)

func TestNodeBookRecord(t *testing.T) {
	b := newNodeBook()
	b.settleID()
	for i := range 5 {
		b.note(start, testNode(i, 1).addr, [20]byte{byte(i)}, netip.Addr{})
	}
	b.note(start, ap("[2001:db8::1]:6881"), [20]byte{9}, netip.Addr{})
	b.note(start.Add(-2*nodesFor), ap("10.9.9.9:1"), [20]byte{8}, netip.Addr{})
	got := decodeNodeBook(b.encode(start), start)
	if got.id != b.id || len(got.answered) != 6 || got.answered[ap("[2001:db8::1]:6881")].id != [20]byte{9} {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "x", "de", "d2:id3:abce", "d5:nodesi5ee", "d5:nodes5:abcdee"} {
		if got := decodeNodeBook([]byte(bad), start); len(got.answered) != 0 || got.id != ([20]byte{}) {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	for i := range 2 * mostNodes {
		b.note(start.Add(time.Duration(i)*time.Second), testNode(i, 1).addr, [20]byte{byte(i)}, netip.Addr{})
	}
	if len(b.answered) != mostNodes {
		t.Errorf("remembers %d", len(b.answered))
	}
	if _, ok := b.answered[testNode(2*mostNodes-1, 1).addr]; !ok {
		t.Error("the newest was forgotten")
	}
}

func TestNodeBookPublicIP(t *testing.T) {
	us, lie := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("198.51.100.9")
	b := newNodeBook()
	say := func(from int, weAre netip.Addr) {
		b.note(start, testNode(from, 1).addr, [20]byte{byte(from)}, weAre)
	}
	for range 50 { // one node, however often it says so, and addresses that can't be ours
		say(0, lie)
	}
	for i := range 20 {
		say(100+i, netip.MustParseAddr("127.0.0.1"))
		say(200+i, netip.MustParseAddr("192.168.1.1"))
	}
	if ip := b.publicIP(); ip.IsValid() {
		t.Fatalf("believes %v", ip)
	}
	for i := range ipQuorum {
		say(1+i, us)
	}
	if ip := b.publicIP(); ip != us {
		t.Fatalf("believes %v", ip)
	}
	b.settleID()
	if !dht.NodeIdSecure(b.id, net.IP(us.AsSlice())) || b.idFor != us {
		t.Error("the id is not made as BEP 42 says")
	}
	id := b.id
	b.settleID()
	if b.id != id {
		t.Error("the id changes without a reason")
	}
	// A third of liars changes nothing, and most of the last do: we have moved.
	for i := range 2 {
		say(20+i, lie)
	}
	if ip := b.publicIP(); ip == lie {
		t.Error("believes a minority")
	}
	for i := range ipVoters {
		say(40+i, lie)
	}
	if b.settleID(); b.id == id || !dht.NodeIdSecure(b.id, net.IP(lie.AsSlice())) {
		t.Error("the id does not follow the address")
	}
}

func TestPeerStore(t *testing.T) {
	now := start
	p := newPeerStore()
	p.now = func() time.Time { return now }
	ih := peer_store.InfoHash(testHash)
	add := func(h peer_store.InfoHash, addr string) {
		a := ap(addr)
		p.AddPeer(h, krpc.NodeAddr{IP: a.Addr().AsSlice(), Port: int(a.Port())})
	}
	for i := range 1000 {
		add(ih, fmt.Sprintf("10.0.%d.%d:6881", i/250, i%250+1))
	}
	p.AddPeer(ih, krpc.NodeAddr{IP: net.IP{10, 0, 0, 1}, Port: -5})
	p.AddPeer(ih, krpc.NodeAddr{IP: net.IP{10}, Port: 5})
	if n := len(p.peers[testHash]); n != keptPerHash {
		t.Errorf("keeps %d peers", n)
	}
	if n := len(p.GetPeers(ih)); n != givenPerHash {
		t.Errorf("gives %d peers", n)
	}
	for i := range 3 * keptHashes {
		add(peer_store.InfoHash{byte(i >> 8), byte(i), 1}, "10.0.0.1:1")
	}
	if n := len(p.peers); n != keptHashes {
		t.Errorf("keeps %d torrents", n)
	}
	now = now.Add(keptFor + time.Second)
	if got := p.GetPeers(ih); len(got) != 0 {
		t.Errorf("gives %d old peers", len(got))
	}
	add(peer_store.InfoHash{0xee}, "10.0.0.1:1") // there is room again
	if got := p.GetPeers(peer_store.InfoHash{0xee}); len(got) != 1 || len(p.peers) != 1 {
		t.Errorf("%d peers, %d torrents", len(got), len(p.peers))
	}
}
