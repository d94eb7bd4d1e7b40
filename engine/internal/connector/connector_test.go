package connector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/connlimit"
	"github.com/weirfs/weir/engine/internal/link"
	"github.com/weirfs/weir/engine/internal/peerbook"
	"github.com/weirfs/weir/engine/internal/throttle"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
)

// fakeSwarm is a swarm whose owner is the test: what is posted runs with own.
type fakeSwarm struct {
	t      *testing.T
	c      *Connector
	inbox  *link.Inbox
	demand connlimit.Demand
	peers  []*fakePeer // connected
}

// fakePeer is a peer that says nothing.
type fakePeer struct {
	s        *fakeSwarm
	conn     *Conn
	received int64
	useful   bool
	dropped  error
}

var (
	_ Swarm = (*fakeSwarm)(nil)
	_ Peer  = (*fakePeer)(nil)
)

func (s *fakeSwarm) NewPeer() Peer                          { return &fakePeer{s: s} }
func (s *fakeSwarm) Demand(time.Time) connlimit.Demand      { return s.demand }
func (p *fakePeer) Early() []byte                           { return nil }
func (p *fakePeer) HandshakeOver()                          {}
func (p *fakePeer) Received() int64                         { return p.received }
func (p *fakePeer) Interesting() bool                       { return p.useful }
func (noRecords) PutRecord(string, []byte, []byte) error    { return nil }
func (noRecords) Record(string, []byte) ([]byte, error)     { return nil, weir.ErrNotFound }
func (noTorrents) InfoHashes(func(weir.InfoHash) bool)      {}
func (noTorrents) Names(weir.InfoHash) (source.Names, bool) { return source.Names{}, false }
func (noTorrents) Connector(weir.InfoHash) (*Connector, error) {
	return nil, weir.ErrNotFound
}

type (
	noRecords  struct{}
	noTorrents struct{}
)

func (s *fakeSwarm) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, p := range slices.Clone(s.peers) {
			if !yield(p.conn) {
				return
			}
		}
	}
}

func (p *fakePeer) Join(c *Conn) {
	p.conn = c
	p.s.peers = append(p.s.peers, p)
}

func (p *fakePeer) Drop(why error) {
	p.dropped = why
	p.s.peers = slices.DeleteFunc(p.s.peers, func(o *fakePeer) bool { return o == p })
	p.s.c.Left(p.conn, p.useful, why)
}

func (p *fakePeer) Facts() Facts {
	f := Facts{Moved: p.conn.Joined}
	if p.received > 0 {
		f.Gave = time.Now()
	}
	return f
}

// own runs what was posted to the owner.
func (s *fakeSwarm) own() {
	for _, e := range s.inbox.Take(nil) {
		if e.Do != nil {
			e.Do()
		}
	}
}

// newEndpoint returns an Endpoint with so many connections, eight a torrent.
func newEndpoint(t *testing.T, connections int) *Endpoint {
	t.Helper()
	return NewEndpoint(t.Context(), noTorrents{}, EndpointOptions{
		Log: slog.New(slog.DiscardHandler), Listen: "off", MaxPeers: 8, MaxConnections: connections,
	})
}

// newSwarm returns a swarm that runs without a search.
func newSwarm(t *testing.T, e *Endpoint, n byte) *fakeSwarm {
	t.Helper()
	s := &fakeSwarm{t: t, inbox: link.NewInbox()}
	ctx, cancel := context.WithCancel(t.Context())
	limit := throttle.New(0)
	s.c = New(e, s, Options{
		Context: ctx, Log: e.o.Log, Spawn: func(func()) {}, InfoHash: weir.InfoHash{n},
		Names: func() source.Names { return source.Names{V1: weir.InfoHash{n}} },
		Info:  func() *weir.TorrentInfo { return nil }, LoadedInfo: func() *weir.TorrentInfo { return nil },
		Link: link.Options{Inbox: s.inbox, Pieces: func() int { return 0 }, Up: limit, Down: limit},
		Bans: peerbook.Bans{}, Records: noRecords{}, RecordsReady: func() bool { return true }, PostWrite: func(write func()) { write() },
	})
	s.c.Start()
	t.Cleanup(func() {
		cancel()
		s.c.Stop()
		for _, p := range slices.Clone(s.peers) {
			p.Drop(context.Canceled)
		}
	})
	return s
}

// addressedConn is a connection with an address.
type addressedConn struct {
	net.Conn
	remote netip.AddrPort
}

func (c addressedConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// connect has a peer join, which we dialed or which came to us.
func (s *fakeSwarm) connect(addr string, id byte, dialed bool) (*fakePeer, error) {
	s.t.Helper()
	remote := netip.MustParseAddrPort(addr)
	ours, theirs := net.Pipe()
	s.t.Cleanup(func() { _ = theirs.Close() })
	p := &fakePeer{s: s}
	k := &Conn{Addr: addr, Dialed: dialed, peer: p}
	if dialed {
		k.slot, _ = s.c.end.limit.Dial(s.c, remote.Addr(), 0)
		k.slot.Connected()
	} else {
		k.slot, _ = s.c.end.limit.Incoming(remote.Addr())
	}
	err := s.c.join(k, addressedConn{ours, remote}, wire.Handshake{PeerID: [20]byte{id}})
	if err != nil {
		k.slot.Release()
	}
	return p, err
}

// mustConnect is connect for n peers, each of an address of its own.
func (s *fakeSwarm) mustConnect(n int, dialed bool) {
	s.t.Helper()
	for i := range n {
		id := byte(len(s.peers) + 1)
		if _, err := s.connect(fmt.Sprintf("45.%d.%d.1:6881", s.c.o.InfoHash[0], id), id, dialed); err != nil {
			s.t.Fatalf("peer %d: %v", i, err)
		}
	}
}

// TestWhoMayJoin: who is us, is here already, has lied, or finds no room does not join.
func TestWhoMayJoin(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(s *fakeSwarm)
		addr    string
		id      byte
		dialed  bool
		want    error
	}{
		"Stranger":  {func(*fakeSwarm) {}, "45.9.9.9:1", 9, false, nil},
		"Ourselves": {func(s *fakeSwarm) { s.c.end.peerID = [20]byte{9} }, "45.9.9.9:1", 9, true, errSelf},
		"Twice": {func(s *fakeSwarm) {
			s.mustConnect(1, true)
			s.c.Heard(s.peers[0].conn)
		}, "45.9.9.9:1", 1, false, errTwice},
		"TwiceIncoming": {func(s *fakeSwarm) { s.mustConnect(1, false) }, "45.9.9.9:1", 1, false, errTwice},
		"TwiceDialed":   {func(s *fakeSwarm) { s.mustConnect(1, true) }, "45.9.9.9:1", 1, true, errTwice},
		// Both dialed at once: of these connections the one stays that the larger ID dialed.
		"BothDialedOursLarger":   {func(s *fakeSwarm) { s.c.end.peerID = [20]byte{2}; s.mustConnect(1, true) }, "45.9.9.9:1", 1, false, errTwice},
		"BothDialedTheirsLarger": {func(s *fakeSwarm) { s.c.end.peerID = [20]byte{}; s.mustConnect(1, true) }, "45.9.9.9:1", 1, false, nil},
		// The peer ID came to us from elsewhere before, and may be stolen.
		"Reached": {func(s *fakeSwarm) { s.mustConnect(1, false) }, "45.9.9.9:1", 1, true, nil},
		"ReachedWhoGives": {func(s *fakeSwarm) {
			s.mustConnect(1, false)
			s.peers[0].received = 1
		}, "45.9.9.9:1", 1, true, errTwice},
		"Banned": {func(s *fakeSwarm) {
			s.mustConnect(1, true)
			s.c.Ban(s.peers[0].conn)
			s.peers[0].Drop(ErrBanned)
		}, "45.1.1.1:7", 9, false, ErrBanned},
		"Full": {func(s *fakeSwarm) {
			s.mustConnect(8, true)
			for _, p := range s.peers {
				p.useful, p.received = true, 1
			}
		}, "45.9.9.9:1", 9, false, errFull},
		"InPlaceOfTheUseless": {func(s *fakeSwarm) {
			s.mustConnect(8, true)
			s.peers[3].conn.Joined = time.Now().Add(-time.Hour)
		}, "45.9.9.9:1", 9, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSwarm(t, newEndpoint(t, 100), 1)
			c.prepare(s)
			before := s.c.Connected()
			_, err := s.connect(c.addr, c.id, c.dialed)
			if !errors.Is(err, c.want) {
				t.Errorf("joined: %v, want %v", err, c.want)
			}
			if n := s.c.Connected(); n != len(s.peers) || c.want != nil && n != before {
				t.Errorf("%d count as connected, %d are", n, len(s.peers))
			}
			if open, _ := s.c.end.Usage(); open != len(s.peers) {
				t.Errorf("%d slots are taken by %d connections", open, len(s.peers))
			}
		})
	}
}

// TestTwins: of two connections of the same peer the same one stays on both sides, however
// they dial each other and whatever is heard first.
func TestTwins(t *testing.T) {
	const larger, smaller = 9, 1
	for _, order := range [][]string{
		{"dial 9", "dial 1", "come 9", "come 1", "hear"},
		{"dial 9", "dial 1", "come 1", "come 9", "hear"},
		{"dial 9", "come 1", "dial 1", "come 9", "hear"},
		{"dial 9", "come 1", "hear", "dial 1", "come 9", "hear"},
		{"dial 1", "come 9", "hear", "dial 9", "come 1", "hear"},
		{"dial 1", "come 9", "dial 9", "hear", "come 1", "hear"},
		{"dial 1", "come 9", "dial 9", "come 1", "hear"},
		{"come 1", "come 9", "dial 9", "dial 1", "hear"},
	} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			sides := map[byte]*fakeSwarm{}
			for _, id := range []byte{larger, smaller} {
				sides[id] = newSwarm(t, newEndpoint(t, 100), 1)
				sides[id].c.end.peerID = [20]byte{id}
			}
			// ends are those of a connection, by the ID of who dialed: at the dialing side, and at the other.
			type ends struct{ near, far *fakePeer }
			conns := map[byte]*ends{larger: {}, smaller: {}}
			other := map[byte]byte{larger: smaller, smaller: larger}
			settle := func() { // one that was refused or dropped at one end is dropped at the other
				for dialer, e := range conns {
					for _, p := range []**fakePeer{&e.near, &e.far} {
						if *p != nil && (*p).dropped == nil && ((*p) == e.near && e.far != nil && e.far.dropped != nil || (*p) == e.far && e.near != nil && e.near.dropped != nil) {
							(*p).Drop(fmt.Errorf("ended by peer %d", other[dialer]))
						}
					}
				}
			}
			connect := func(id byte, addr string, peer byte, dialed bool) *fakePeer {
				p, err := sides[id].connect(addr, peer, dialed)
				if err != nil {
					p.dropped = err
				}
				return p
			}
			for _, step := range order {
				switch step {
				case "dial 9":
					conns[9].near = connect(9, "45.1.1.1:1", 1, true)
				case "come 9": // what 9 dialed comes to 1
					conns[9].far = connect(1, "45.9.9.8:1", 9, false)
				case "dial 1":
					conns[1].near = connect(1, "45.9.9.9:1", 9, true)
				case "come 1":
					conns[1].far = connect(9, "45.1.1.2:1", 1, false)
				case "hear": // each side hears of the connections that the other one has accepted
					settle()
					for _, e := range conns {
						if e.near == nil || e.far == nil || e.near.dropped != nil || e.far.dropped != nil {
							continue
						}
						e.near.s.c.Heard(e.near.conn)
						e.far.s.c.Heard(e.far.conn)
					}
				}
			}
			settle()
			for id, s := range sides {
				if n := s.c.Connected(); n != 1 {
					t.Errorf("peer %d has %d connections with the other", id, n)
				}
			}
			for dialer, e := range conns {
				if (e.near.dropped == nil) != (e.far.dropped == nil) {
					t.Errorf("what %d dialed: %v at its own end, %v at the other", dialer, e.near.dropped, e.far.dropped)
				}
			}
		})
	}
}

// TestStolenID: a stranger that comes under the ID of a peer does not keep weir from that
// peer, which weir dials, unless the stranger has sent blocks.
func TestStolenID(t *testing.T) {
	const (
		honest, stranger = "45.9.9.9:1", "45.6.6.6:1"
		stolen           = 5
	)
	for name, c := range map[string]struct {
		ours         byte // of two connections the one stays that the larger ID dialed
		dialedFirst  bool
		heard        bool  // the honest peer has sent a message before the stranger comes
		received     int64 // from the stranger
		honestJoins  error
		strangerEnds bool // it was refused, or dropped when the honest peer was heard
	}{
		"ComesFirst":        {ours: 9, strangerEnds: true},
		"ComesFirstSmaller": {ours: 1},
		"HasSentBlocks":     {ours: 9, received: 1, honestJoins: errTwice},
		"ComesLater":        {ours: 9, dialedFirst: true, heard: true, strangerEnds: true},
		"ComesLaterSmaller": {ours: 1, dialedFirst: true, heard: true, strangerEnds: true},
		"ComesBefore":       {ours: 9, dialedFirst: true, strangerEnds: true},
		"ComesBesides":      {ours: 1, dialedFirst: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSwarm(t, newEndpoint(t, 100), 1)
			s.c.end.peerID = [20]byte{c.ours}
			var theirs, real *fakePeer
			var refused error // of the stranger
			dial := func() {
				var err error
				if real, err = s.connect(honest, stolen, true); !errors.Is(err, c.honestJoins) {
					t.Fatalf("the honest peer joined: %v, want %v", err, c.honestJoins)
				}
			}
			if c.dialedFirst {
				dial()
				if c.heard {
					s.c.Heard(real.conn)
				}
			}
			theirs, refused = s.connect(stranger, stolen, false)
			theirs.received = c.received
			if !c.dialedFirst {
				dial()
			}
			if c.honestJoins != nil {
				return
			}
			s.c.Heard(real.conn)
			if real.dropped != nil {
				t.Errorf("the honest peer was dropped: %v", real.dropped)
			}
			if ended := refused != nil || theirs.dropped != nil; ended != c.strangerEnds {
				t.Errorf("the stranger's connection ended: %t, want %t", ended, c.strangerEnds)
			}
		})
	}
}

// TestRequestSlot: a torrent of which something is awaited gets a slot of the one that has
// more than its share; else one of a peer that gives nothing, of a torrent that waits for
// nothing. Whoever gave one does not dial at once.
func TestRequestSlot(t *testing.T) {
	awaited := connlimit.Demand{Awaited: true}
	for name, c := range map[string]struct {
		have   [3]int // connections of each torrent; the first asks
		other  connlimit.Demand
		demand connlimit.Demand
		idle   bool // the others' peers give nothing
		want   [3]int
	}{
		"OfTheOneWithMost": {[3]int{0, 7, 3}, connlimit.Demand{}, awaited, false, [3]int{0, 6, 3}},
		"NothingIsAwaited": {[3]int{0, 7, 3}, connlimit.Demand{}, connlimit.Demand{Wanted: true}, true, [3]int{0, 7, 3}},
		"HasItsShare":      {[3]int{4, 6, 0}, connlimit.Demand{}, awaited, true, [3]int{4, 6, 0}},
		"OfAnIdlePeer":     {[3]int{0, 4, 0}, connlimit.Demand{}, awaited, true, [3]int{0, 3, 0}},
		"NoneIsIdle":       {[3]int{0, 4, 0}, connlimit.Demand{}, awaited, false, [3]int{0, 4, 0}},
		"OthersWaitToo":    {[3]int{0, 4, 0}, awaited, awaited, true, [3]int{0, 4, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, 12)
			var swarms [3]*fakeSwarm
			for i := range swarms {
				s := newSwarm(t, e, byte(i+1))
				s.mustConnect(c.have[i], true)
				for _, p := range s.peers {
					p.useful = !c.idle
					if p.useful {
						p.received = 1
					} else {
						p.conn.Joined = time.Now().Add(-time.Hour)
					}
				}
				s.demand = c.other
				swarms[i] = s
			}
			swarms[0].demand = c.demand
			swarms[0].c.requestSlot(c.demand, time.Now())
			var got [3]int
			for i, s := range swarms {
				s.own()
				got[i] = s.c.Connected()
				if gave := got[i] < c.have[i]; gave == s.c.madeWay.IsZero() {
					t.Errorf("torrent %d gave: %v, and pauses: %v", i, gave, !gave)
				}
			}
			if got != c.want {
				t.Errorf("connections %v, want %v", got, c.want)
			}
		})
	}
}

// TestOnlyOneGives: of many torrents that are asked for a slot, one gives it.
func TestOnlyOneGives(t *testing.T) {
	e := newEndpoint(t, 12)
	asks := newSwarm(t, e, 1)
	var others []*fakeSwarm
	for i := range 3 {
		s := newSwarm(t, e, byte(i+2))
		s.mustConnect(3, true)
		for _, p := range s.peers {
			p.conn.Joined = time.Now().Add(-time.Hour)
		}
		others = append(others, s)
	}
	asks.c.requestSlot(connlimit.Demand{Awaited: true}, time.Now())
	left := 0
	for _, s := range others {
		s.own()
		left += s.c.Connected()
	}
	if left != 8 {
		t.Errorf("%d of 9 connections are left", left)
	}
}

// TestPeersAreRecorded: peers that we dialed are noted when they leave, those that came to
// us when they gave something and said where they listen.
func TestPeersAreRecorded(t *testing.T) {
	s := newSwarm(t, newEndpoint(t, 100), 1)
	dialed, _ := s.connect("45.1.1.1:1", 1, true)
	silent, _ := s.connect("45.1.1.2:2", 2, false)
	gave, _ := s.connect("45.1.1.3:3", 3, false)
	gave.received = 1
	hidden, _ := s.connect("45.1.1.4:4", 4, false)
	hidden.received = 1
	for _, p := range []*fakePeer{silent, gave} {
		s.c.Extensions(p.conn, &wire.ExtensionHandshake{Port: 6881})
	}
	for _, p := range []*fakePeer{dialed, silent, gave, hidden} {
		p.Drop(context.Canceled)
	}
	var got []string
	for _, k := range s.c.book.KnownPeers(time.Now()) {
		got = append(got, k.Addr.String())
	}
	slices.Sort(got)
	if want := []string{"45.1.1.1:1", "45.1.1.3:6881"}; !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}
