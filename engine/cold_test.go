package engine_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// diskStore keeps records in files, so that they don't count as memory, and of
// the pieces only that they were put.
type diskStore struct {
	*memStore
	dir string
}

func newDiskStore(tb testing.TB) *diskStore { return &diskStore{discardStore(), tb.TempDir()} }

func (d *diskStore) path(bucket string, key []byte) string {
	return filepath.Join(d.dir, bucket+"-"+hex.EncodeToString(key))
}

func (d *diskStore) PutRecord(bucket string, key, value []byte) error {
	return os.WriteFile(d.path(bucket, key), value, 0o600)
}

func (d *diskStore) Record(bucket string, key []byte) ([]byte, error) {
	b, err := os.ReadFile(d.path(bucket, key))
	if errors.Is(err, os.ErrNotExist) {
		return nil, weir.ErrNotFound
	}
	return b, err
}

// newSmallContents makes torrents whose metadata is larger than what a cold one
// may take.
func newSmallContents(tb testing.TB, n int) (out []*swarmtest.Content) {
	tb.Helper()
	for i := range n {
		o := swarmtest.ContentOptions{Name: fmt.Sprintf("torrent %d", i), PieceLength: 16 << 10}
		for f := range 100 {
			o.Files = append(o.Files, swarmtest.File{
				Path: []string{fmt.Sprintf("%d %s", f, strings.Repeat("x", 100))}, Length: 200, Seed: uint64(i),
			})
		}
		c, err := swarmtest.NewContent(o)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// eventually waits until done returns true.
func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(60 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			tb.Fatalf("%s: not after a minute", what)
		}
	}
}

// TestColdTorrentsCostNothing warms a thousand torrents with a read each, lets them cool,
// and checks what memory and goroutines remain.
func TestColdTorrentsCostNothing(t *testing.T) {
	const torrents, atATime = 1000, 150
	const mostBytes = 8 << 10 // of heap, each
	contents := newSmallContents(t, torrents)
	if n := len(contents[0].InfoBytes()); n < 12<<10 {
		t.Fatalf("the metadata takes %d bytes: too little for this test", n)
	}
	seeder, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{Contents: contents})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = seeder.Close() }()
	store := newDiskStore(t)
	e := openEngine(t, engine.Options{Store: store, Idle: 100 * time.Millisecond, Listen: "off"})
	ctx := testContext(t, 2*time.Minute)

	goroutines, before := runtime.NumGoroutine(), heap()
	var all []*engine.Torrent
	buf := make([]byte, 100)
	for i := 0; i < torrents; i += atATime {
		batch := make([]*engine.Torrent, 0, atATime)
		for _, c := range contents[i:min(i+atATime, torrents)] {
			batch = append(batch, addTorrent(t, e, specOf(c, seeder.Addr())))
		}
		for _, tor := range batch {
			if err := tor.ReadAt(ctx, buf, 0); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "cooling", func() bool {
			for _, tor := range batch {
				if tor.Stats().State != engine.StateCold {
					return false
				}
			}
			return true
		})
		all = append(all, batch...)
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if open, dialing := e.ConnSlots(); open != 0 || dialing != 0 {
		t.Errorf("%d connections, %d dials are left", open, dialing)
	}
	left := (heap() - before) / torrents
	t.Logf("%d bytes of heap for each cold torrent", left)
	if left > mostBytes {
		t.Errorf("a cold torrent takes %d bytes, want at most %d", left, int64(mostBytes))
	}

	// Nothing was lost: the metadata comes back from the Store, and so does the swarm.
	tor := all[torrents/2]
	if info := tor.Info(); info == nil || len(info.Files) != 100 {
		t.Fatal("the metadata of a cold torrent is gone")
	}
	if err := tor.ReadAt(ctx, buf, 20000-100); err != nil {
		t.Errorf("reading a torrent that was cold: %v", err)
	}
	runtime.KeepAlive(all)
}

// TestLookingAtColdTorrentsIsBounded looks at the metadata of torrents that were
// added by their hash alone.
func TestLookingAtColdTorrentsIsBounded(t *testing.T) {
	contents := newSmallContents(t, 3)
	store := newDiskStore(t)
	first := engine.New(engine.Options{Store: store, Listen: "off"})
	for _, c := range contents[:2] {
		if err := addTorrent(t, first, specOf(c)).StoreMetadata(); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	e := openEngine(t, engine.Options{Store: store, Listen: "off"})
	for i, c := range contents {
		tor, err := e.AddStored(&source.Spec{InfoHash: c.InfoHash()})
		if err != nil {
			t.Fatal(err)
		}
		switch info := tor.Info(); {
		case i < 2 && (info == nil || info.Name != c.Info().Name):
			t.Errorf("torrent %d: metadata %v", i, info)
		case i == 2 && info != nil:
			t.Error("metadata that nobody kept")
		}
		if _, err := e.AddStored(&source.Spec{InfoHash: c.InfoHash()}); !errors.Is(err, weir.ErrExists) {
			t.Errorf("added twice: %v", err)
		}
	}
}

// TestLostMetadataIsFetchedAgain: metadata that the Store has lost is fetched from a peer.
func TestLostMetadataIsFetchedAgain(t *testing.T) {
	c := newContent(t, 1<<20, 64<<10)
	s := openSeeder(t, c, swarmtest.SeederOptions{})
	e := openEngine(t, engine.Options{})
	tor, err := e.AddStored(magnetOf(c, s.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	info, err := tor.WaitInfo(testContext(t, 30*time.Second))
	if err != nil || info.Length != 1<<20 {
		t.Fatalf("metadata %v, error %v", info, err)
	}
	want, got := make([]byte, 1000), make([]byte, 1000)
	if err := tor.ReadAt(testContext(t, 30*time.Second), got, 5000); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadAt(want, 5000); err != nil || string(got) != string(want) {
		t.Error("the bytes are not right")
	}
}
