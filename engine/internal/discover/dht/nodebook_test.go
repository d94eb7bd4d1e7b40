package dht

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	peer_store "github.com/anacrolix/dht/v2/peer-store"

	"github.com/weirfs/weir/engine/internal/bencode"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
)

func TestNodeBookRecord(t *testing.T) {
	b := newNodeBook()
	b.updateID()
	for i := range 5 {
		b.answer(start, testNode(i, 1).addr, [20]byte{byte(i)}, netip.Addr{})
	}
	b.answer(start, ap("[2001:db8::1]:6881"), [20]byte{9}, netip.Addr{})
	b.answer(start.Add(-2*aliveFor), ap("10.9.9.9:1"), [20]byte{8}, netip.Addr{})
	got := decodeNodeBook(b.encode(start), start)
	if got.id != b.id || len(got.answered) != 6 || got.answered[ap("[2001:db8::1]:6881")].id != [20]byte{9} {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "x", "de", "d2:id3:abce", "d5:nodesi5ee", "d5:nodes5:abcdee"} {
		if got := decodeNodeBook([]byte(bad), start); len(got.answered) != 0 || got.id != ([20]byte{}) {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	for i := range 2 * maxNodes {
		b.answer(start.Add(time.Duration(i)*time.Second), testNode(i, 1).addr, [20]byte{byte(i)}, netip.Addr{})
	}
	if len(b.answered) != maxNodes {
		t.Errorf("remembers %d", len(b.answered))
	}
	if _, ok := b.answered[testNode(2*maxNodes-1, 1).addr]; !ok {
		t.Error("the newest was forgotten")
	}
}

func TestNodeBookPublicIP(t *testing.T) {
	us, lie := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("198.51.100.9")
	b := newNodeBook()
	say := func(from int, ourIP netip.Addr) {
		b.answer(start, testNode(from, 1).addr, [20]byte{byte(from)}, ourIP)
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
	b.updateID()
	if !dht.NodeIdSecure(b.id, net.IP(us.AsSlice())) || b.idIP != us {
		t.Error("the id is not made as BEP 42 says")
	}
	id := b.id
	b.updateID()
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
	if b.updateID(); b.id == id || !dht.NodeIdSecure(b.id, net.IP(lie.AsSlice())) {
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
	if n := len(p.peers[testHash]); n != maxPerHash {
		t.Errorf("keeps %d peers", n)
	}
	if n := len(p.GetPeers(ih)); n != maxGiven {
		t.Errorf("gives %d peers", n)
	}
	for i := range 3 * maxHashes {
		add(peer_store.InfoHash{byte(i >> 8), byte(i), 1}, "10.0.0.1:1")
	}
	if n := len(p.peers); n != maxHashes {
		t.Errorf("keeps %d torrents", n)
	}
	now = now.Add(peerLife + time.Second)
	if got := p.GetPeers(ih); len(got) != 0 {
		t.Errorf("gives %d old peers", len(got))
	}
	add(peer_store.InfoHash{0xee}, "10.0.0.1:1") // there is room again
	if got := p.GetPeers(peer_store.InfoHash{0xee}); len(got) != 1 || len(p.peers) != 1 {
		t.Errorf("%d peers, %d torrents", len(got), len(p.peers))
	}
}

// TestNodeBookRules: the book forgets who answered longest ago, records who answered in
// half an hour, and believes of our address what most of the last sixteen say.
func TestNodeBookRules(t *testing.T) {
	b := newNodeBook()
	r := rand.New(rand.NewPCG(1, 1))
	for _, i := range r.Perm(maxNodes) {
		b.answer(start.Add(time.Duration(i)*time.Second), testNode(i, 1).addr, testNode(i, 1).id, netip.Addr{})
	}
	now := start.Add(aliveFor + 100*time.Second)
	if got := len(b.alive(now)); got != maxNodes-100 {
		t.Errorf("%d answered lately, want %d", got, maxNodes-100)
	}
	b.answer(now, testNode(5, 1).addr, testNode(5, 1).id, netip.Addr{}) // is known: nobody goes
	for i := range 3 {
		b.answer(now, testNode(1000+i, 1).addr, testNode(1000+i, 1).id, netip.Addr{})
	}
	for i := range 10 {
		_, there := b.answered[testNode(i, 1).addr]
		if there != (i > 2) {
			t.Errorf("node %d of the oldest is known: %v", i, there)
		}
	}
	got := decodeNodeBook(b.encode(now), now)
	if len(got.answered) != len(b.alive(now)) || len(got.answered) > maxNodes {
		t.Errorf("%d of %d are recorded", len(got.answered), len(b.alive(now)))
	}
	for _, n := range got.alive(now) {
		if want := b.answered[n.addr]; want.id != n.id || got.answered[n.addr].at != now || !n.hasID {
			t.Errorf("%v becomes %v", want, n)
		}
	}
	var record []byte
	for i := range maxNodes + 50 {
		n := testNode(i, 2)
		record = peeraddr.Append(append(record, n.id[:]...), n.addr)
	}
	bad := [20]byte{1}
	record = append(peeraddr.Append(append([]byte(nil), bad[:]...), ap("0.0.0.0:1")), record...)
	full := decodeNodeBook(append(bencode.AppendString([]byte("d5:nodes"), record), 'e'), start)
	if len(full.answered) != maxNodes {
		t.Errorf("%d nodes of a record", len(full.answered))
	}
	if nodes := parseNodes(record[:26*3+25], peeraddr.Bytes4); len(nodes) != 3 || nodes[0].id != bad || nodes[2].addr != testNode(1, 2).addr {
		t.Errorf("parsed %v", nodes)
	}
	b = newNodeBook()
	b.id, b.idIP = [20]byte{7}, netip.MustParseAddr("2001:db8::9")
	if got := decodeNodeBook(b.encode(start), start); got.id != b.id || got.idIP != b.idIP {
		t.Errorf("our id %x for %v", got.id, got.idIP)
	}
	// The voices, against a count of the last sixteen, one of each address.
	type vote struct {
		from int
		says netip.Addr
	}
	ours := []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("2001:db8::5")}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		b := newNodeBook()
		var votes []vote
		for range 200 {
			v := vote{r.IntN(24), ours[min(r.IntN(5+int(seed)), 2)]}
			if r.IntN(3) > 0 {
				v.says = ours[0]
			}
			b.answer(start, netip.AddrPortFrom(testNode(v.from, 1).addr.Addr(), uint16(1+r.IntN(9))), [20]byte{1}, v.says)
			votes = slices.DeleteFunc(votes, func(o vote) bool { return o.from == v.from })
			votes = append(votes, v)
			votes = votes[max(0, len(votes)-16):]
			var want netip.Addr
			for _, a := range ours {
				n := 0
				for _, o := range votes {
					if o.says == a {
						n++
					}
				}
				if n >= 5 && 2*n > len(votes) {
					want = a
				}
			}
			if got := b.publicIP(); got != want {
				t.Fatalf("seed %d: believes %v, want %v of %v", seed, got, want, votes)
			}
		}
	}
}

func FuzzNodeRecord(f *testing.F) {
	f.Add([]byte("d2:id20:aaaaaaaaaaaaaaaaaaaa2:ip4:abcd5:nodes26:abcdefghijklmnopqrstuvwxyze"))
	f.Fuzz(func(t *testing.T, b []byte) {
		book := decodeNodeBook(b, start)
		again := decodeNodeBook(book.encode(start), start)
		if !reflect.DeepEqual(book.answered, again.answered) || book.id != again.id {
			t.Fatal("a record changes when it is read")
		}
	})
}
