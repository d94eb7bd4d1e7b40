package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// gatedStore holds each Put until the gate lets it through.
type gatedStore struct {
	*memStore
	putting chan weir.PieceID
	gate    chan struct{}
}

func (s *gatedStore) Put(id weir.PieceID, blocks [][]byte) error {
	s.putting <- id
	<-s.gate
	return s.memStore.Put(id, blocks)
}

// Dropping the pieces of a removed torrent waits for pieces that are being put.
func TestAwaitCommits(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	store := &gatedStore{memStore: newMemStore(), putting: make(chan weir.PieceID, 10), gate: make(chan struct{})}
	e := openEngine(t, engine.Options{Store: store})
	tor := addTorrent(t, e, specOf(c, s.Addr()))
	ctx := testContext(t, 20*time.Second)
	wantBytes(t, ctx, tor, c, 0, 100)
	id := <-store.putting
	if err := e.Remove(c.InfoHash()); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := tor.AwaitCommits(short); err == nil {
		t.Error("nothing is awaited, and a piece is being put")
	}
	close(store.gate)
	if err := tor.AwaitCommits(ctx); err != nil {
		t.Fatal(err)
	}
	if !store.Has(id) {
		t.Error("the piece was not put when its commit had been awaited")
	}
	cold := addTorrent(t, e, specOf(newContent(t, 1<<10, 256<<10)))
	if err := e.Remove(cold.InfoHash()); err != nil {
		t.Fatal(err)
	}
	if err := cold.AwaitCommits(ctx); err != nil {
		t.Errorf("of a cold torrent: %v", err)
	}
}
