package engine_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/discover/pex"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// fillSlots fills a torrent's slots with n connections of one address that send one message
// and then nothing.
func fillSlots(t *testing.T, e *engine.Engine, ih weir.InfoHash, n int, say []byte) {
	t.Helper()
	for range n {
		p := dialBareFrom(t, "127.0.0.9", portOf(e), ih)
		if say != nil {
			p.send(say)
		}
	}
	awaitConnSlots(t, testContext(t, 30*time.Second), e, n)
}

// TestSquattersKeepNobodyOut: connections that claim everything and give nothing, or
// claim nothing, have every slot; a read gets its seeders all the same, whether the
// metadata is there or not.
func TestSquattersKeepNobodyOut(t *testing.T) {
	t.Parallel()
	c := numberedContent(t, 1)
	for name, say := range map[string][]byte{
		"ClaimEverything": wire.AppendBare(nil, pp.HaveAll), "WantEverything": wire.AppendBare(nil, pp.Interested), "Silent": nil,
		"Unchoke": wire.AppendBare(wire.AppendBare(nil, pp.HaveAll), pp.Unchoke),
	} {
		for kind, spec := range map[string]func(*swarmtest.Content, ...string) *source.Spec{"Torrent": specOf, "Magnet": magnetOf} {
			t.Run(name+kind, func(t *testing.T) {
				t.Parallel()
				e := openEngine(t, engine.Options{})
				tor := addTorrent(t, e, spec(c))
				fillSlots(t, e, c.InfoHash(), 50, say)
				tor.AddPeers([]string{openSeeder(t, c, swarmtest.SeederOptions{}).Addr(), openSeeder(t, c, swarmtest.SeederOptions{}).Addr()})
				wantBytes(t, testContext(t, 30*time.Second), tor, c, 0, 1<<20)
				if n := tor.Stats().Peers; n > 50 {
					t.Errorf("%d peers, the bound is 50", n)
				}
				// One whose handshake has just ended counts until it is let in or refused.
				eventually(t, "no more than 50 connections are left", func() bool {
					open, _ := e.ConnSlots()
					return open <= 50
				})
			})
		}
	}
}

// TestSquattersOfAllTorrents: the slots of the engine are used up, by a torrent each,
// and nothing is awaited of those.
func TestSquattersOfAllTorrents(t *testing.T) {
	t.Parallel()
	e := openEngine(t, engine.Options{MaxConnections: 4})
	for i := range 4 {
		c := numberedContent(t, 10+i)
		addTorrent(t, e, specOf(c))
		dialBareFrom(t, "127.0.0.9", portOf(e), c.InfoHash()).send(wire.AppendBare(nil, pp.HaveAll))
	}
	ctx := testContext(t, 30*time.Second)
	awaitConnSlots(t, ctx, e, 4)
	c := numberedContent(t, 1)
	tor := addTorrent(t, e, specOf(c, openSeeder(t, c, swarmtest.SeederOptions{}).Addr()))
	wantBytes(t, ctx, tor, c, 0, 1<<20)
}

// TestCrowdMakesRoom: where one address has every slot, a peer with another is let
// in; one more of the same is not.
func TestCrowdMakesRoom(t *testing.T) {
	t.Parallel()
	c := numberedContent(t, 1)
	e := openEngine(t, engine.Options{MaxPeers: 5})
	tor := addTorrent(t, e, specOf(c))
	fillSlots(t, e, c.InfoHash(), 5, wire.AppendBare(nil, pp.HaveAll))
	ctx := testContext(t, 30*time.Second)
	tor.Age(5 * time.Second)
	if !dialBareFrom(t, "127.0.0.9", portOf(e), c.InfoHash()).ends(ctx) {
		t.Error("one more of the crowd is let in")
	}
	p := dialBareFrom(t, "127.0.0.8", portOf(e), c.InfoHash())
	p.expect(ctx, "a message", func(wire.Message) bool { return true })
	awaitConnSlots(t, ctx, e, 5)
}

// TestHandshakesThatNeverCome: sockets that send nothing, or half of a handshake, keep no
// peer out.
func TestHandshakesThatNeverCome(t *testing.T) {
	t.Parallel()
	c := numberedContent(t, 1)
	e := openEngine(t, engine.Options{})
	addTorrent(t, e, specOf(c))
	hello := wire.Handshake{InfoHash: c.InfoHash()}
	for i := range 200 {
		conn, err := net.Dial("tcp", portOf(e))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = conn.Write(hello.Append(nil)[:i%68]) // it may be closed already
	}
	p := dialBare(t, portOf(e), c.InfoHash())
	p.expect(testContext(t, 30*time.Second), "a message", func(wire.Message) bool { return true })
}

// TestNonsenseFromPeers: short connections name three thousand peers that do not exist; the
// peers that others name are found, whichever way they are named.
func TestNonsenseFromPeers(t *testing.T) {
	t.Parallel()
	c := numberedContent(t, 1)
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, specOf(c))
	ctx := testContext(t, 60*time.Second)
	tell := func(local string, peers ...pex.Peer) {
		p := dialBareFrom(t, local, portOf(e), c.InfoHash())
		p.send(wire.AppendExtended(nil, 0, []byte("d1:md6:ut_pexi1eee")))
		p.send(wire.AppendExtended(nil, 2, pex.Message{Added: peers}.Append(nil)))
		p.send(wire.AppendExtended(nil, 1, []byte("d8:msg_typei0e5:piecei0ee"))) // is answered when the rest was heard
		p.expect(ctx, "an answer", isType(pp.Extended))
		_ = p.conn.Close()
	}
	for i := range 60 {
		var nonsense []pex.Peer
		for j := range 50 {
			nonsense = append(nonsense, pex.Peer{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i), byte(j)}), 9)})
		}
		tell("127.0.0.9", nonsense...)
	}
	if known := tor.Stats().Known; known > 2000 {
		t.Errorf("%d addresses are known", known)
	}
	honest, users := openSeeder(t, c, swarmtest.SeederOptions{}), openSeeder(t, c, swarmtest.SeederOptions{})
	tell("127.0.0.8", pex.Peer{Addr: netip.MustParseAddrPort(honest.Addr())})
	wantBytes(t, ctx, tor, c, 0, 1<<19)
	if err := honest.Close(); err != nil {
		t.Fatal(err)
	}
	tor.AddPeers([]string{users.Addr()})
	wantBytes(t, ctx, tor, c, 1<<19, 1<<19)
}
