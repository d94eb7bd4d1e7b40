package engine_test

import (
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/swarmtest"
)

// TestUploadOnlyPeersTakeNoSlot (BEP 21): whatever else they say, until they say
// something else.
func TestUploadOnlyPeersTakeNoSlot(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	_, _, addr := seeded(t, c)
	ctx := testContext(t, 20*time.Second)
	p := dialBare(t, addr, c.InfoHash())
	p.send(wire.AppendExtended(nil, 0, []byte("d1:mde11:upload_onlyi1ee")))
	p.send(wire.AppendBare(nil, pp.Interested))
	p.send(wire.AppendRequest(nil, pp.Request, 0, 0, 16384)) // answered after what was said before
	for {
		m := p.expect(ctx, "reject", func(wire.Message) bool { return true })
		if m.Type == pp.Unchoke {
			t.Fatal("an upload-only peer is served")
		}
		if m.Type == pp.Reject {
			break
		}
	}
	p.send(wire.AppendExtended(nil, 0, []byte("d1:mde11:upload_onlyi0ee")))
	p.expect(ctx, "unchoke", isType(pp.Unchoke))
}

// TestWeSayThatWeOnlyUpload when we hold all, and not before.
func TestWeSayThatWeOnlyUpload(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	says := func(addr string) bool {
		t.Helper()
		p := dialBare(t, addr, c.InfoHash())
		m := p.expect(testContext(t, 20*time.Second), "extension handshake", func(m wire.Message) bool { return m.Handshake != nil })
		return m.Handshake.UploadOnly && m.Handshake.MetadataID != 0
	}
	_, _, addr := seeded(t, c)
	if !says(addr) {
		t.Error("a seed does not say so")
	}
	e := openEngine(t, engine.Options{})
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	wantBytes(t, testContext(t, 20*time.Second), tor, c, 0, 1)
	if says(portOf(e)) {
		t.Error("one that has a piece of four says that it wants no more")
	}
}

// TestUploadOnlyIsToldAgain when it becomes true or false: to who joined before the last
// piece came, before one was lost, and before the Store opened.
func TestUploadOnlyIsToldAgain(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	ctx := testContext(t, time.Minute)
	says := func(p *barePeer, want bool) {
		t.Helper()
		m := p.expect(ctx, "extension handshake", func(m wire.Message) bool { return m.Handshake != nil })
		if m.Handshake.UploadOnly != want || m.Handshake.MetadataID == 0 {
			t.Errorf("%+v, want upload_only %v", m.Handshake, want)
		}
	}
	store := newMemStore()
	e := openEngine(t, engine.Options{Store: store})
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	wantBytes(t, ctx, tor, c, 0, 1)
	p := dialBare(t, portOf(e), c.InfoHash())
	says(p, false)
	wantBytes(t, ctx, tor, c, 0, 1<<20)
	says(p, true)
	lost := weir.PieceID{Torrent: c.InfoHash(), Index: 1}
	store.waitFor(ctx, lost)
	store.evict(lost)
	tor.Evicted(1)
	says(p, false)

	late := newMemStore()
	for i := range 4 {
		b := make([]byte, 256<<10)
		if _, err := c.ReadAt(b, int64(i)<<18); err != nil {
			t.Fatal(err)
		}
		if err := late.Put(weir.PieceID{Torrent: c.InfoHash(), Index: i}, [][]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	opening := newOpeningStore(t, late)
	e = openEngine(t, engine.Options{Store: opening, StoreReady: opening.ready})
	addTorrent(t, e, specOf(c))
	p = dialBare(t, portOf(e), c.InfoHash())
	says(p, false)
	close(opening.ready)
	says(p, true)
}
