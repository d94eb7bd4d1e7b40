package swarmtest_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

func dialLeech(tb testing.TB, addr string, c *swarmtest.Content, o swarmtest.LeechOptions) *swarmtest.Leech {
	tb.Helper()
	l, err := swarmtest.DialLeech(testContext(tb), addr, c.InfoHash(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func TestSwarm(t *testing.T) {
	ctx := testContext(t)
	c := newSample(t)
	s := swarmtest.New(t, swarmtest.Options{
		Contents: []*swarmtest.Content{c}, Seeders: 3,
		Link: simnet.Link{RTT: 4 * time.Millisecond},
		Each: func(i int, o *swarmtest.SeederOptions) {
			o.Have = func(_ *swarmtest.Content, piece int) bool { return i != 2 || piece == 0 }
		},
	})
	peers := s.Peers()
	for i, want := range []string{"127.0.0.2:", "127.0.0.3:", "127.0.0.4:"} {
		if !strings.HasPrefix(peers[i], want) {
			t.Errorf("seeder %d on %s", i, peers[i])
		}
	}
	if code, got, err := announce(t, s.Tracker(), "&port=1&compact=1"); err != nil || code != 200 || !strings.Contains(got, "5:peers18:") {
		t.Errorf("tracker: %d %q, %v", code, got, err)
	}
	if b := s.Torrent(c); !bytes.Contains(b, []byte(s.Tracker().URL())) || !bytes.Contains(b, c.InfoBytes()) {
		t.Errorf(".torrent %.200q", b)
	}
	if m := s.PeerMagnet(c); strings.Count(m, "x.pe=") != 3 || strings.Contains(m, "tr=") || !strings.Contains(s.Magnet(c), "&tr=http") {
		t.Errorf("magnets %q, %q", m, s.Magnet(c))
	}

	want := make([]byte, block)
	c.ReadAt(want, 0)
	for i, addr := range peers {
		l := dialLeech(t, addr, c, swarmtest.LeechOptions{NoFast: i == 1, From: "127.0.0.9"})
		if b, err := l.Fetch(ctx, 0, 0, block); err != nil || !bytes.Equal(b, want) {
			t.Fatalf("block from seeder %d: %v", i, err)
		}
		if l.Has(1) != (i < 2) || !l.Has(0) {
			t.Errorf("seeder %d: has 0 is %v, has 1 is %v", i, l.Has(0), l.Has(1))
		}
	}
	n, err := s.Settle(ctx, 50*time.Millisecond)
	if err != nil || n.Blocks != 3 || n.PayloadBytes != 3*block || n.ConnsTotal != 3 {
		t.Errorf("totals %+v, %v", n, err)
	}
	if d, p := s.DuplicateBlocks(c), s.PieceBlocks(c); d != 2 || len(p) != 1 || p[0] != 3 {
		t.Errorf("%d duplicates, blocks %v", d, p)
	}
	if v := s.Violations(); len(v) != 0 {
		t.Errorf("violations %q", v)
	}
}

func TestLeech(t *testing.T) {
	ctx := testContext(t)
	c := newContent(t, swarmtest.ContentOptions{Name: "many", PieceLength: block, Files: []swarmtest.File{{Path: []string{"f"}, Length: 2000 * block, Seed: 1}}})
	s := openSeeder(t, swarmtest.SeederOptions{
		Contents: []*swarmtest.Content{c}, RequestQueue: 77,
		Have: func(_ *swarmtest.Content, piece int) bool { return piece > 0 },
	})
	l := dialLeech(t, s.Addr(), c, swarmtest.LeechOptions{Link: simnet.Link{RTT: 10 * time.Millisecond, Connect: true}})
	if b, err := l.Metadata(ctx); err != nil || !bytes.Equal(b, c.InfoBytes()) {
		t.Fatalf("metadata: %d bytes, %v", len(b), err)
	}
	if q, b := l.RequestQueue(), l.Bitfield(); q != 77 || len(b) != 250 || b[0] != 0x7f || !l.Fast() || !l.Extended() {
		t.Errorf("reqq %d, bitfield %x", q, b)
	}
	if _, err := l.Fetch(ctx, 0, 0, block); !errors.Is(err, swarmtest.ErrRejected) {
		t.Errorf("missing piece: %v", err)
	}
	s.Give(c, 0)
	if err := l.Wait(ctx, func() bool { return l.Has(0) }); err != nil || !slices.Equal(l.Haves(), []int{0}) {
		t.Fatalf("haves %v, %v", l.Haves(), err)
	}
	if _, err := l.Fetch(ctx, 0, 5, 100); err != nil {
		t.Errorf("given piece: %v", err)
	}
	if err := l.Have(3); err != nil {
		t.Error(err)
	}
	s.SetFaults(swarmtest.Faults{ReplyDelay: time.Hour})
	if err := errors.Join(l.Request(1, 0, block), l.Cancel(1, 0, block)); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(ctx, func() bool { _, rejected := l.Block(1, 0, block); return rejected }); err != nil {
		t.Fatal(err)
	}
	if n := s.Counters(); n.Haves != 1 || n.CancelsInTime != 1 {
		t.Errorf("counters %+v", n)
	}
	s.SetFaults(swarmtest.Faults{MetadataReject: true})
	if _, err := dialLeech(t, s.Addr(), c, swarmtest.LeechOptions{}).Metadata(ctx); !errors.Is(err, swarmtest.ErrRejected) {
		t.Errorf("refused metadata: %v", err)
	}
	s.DropConns()
	if err := l.Wait(ctx, func() bool { return false }); err == nil || l.Err() == nil {
		t.Error("the connection lives on")
	}
	s.SetFaults(swarmtest.Faults{WrongInfoHash: true})
	if _, err := swarmtest.DialLeech(ctx, s.Addr(), c.InfoHash(), swarmtest.LeechOptions{}); err == nil {
		t.Error("took another torrent's handshake")
	}
	if _, err := swarmtest.DialLeech(ctx, s.Addr(), weir.InfoHash{1}, swarmtest.LeechOptions{}); err == nil {
		t.Error("found a torrent that nobody has")
	}
}

// failing is a TB of a test that is to fail.
type failing struct{ testing.TB }

type failed struct{}

func (failing) Fatalf(string, ...any) { panic(failed{}) }

func TestSwarmFails(t *testing.T) {
	defer func() {
		if _, ok := recover().(failed); !ok {
			t.Error("a swarm on an address that isn't there started")
		}
	}()
	swarmtest.New(failing{t}, swarmtest.Options{Seeders: 2, Each: func(i int, o *swarmtest.SeederOptions) {
		if i == 1 {
			o.Addr = "192.0.2.1:0" // TEST-NET-1
		}
	}})
}

// BenchmarkSeeder measures what one connection takes from an unlimited seeder.
func BenchmarkSeeder(b *testing.B) {
	for name, link := range map[string]simnet.Link{"Bare": {}, "RTT": {RTT: 2 * time.Millisecond}} {
		b.Run(name, func(b *testing.B) {
			const length, ahead = 256 << 20, 512
			c := newContent(b, swarmtest.ContentOptions{Name: "x", PieceLength: 1 << 20, Single: true, Files: []swarmtest.File{{Length: length, Seed: 1}}})
			s := openSeeder(b, swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Link: link})
			r := openRaw(b, s, c)
			buf := make([]byte, 1<<20)
			b.SetBytes(length)
			for b.Loop() {
				asked, left := 0, length+length/block*13
				for got := 0; left > 0; {
					for asked < length/block && asked*block < got+ahead*block {
						r.request(uint32(asked/64), uint32(asked%64*block), block)
						asked++
					}
					n, err := r.c.Read(buf[:min(len(buf), left)])
					if err != nil {
						b.Fatal(err)
					}
					got += n
					left -= n
				}
			}
		})
	}
}
