package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/internal/wire"
	"github.com/weirfs/weir/engine/swarmtest"
)

// openingStore is a Store that opens late: until then each call waits and fails the test.
type openingStore struct {
	*memStore
	tb    testing.TB
	ready chan struct{}
}

func newOpeningStore(tb testing.TB, s *memStore) *openingStore {
	return &openingStore{s, tb, make(chan struct{})}
}

func (s *openingStore) wait() {
	select {
	case <-s.ready:
	default:
		s.tb.Error("the engine asks a Store that is not ready")
		<-s.ready
	}
}

func (s *openingStore) Put(id weir.PieceID, blocks [][]byte) error {
	s.wait()
	return s.memStore.Put(id, blocks)
}

func (s *openingStore) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	s.wait()
	return s.memStore.ReadAt(id, p, off)
}

func (s *openingStore) Has(id weir.PieceID) bool {
	s.wait()
	return s.memStore.Has(id)
}

func (s *openingStore) Held(ih weir.InfoHash, n int) []bool {
	s.wait()
	return s.memStore.Held(ih, n)
}

func (s *openingStore) PutRecord(bucket string, key, value []byte) error {
	s.wait()
	return s.memStore.PutRecord(bucket, key, value)
}

func (s *openingStore) Record(bucket string, key []byte) ([]byte, error) {
	s.wait()
	return s.memStore.Record(bucket, key)
}

// awaitPeers waits until the torrent has n peers.
func awaitPeers(t *testing.T, ctx context.Context, tor *engine.Torrent, n int) {
	t.Helper()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		if tor.Stats().Peers == n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d peers, want %d", tor.Stats().Peers, n)
		}
	}
}

// TestDialsWhileTheStoreOpens: peers are connected, and the metadata of a magnet is
// there, before the Store is; a read waits for it.
func TestDialsWhileTheStoreOpens(t *testing.T) {
	c := newContent(t, 1<<20, 64<<10)
	for _, magnet := range []bool{false, true} {
		t.Run(map[bool]string{false: "Torrent", true: "Magnet"}[magnet], func(t *testing.T) {
			s := openSeeder(t, c, swarmtest.SeederOptions{})
			ctx := testContext(t, 15*time.Second)
			store := newOpeningStore(t, newMemStore())
			e := openEngine(t, engine.Options{Store: store, StoreReady: store.ready, DHT: true})
			spec := specOf(c, s.Addr())
			if magnet {
				spec = magnetOf(c, s.Addr())
			}
			tor := addTorrent(t, e, spec)
			if err := tor.Warm(); err != nil {
				t.Fatal(err)
			}
			awaitPeers(t, ctx, tor, 1)
			if _, err := tor.WaitInfo(ctx); err != nil {
				t.Fatal(err)
			}
			read := make(chan error, 1)
			go func() { read <- tor.ReadAt(ctx, make([]byte, 4096), 0) }()
			select {
			case err := <-read:
				t.Fatalf("a read ended before the store opened: %v", err)
			default:
			}
			close(store.ready)
			if err := <-read; err != nil {
				t.Fatal(err)
			}
			wantBytes(t, ctx, tor, c, 300<<10, 100<<10)
			if magnet {
				ih := c.InfoHash()
				for tick := time.NewTicker(5 * time.Millisecond); ; {
					if _, err := store.Record(engine.MetadataBucket, ih[:]); err == nil {
						break
					}
					select {
					case <-tick.C:
					case <-ctx.Done():
						t.Fatal("the metadata is not kept")
					}
				}
			}
		})
	}
}

// TestStoreOpensWithTheMetadata: what a former run left is found, though the torrent
// was added, and is warm, before the Store opened.
func TestStoreOpensWithTheMetadata(t *testing.T) {
	c := newContent(t, 1<<20, 64<<10)
	ctx := testContext(t, 15*time.Second)
	kept := newMemStore()
	first := openEngine(t, engine.Options{Store: kept})
	if err := addTorrent(t, first, specOf(c)).StoreMetadata(); err != nil {
		t.Fatal(err)
	}
	for name, warm := range map[string]bool{"Warm": true, "Cold": false} {
		t.Run(name, func(t *testing.T) {
			store := newOpeningStore(t, kept)
			e := openEngine(t, engine.Options{Store: store, StoreReady: store.ready})
			tor := addTorrent(t, e, magnetOf(c))
			other, err := e.AddStored(magnetOf(numberedContent(t, 9)))
			if err != nil {
				t.Fatal(err)
			}
			if warm {
				if err := errors.Join(tor.Warm(), other.Warm()); err != nil {
					t.Fatal(err)
				}
			}
			if tor.Info() != nil || other.Info() != nil {
				t.Error("metadata from a store that is not open")
			}
			got := make(chan *weir.TorrentInfo, 1)
			go func() {
				info, _ := tor.WaitInfo(ctx)
				got <- info
			}()
			close(store.ready)
			if !warm && tor.Info() == nil {
				t.Error("the metadata is not seen")
			}
			if info := <-got; info == nil {
				t.Error("the metadata is not found")
			}
			if other.Info() != nil {
				t.Error("metadata that is nowhere")
			}
		})
	}
}

// TestEarlyPeersHearWhatWeHold: a peer that joined before the Store opened, or before the
// metadata was known, gets haves.
func TestEarlyPeersHearWhatWeHold(t *testing.T) {
	c := newContent(t, 1<<20, 64<<10)
	kept := newMemStore()
	held := map[int]bool{1: true, 3: true}
	for i := range held {
		pr := c.Info().PieceRange(i)
		b := make([]byte, pr.Len())
		if _, err := c.ReadAt(b, pr.Off); err != nil {
			t.Fatal(err)
		}
		if err := kept.Put(weir.PieceID{Torrent: c.InfoHash(), Index: i}, [][]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		magnet bool
	}{{"BeforeTheStore", false}, {"BeforeTheMetadata", true}} {
		t.Run(test.name, func(t *testing.T) {
			ctx := testContext(t, 15*time.Second)
			store := newOpeningStore(t, kept)
			e := openEngine(t, engine.Options{Store: store, StoreReady: store.ready})
			spec := specOf(c)
			if test.magnet {
				spec = magnetOf(c)
				close(store.ready)
			}
			tor := addTorrent(t, e, spec)
			p := dialBare(t, fmt.Sprintf("127.0.0.1:%d", e.Port()), c.InfoHash())
			p.expect(ctx, "have none", func(m wire.Message) bool { return m.Type == pp.HaveNone })
			awaitPeers(t, ctx, tor, 1)
			if test.magnet {
				tor.AddPeers([]string{openSeeder(t, c, swarmtest.SeederOptions{}).Addr()})
				if _, err := tor.WaitInfo(ctx); err != nil {
					t.Fatal(err)
				}
			} else {
				close(store.ready)
			}
			for range held {
				m := p.expect(ctx, "a have", func(m wire.Message) bool { return m.Type == pp.Have })
				if !held[m.Index] {
					t.Errorf("told of piece %d", m.Index)
				}
			}
		})
	}
}

// TestReadsEndWhileTheStoreOpens: by their context, by the torrent's removal and by
// the engine's end.
func TestReadsEndWhileTheStoreOpens(t *testing.T) {
	c := newContent(t, 1<<20, 64<<10)
	ctx := testContext(t, 15*time.Second)
	for _, test := range []struct {
		name string
		end  func(e *engine.Engine, cancel func()) error
		want error
	}{
		{"Canceled", func(_ *engine.Engine, cancel func()) error { cancel(); return nil }, context.Canceled},
		{"Removed", func(e *engine.Engine, _ func()) error { return e.Remove(c.InfoHash()) }, weir.ErrRemoved},
		{"Closed", func(e *engine.Engine, _ func()) error { return e.Close() }, weir.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openSeeder(t, c, swarmtest.SeederOptions{})
			store := newOpeningStore(t, newMemStore()) // for ever
			e := openEngine(t, engine.Options{Store: store, StoreReady: store.ready, DHT: true})
			tor := addTorrent(t, e, magnetOf(c, s.Addr()))
			if _, err := tor.WaitInfo(ctx); err != nil {
				t.Fatal(err)
			}
			reading, cancel := context.WithCancel(ctx)
			defer cancel()
			read := make(chan error, 1)
			go func() { read <- tor.ReadAt(reading, make([]byte, 4096), 0) }()
			if err := test.end(e, cancel); err != nil {
				t.Fatal(err)
			}
			if err := <-read; !errors.Is(err, test.want) {
				t.Errorf("the read ended with %v, want %v", err, test.want)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
