package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// newManyFiles makes a torrent whose metadata is large.
func newManyFiles(tb testing.TB, version swarmtest.Version) *swarmtest.Content {
	tb.Helper()
	o := swarmtest.ContentOptions{Name: "many files", PieceLength: 64 << 10, Version: version}
	for i := range 5000 {
		o.Files = append(o.Files, swarmtest.File{
			Path: []string{fmt.Sprintf("folder %d", i/100), fmt.Sprintf("%04d %s", i, strings.Repeat("x", 100))}, Length: 10, Seed: uint64(i),
		})
	}
	c, err := swarmtest.NewContent(o)
	if err != nil {
		tb.Fatal(err)
	}
	if n := len(c.InfoBytes()); n < 500<<10 {
		tb.Fatalf("the metadata takes %d bytes: too little for this test", n)
	}
	return c
}

// addParsed adds a torrent whose metadata shares no memory with the test's.
func addParsed(tb testing.TB, e *engine.Engine, c *swarmtest.Content) *engine.Torrent {
	tb.Helper()
	spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
	if err != nil {
		tb.Fatal(err)
	}
	return addTorrent(tb, e, spec)
}

// TestLargeDictionaryIsLeftInStore: large metadata is stored compactly and leaves memory;
// peers and later runs still get it.
func TestLargeDictionaryIsLeftInStore(t *testing.T) {
	for name, version := range map[string]swarmtest.Version{"V1": swarmtest.V1, "V2": swarmtest.V2, "Hybrid": swarmtest.Hybrid} {
		t.Run(name, func(t *testing.T) {
			c := newManyFiles(t, version)
			ih, store := c.InfoHash(), newDiskStore(t)
			e := openEngine(t, engine.Options{Store: store})
			before := heap()
			tor := addParsed(t, e, c)
			added := heap() - before
			if err := tor.StoreMetadata(); err != nil {
				t.Fatal(err)
			}
			left := added - (heap() - before)
			if want := int64(len(c.InfoBytes())) * 9 / 10; left < want {
				t.Errorf("%d bytes of %d have left memory, want at least %d", left, added, want)
			}
			b, err := store.Record(engine.MetadataBucket, ih[:])
			if err != nil || len(b) > len(c.InfoBytes())/2 {
				t.Errorf("the record takes %d bytes for %d, error %v", len(b), len(c.InfoBytes()), err)
			}
			if err := tor.StoreMetadata(); err != nil {
				t.Errorf("kept again: %v", err)
			}

			l := dialLeech(t, portOf(e), ih, swarmtest.LeechOptions{})
			for _, when := range []string{"read", "held"} {
				b, err := l.Metadata(testContext(t, 30*time.Second))
				if err != nil || !bytes.Equal(b, c.InfoBytes()) {
					t.Errorf("metadata for a peer, %s: %d bytes, error %v", when, len(b), err)
				}
			}

			again := openEngine(t, engine.Options{Store: store, Listen: "off"})
			kept, err := again.AddStored(&source.Spec{InfoHash: ih})
			if err != nil {
				t.Fatal(err)
			}
			if info := kept.Info(); info == nil || len(info.Files) != len(tor.Info().Files) {
				t.Error("a later run does not find the metadata")
			}
			piece := make([]byte, c.Info().PieceRange(0).Len())
			if _, err := c.ReadAt(piece, 0); err != nil {
				t.Fatal(err)
			}
			if err := engine.NewChecker(store).Check(weir.PieceID{Torrent: ih}, piece); err != nil {
				t.Errorf("checked against the records: %v", err)
			}
			runtime.KeepAlive(tor)
		})
	}
}

// countingStore counts how often metadata is read.
type countingStore struct {
	*memStore
	records atomic.Int32
}

func (s *countingStore) Record(bucket string, key []byte) ([]byte, error) {
	if bucket == engine.MetadataBucket {
		s.records.Add(1)
	}
	return s.memStore.Record(bucket, key)
}

// TestLostDictionaryIsRefused: when metadata is damaged in the Store, requests of peers are
// rejected, and it is not read again at once for the next ones.
func TestLostDictionaryIsRefused(t *testing.T) {
	c := newManyFiles(t, swarmtest.V1)
	ih := c.InfoHash()
	other := newManyFiles(t, swarmtest.V2).InfoBytes()
	for name, damage := range map[string]func(b []byte) []byte{
		"Cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"Changed": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"Another": func([]byte) []byte { return other },
		"Nothing": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			store := &countingStore{memStore: newMemStore()}
			e := openEngine(t, engine.Options{Store: store})
			tor := addTorrent(t, e, specOf(c))
			if err := tor.StoreMetadata(); err != nil {
				t.Fatal(err)
			}
			b, err := store.Record(engine.MetadataBucket, ih[:])
			if err != nil {
				t.Fatal(err)
			}
			if err := store.PutRecord(engine.MetadataBucket, ih[:], damage(bytes.Clone(b))); err != nil {
				t.Fatal(err)
			}
			before := store.records.Load()
			for range 2 {
				l := dialLeech(t, portOf(e), ih, swarmtest.LeechOptions{})
				if _, err := l.Metadata(testContext(t, 30*time.Second)); !errors.Is(err, swarmtest.ErrRejected) {
					t.Errorf("metadata for a peer: %v, want a reject", err)
				}
			}
			if n := store.records.Load() - before; n != 1 {
				t.Errorf("the record is read %d times for peers, want once", n)
			}
			if tor.Info() == nil {
				t.Error("the torrent has lost its metadata")
			}
		})
	}
}
