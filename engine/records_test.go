package engine_test

import (
	"testing"
	"time"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// blockingRecords is a Store whose calls for records wait for the test; only the metadata is
// reported missing at once, because Add looks for it.
type blockingRecords struct {
	*memStore
	waiting chan string // a token for each call that waits
	release chan struct{}
}

func (s *blockingRecords) wait(what string) {
	select {
	case s.waiting <- what:
	default:
	}
	<-s.release
}

func (s *blockingRecords) PutRecord(bucket string, key, value []byte) error {
	s.wait("put " + bucket)
	return s.memStore.PutRecord(bucket, key, value)
}

func (s *blockingRecords) Record(bucket string, key []byte) ([]byte, error) {
	if bucket != engine.MetadataBucket {
		s.wait("read " + bucket)
	}
	return s.memStore.Record(bucket, key)
}

// TestOwnerDoesNotWaitForRecords: a swarm gets metadata and serves reads while each call of
// the Store for a record hangs, and all records are stored once the engine has closed.
func TestOwnerDoesNotWaitForRecords(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	store := &blockingRecords{memStore: newMemStore(), waiting: make(chan string, 10), release: make(chan struct{})}
	e := engine.New(engine.Options{Store: store, Listen: "off"})
	if err := e.Open(); err != nil {
		t.Fatal(err)
	}
	tor, err := e.Add(magnetOf(c, openSeeder(t, c, swarmtest.SeederOptions{}).Addr()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t, time.Minute)
	wantBytes(t, ctx, tor, c, 0, 300<<10)
	seen := map[string]bool{}
	for !seen["read peers"] || !seen["put metadata"] {
		select {
		case what := <-store.waiting:
			seen[what] = true
		case <-ctx.Done():
			t.Fatalf("the store hangs in %v, want a read of peers and a put of metadata", seen)
		}
	}
	wantBytes(t, ctx, tor, c, 300<<10, 700<<10)
	close(store.release)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	ih := c.InfoHash()
	for _, bucket := range []string{engine.MetadataBucket, engine.PeersBucket} {
		if _, err := store.memStore.Record(bucket, ih[:]); err != nil {
			t.Errorf("record of %s after Close: %v", bucket, err)
		}
	}
}
