package engine_test

import (
	"testing"
	"time"

	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// stuckRecords is a store whose records take as long as the test wants; the metadata
// is found missing at once, because Add looks for it.
type stuckRecords struct {
	*memStore
	stuck   chan string // a token for each call that waits
	release chan struct{}
}

func (s *stuckRecords) wait(what string) {
	select {
	case s.stuck <- what:
	default:
	}
	<-s.release
}

func (s *stuckRecords) PutRecord(bucket string, key, value []byte) error {
	s.wait("put " + bucket)
	return s.memStore.PutRecord(bucket, key, value)
}

func (s *stuckRecords) Record(bucket string, key []byte) ([]byte, error) {
	if bucket != engine.MetadataBucket {
		s.wait("read " + bucket)
	}
	return s.memStore.Record(bucket, key)
}

// TestOwnerDoesNotWaitForRecords: a swarm finds metadata and reads while the Store
// hangs in each record that it was asked for or given, and what was given is there
// when the engine has closed.
func TestOwnerDoesNotWaitForRecords(t *testing.T) {
	c := newContent(t, 1<<20, 256<<10)
	store := &stuckRecords{memStore: newMemStore(), stuck: make(chan string, 10), release: make(chan struct{})}
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
		case what := <-store.stuck:
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
