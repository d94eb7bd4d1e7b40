package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/swarmtest"
)

// barePeer is a peer that sends what the test tells it to, message by message.
type barePeer struct {
	tb   testing.TB
	conn net.Conn
	in   chan wire.Message // what came; closed with the connection
}

var peerNumber struct {
	sync.Mutex
	n uint16
}

func dialBare(tb testing.TB, addr string, ih weir.InfoHash) *barePeer {
	tb.Helper()
	return dialBareFrom(tb, "127.0.0.1", addr, ih)
}

// dialBareFrom dials from an address of this machine.
func dialBareFrom(tb testing.TB, local, addr string, ih weir.InfoHash) *barePeer {
	tb.Helper()
	return dialBareBits(tb, local, addr, ih, wire.OurBits())
}

// dialBareBits dials from an address of this machine, with these extensions.
func dialBareBits(tb testing.TB, local, addr string, ih weir.InfoHash, bits pp.PeerExtensionBits) *barePeer {
	tb.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	peerNumber.Lock()
	peerNumber.n++
	hello := wire.Handshake{InfoHash: ih, PeerID: [20]byte{'b', 'a', 'r', 'e', byte(peerNumber.n >> 8), byte(peerNumber.n)}, Bits: bits}
	peerNumber.Unlock()
	if _, err := conn.Write(hello.Append(nil)); err != nil {
		tb.Fatal(err)
	}
	if _, err := wire.ReadHandshake(conn); err != nil {
		tb.Fatal(err)
	}
	p := &barePeer{tb, conn, make(chan wire.Message, 10_000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(p.in)
		r := wire.NewReader(conn, func() int { return 0 })
		for {
			m, err := r.Next()
			if err != nil {
				return
			}
			if m.Data != nil {
				m.Data.Free()
			}
			p.in <- m
		}
	}()
	tb.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return p
}

func (p *barePeer) send(b []byte) {
	p.tb.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.tb.Fatal(err)
	}
}

// theirDontHave is a peer's number for lt_donthave, other than ours, whose payload the
// Reader returns.
const theirDontHave = wire.PexID

// extensionHandshake sends the extension handshake, with theirDontHave as the number of lt_donthave.
func (p *barePeer) extensionHandshake() {
	p.tb.Helper()
	p.send(wire.AppendExtended(nil, 0, []byte("d1:md11:lt_donthavei2eee")))
}

// expect returns the next message that ok accepts, and drops those before it.
func (p *barePeer) expect(ctx context.Context, what string, ok func(wire.Message) bool) wire.Message {
	p.tb.Helper()
	for {
		select {
		case m, open := <-p.in:
			if !open {
				p.tb.Fatal("the connection ended before ", what)
			}
			if ok(m) {
				return m
			}
		case <-ctx.Done():
			p.tb.Fatal("there is no ", what)
		}
	}
}

func isDontHave(index uint32) func(wire.Message) bool {
	return func(m wire.Message) bool {
		return m.Type == pp.Extended && m.ExtendedID == theirDontHave && len(m.Payload) == 4 && binary.BigEndian.Uint32(m.Payload) == index
	}
}

func isType(t pp.MessageType) func(wire.Message) bool {
	return func(m wire.Message) bool { return m.Type == t }
}

// TestEvictedPieceIsTakenBack: peers that understand lt_donthave are told, also later;
// requests of the others are rejected.
func TestEvictedPieceIsTakenBack(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	tor, store, addr := seeded(t, c)
	ctx := testContext(t, 20*time.Second)
	knows := dialBare(t, addr, c.InfoHash())
	knows.extensionHandshake()
	knows.expect(ctx, "have all", isType(pp.HaveAll))
	late := dialBare(t, addr, c.InfoHash())
	late.expect(ctx, "have all", isType(pp.HaveAll))
	old := dialLeech(t, addr, c.InfoHash(), swarmtest.LeechOptions{})
	if _, err := old.Fetch(ctx, 1, 0, weir.BlockBytes); err != nil {
		t.Fatal(err)
	}
	// A round trip to the owner: the handshake of knows was handled.
	knows.send(wire.AppendBare(nil, pp.Interested))
	knows.expect(ctx, "unchoke", isType(pp.Unchoke))

	tor.Evicted(2) // it is there: nothing happens
	store.evict(weir.PieceID{Torrent: c.InfoHash(), Index: 1})
	tor.Evicted(1)
	tor.Evicted(1)
	tor.Evicted(-1)
	tor.Evicted(1000)
	first := knows.expect(ctx, "dont have", func(m wire.Message) bool { return m.Type == pp.Extended && m.ExtendedID == theirDontHave })
	if !isDontHave(1)(first) {
		t.Errorf("told of % x, want piece 1", first.Payload)
	}
	late.extensionHandshake()
	late.expect(ctx, "dont have", isDontHave(1))
	for range 3 {
		if _, err := old.Fetch(ctx, 1, 0, weir.BlockBytes); !errors.Is(err, swarmtest.ErrRejected) {
			t.Fatalf("fetch of an evicted piece: %v, want a reject", err)
		}
	}
	if _, err := old.Fetch(ctx, 2, 0, weir.BlockBytes); err != nil {
		t.Errorf("the connection is of no use after rejects: %v", err)
	}
	after := dialLeech(t, addr, c.InfoHash(), swarmtest.LeechOptions{})
	if _, err := after.Fetch(ctx, 0, 0, weir.BlockBytes); err != nil {
		t.Fatal(err)
	}
	if after.Has(1) {
		t.Error("a new peer is offered the evicted piece")
	}

	s := openSeeder(t, c, swarmtest.SeederOptions{})
	tor.AddPeers([]string{s.Addr()})
	wantBytes(t, ctx, tor, c, 256<<10, 4096)
	knows.expect(ctx, "have", func(m wire.Message) bool { return m.Type == pp.Have && m.Index == 1 })
	if _, err := old.Fetch(ctx, 1, 0, weir.BlockBytes); err != nil {
		t.Errorf("fetch of the piece that is back: %v", err)
	}
}

// TestEvictedWhenPut: the store drops a piece before the commit is over.
func TestEvictedWhenPut(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := &reactingStore{memStore: newMemStore()}
	e := openEngine(t, engine.Options{Store: store})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	store.put = func(id weir.PieceID) {
		if id.Index == 0 {
			store.evict(id)
			tor.Evicted(id.Index)
		}
	}
	p := dialBare(t, portOf(e), c.InfoHash())
	p.extensionHandshake()
	ctx := testContext(t, 20*time.Second)
	wantBytes(t, ctx, tor, c, 0, 512<<10)
	p.expect(ctx, "dont have", isDontHave(0))
}

// reactingStore calls a function right after each put.
type reactingStore struct {
	*memStore
	put func(weir.PieceID)
}

func (f *reactingStore) Put(id weir.PieceID, blocks [][]byte) error {
	err := f.memStore.Put(id, blocks)
	f.put(id)
	return err
}

// TestPeerDoesNotHave: a piece that a peer no longer has is requested from others.
func TestPeerDoesNotHave(t *testing.T) {
	for _, kind := range []string{"torrent", "magnet"} {
		t.Run(kind, func(t *testing.T) {
			c := newContent(t, 1<<20, 256<<10)
			e := openEngine(t, engine.Options{})
			spec := specOf(c)
			if kind == "magnet" {
				spec = magnetOf(c)
			}
			tor := addTorrent(t, e, spec)
			ctx := testContext(t, 20*time.Second)
			p := dialBare(t, portOf(e), c.InfoHash())
			b := wire.AppendBare(nil, pp.HaveAll)
			for _, i := range []uint32{0, 1, 2} {
				b = wire.AppendExtended(b, 3, binary.BigEndian.AppendUint32(nil, i))
			}
			b = wire.AppendHave(b, 2)
			p.send(wire.AppendBare(b, pp.Unchoke))
			// An answer to a later message shows that all of it was handled.
			p.send(wire.AppendBare(nil, pp.Interested))
			p.expect(ctx, "unchoke", isType(pp.Unchoke))
			tor.AddPeers([]string{openSeeder(t, c, swarmtest.SeederOptions{
				Have: func(_ *swarmtest.Content, piece int) bool { return piece < 2 },
			}).Addr()})
			wantBytes(t, ctx, tor, c, 0, 512<<10)
			reading, stop := context.WithCancel(ctx)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = tor.ReadAt(reading, make([]byte, 1), 512<<10)
			}()
			if m := p.expect(ctx, "request", isType(pp.Request)); m.Index != 2 {
				t.Errorf("asked for piece %d, which it has not", m.Index)
			}
			stop()
			<-ended
		})
	}
	for name, payload := range map[string]string{"Short": "\x00\x00\x01", "Long": "\x00\x00\x00\x00\x00", "OutOfRange": "\x00\x00\x00\x04"} {
		t.Run(name, func(t *testing.T) {
			c := newContent(t, 1<<20, 256<<10)
			e := openEngine(t, engine.Options{})
			addTorrent(t, e, specOf(c))
			p := dialBare(t, portOf(e), c.InfoHash())
			p.send(wire.AppendExtended(nil, 3, []byte(payload)))
			ctx := testContext(t, 20*time.Second)
			for {
				select {
				case _, open := <-p.in:
					if !open {
						return
					}
				case <-ctx.Done():
					t.Fatal("nonsense is tolerated")
				}
			}
		})
	}
}

// dialBareMany connects n peers one after the other and waits until each has joined.
func dialBareMany(t *testing.T, ctx context.Context, addr string, ih weir.InfoHash, n int) []*barePeer {
	t.Helper()
	var out []*barePeer
	for range n {
		p := dialBare(t, addr, ih)
		p.expect(ctx, "a message", func(wire.Message) bool { return true })
		out = append(out, p)
	}
	return out
}
