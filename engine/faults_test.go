package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// TestFaultyPeerBesideGoodOne reads a whole torrent from one honest seeder and
// one that misbehaves: the content is right and arrives in time.
func TestFaultyPeerBesideGoodOne(t *testing.T) {
	everything := func(int) bool { return true }
	for name, f := range map[string]swarmtest.Faults{
		"Mute":            {Mute: true},
		"WrongInfoHash":   {WrongInfoHash: true},
		"NoFast":          {NoFast: true},
		"NoExtended":      {NoExtended: true},
		"BitfieldExtra":   {BitfieldExtra: true},
		"BitfieldSpare":   {BitfieldSpare: true},
		"Freeze":          {Freeze: true},
		"FreezeAfter":     {FreezeAfter: 300 << 10},
		"DropAfter":       {DropAfter: 300 << 10},
		"Choke":           {Choke: true},
		"ChokeCycle":      {ChokeEvery: 20 * time.Millisecond, ChokeFor: 30 * time.Millisecond},
		"ChokeCycleSlow":  {ChokeEvery: 20 * time.Millisecond, ChokeFor: 30 * time.Millisecond, NoFast: true},
		"RejectAll":       {RejectAll: true},
		"IgnoreAll":       {IgnoreAll: true},
		"LateBlocks":      {LateBlocks: true},
		"Corrupt":         {Corrupt: everything},
		"CorruptOne":      {Corrupt: func(i int) bool { return i == 3 }},
		"Garbage":         {Garbage: true},
		"Overlong":        {Overlong: true},
		"BadHave":         {BadHave: true},
		"Unasked":         {Unasked: true},
		"MetadataReject":  {MetadataReject: true},
		"MetadataSilent":  {MetadataSilent: true},
		"MetadataCorrupt": {MetadataCorrupt: true},
		"MetadataSize":    {MetadataSize: 5 << 20},
	} {
		for _, kind := range []string{"torrent", "magnet"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				c := newContent(t, 4<<20+777, 256<<10)
				good := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.2:0"})
				bad := openSeeder(t, c, swarmtest.SeederOptions{Addr: "127.0.0.3:0", Faults: f})
				e := openEngine(t, engine.Options{})
				spec := specOf(c, bad.Addr(), good.Addr())
				if kind == "magnet" {
					spec = magnetOf(c, bad.Addr(), good.Addr())
				}
				tor := addTorrent(t, e, spec)
				ctx := testContext(t, 30*time.Second)
				for off := int64(0); off < c.Info().Length; off += 1 << 20 {
					wantBytes(t, ctx, tor, c, off, int(min(1<<20, c.Info().Length-off)))
				}
				for _, v := range append(good.Violations(), bad.Violations()...) {
					t.Errorf("violation of the protocol: %s", v)
				}
			})
		}
	}
}

func TestCorruptPeersAreBanned(t *testing.T) {
	c := newContent(t, 16<<20, 1<<20)
	var peers []string
	for i := range 4 {
		var f swarmtest.Faults
		if i < 3 {
			f.Corrupt = func(int) bool { return true }
		}
		peers = append(peers, openSeeder(t, c, swarmtest.SeederOptions{Addr: fmt.Sprintf("127.0.0.%d:0", i+2), Faults: f}).Addr())
	}
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, specOf(c, peers...))
	ctx := testContext(t, 30*time.Second)
	for off := int64(0); off < c.Info().Length; off += 1 << 20 {
		wantBytes(t, ctx, tor, c, off, 1<<20)
	}
	if got := tor.Stats().Downloaded; got > 3*c.Info().Length {
		t.Errorf("%d bytes fetched for %d", got, c.Info().Length)
	}
}

// TestOnlyCorruptPeers: nobody has the right bytes, so the read ends with its
// deadline and no byte is handed out.
func TestOnlyCorruptPeers(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{Faults: swarmtest.Faults{Corrupt: func(int) bool { return true }}})
	store := newMemStore()
	e := openEngine(t, engine.Options{Store: store})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := tor.ReadAt(ctx, make([]byte, 100), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read returned %v, want a deadline", err)
	}
	for i := range c.Info().NumPieces() {
		if store.Has(weir.PieceID{Torrent: c.InfoHash(), Index: i}) {
			t.Errorf("piece %d was stored", i)
		}
	}
}

// TestBansOutliveASwarm: who lied is not asked again when the torrent was cold meanwhile.
func TestBansOutliveASwarm(t *testing.T) {
	c := newContent(t, 1<<20, 16<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{Faults: swarmtest.Faults{Corrupt: func(int) bool { return true }}})
	e := openEngine(t, engine.Options{Idle: 50 * time.Millisecond})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	all := testContext(t, time.Minute)
	read := func() {
		ctx, cancel := context.WithTimeout(all, 300*time.Millisecond)
		defer cancel()
		if err := tor.ReadAt(ctx, make([]byte, 100), 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("read returned %v, want a deadline", err)
		}
	}
	for tor.Stats().Failed == 0 {
		read()
	}
	for range 3 {
		if err := s.WaitFor(all, func(n swarmtest.Counters) bool { return n.ConnsOpen == 0 }); err != nil {
			t.Fatal("the torrent stays connected: ", err)
		}
		for tor.Stats().State != engine.StateCold {
			select {
			case <-all.Done():
				t.Fatal("the torrent stays warm")
			case <-time.After(10 * time.Millisecond):
			}
		}
		read()
	}
	if n := tor.Stats().Failed; n != 1 {
		t.Errorf("%d pieces failed, want the first one", n)
	}
}

func TestStoreThatTakesNothing(t *testing.T) {
	c := newContent(t, 8<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := newMemStore()
	store.putErr = weir.ErrNoSpace
	e := openEngine(t, engine.Options{Store: store})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	for off := int64(0); off < c.Info().Length; off += 1 << 20 {
		wantBytes(t, ctx, tor, c, off, 1<<20)
	}
}

// TestUncachedPiecesAreBoundedOverAllTorrents: what the Store refuses stays in memory
// up to one bound, the latest pieces longest, and goes with its torrent.
func TestUncachedPiecesAreBoundedOverAllTorrents(t *testing.T) {
	store := newMemStore()
	store.putErr = weir.ErrNoSpace
	e := openEngine(t, engine.Options{Store: store})
	const most = 1 << 20
	e.SetMostUncached(most)
	ctx := testContext(t, time.Minute)
	var torrents []*engine.Torrent
	inMemory := func() (total int64) {
		for _, tor := range torrents {
			total += tor.InMemory()
		}
		return total
	}
	for i := range 3 {
		c, err := swarmtest.NewContent(swarmtest.ContentOptions{
			Name: fmt.Sprint("refused ", i), PieceLength: 64 << 10,
			Files: []swarmtest.File{{Path: []string{"file.bin"}, Length: 3 << 20 / 2, Seed: uint64(i)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := openSeeder(t, c, swarmtest.SeederOptions{})
		tor := addTorrent(t, e, specOf(c, s.Addr()))
		torrents = append(torrents, tor)
		for off := int64(0); off < c.Info().Length; off += 64 << 10 {
			wantBytes(t, ctx, tor, c, off, 64<<10)
		}
		eventually(t, "no more than the bound is kept", func() bool { return inMemory() == most })
	}
	if torrents[2].InMemory() != most {
		t.Errorf("the latest torrent has %d bytes in memory, want all %d", torrents[2].InMemory(), most)
	}
	if err := e.Remove(torrents[2].InfoHash()); err != nil {
		t.Fatal(err)
	}
	torrents = torrents[:2]
	if n := inMemory(); n != 0 {
		t.Errorf("%d bytes of the others are left", n)
	}
}

func TestReadIsServedBeforeTheCommit(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := newMemStore()
	store.gate = make(chan struct{})
	e := openEngine(t, engine.Options{Store: store})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	wantBytes(t, testContext(t, 20*time.Second), tor, c, 1000, 1000)
	if store.Has(weir.PieceID{Torrent: c.InfoHash()}) {
		t.Error("the piece is in the store, although nothing was let in")
	}
	close(store.gate)
}

func TestEvictedPieceIsFetchedAgain(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := newMemStore()
	e := openEngine(t, engine.Options{Store: store})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	wantBytes(t, ctx, tor, c, 0, 4096)
	id := weir.PieceID{Torrent: c.InfoHash()}
	store.waitFor(ctx, id)
	store.evict(id)
	for s.Counters().PayloadBytes == 256<<10 { // memory may have it for a moment yet
		wantBytes(t, ctx, tor, c, 0, 4096)
	}
	if got := s.Counters().PayloadBytes; got != 2*256<<10 {
		t.Errorf("the seeder sent %d bytes, want the piece twice", got)
	}
}

func TestManyReadersOnePiece(t *testing.T) {
	c := newContent(t, 1<<20, 1<<20)
	s := openSeeder(t, c, swarmtest.SeederOptions{Link: simnet.Link{RTT: 20 * time.Millisecond}})
	e := openEngine(t, engine.Options{})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { wantBytes(t, ctx, tor, c, int64(i*4096), 4096) })
	}
	wg.Wait()
	if got := s.Counters().PayloadBytes; got != 1<<20 {
		t.Errorf("the seeder sent %d bytes for one piece of %d", got, 1<<20)
	}
}

func TestSeedsWhatItHolds(t *testing.T) {
	c := newContent(t, 2<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	first := openEngine(t, engine.Options{})
	tor := addTorrent(t, first, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	wantBytes(t, ctx, tor, c, 0, 2<<20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	second := openEngine(t, engine.Options{})
	from := addTorrent(t, second, magnetOf(c, fmt.Sprintf("127.0.0.1:%d", first.Port())))
	wantBytes(t, ctx, from, c, 0, 2<<20)
	if got := tor.Stats().Uploaded; got < 2<<20 {
		t.Errorf("uploaded %d bytes, want at least %d", got, 2<<20)
	}
}

func TestIdleTorrentCools(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openEngine(t, engine.Options{Idle: 50 * time.Millisecond})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	for i := range 3 {
		wantBytes(t, ctx, tor, c, int64(i)*256<<10, 4096)
		if err := s.WaitFor(ctx, func(n swarmtest.Counters) bool { return n.ConnsOpen == 0 }); err != nil {
			t.Fatal("the torrent stays connected: ", err)
		}
	}
}
