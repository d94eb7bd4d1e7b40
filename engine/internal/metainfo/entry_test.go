package metainfo_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/metainfo"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
)

// records is a Store in memory.
type records struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (r *records) PutRecord(bucket string, key, value []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[bucket+string(key)] = append([]byte(nil), value...)
	return nil
}

func (r *records) Record(bucket string, key []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.all[bucket+string(key)]
	if !ok {
		return nil, weir.Errorf(weir.ErrNotFound, "no record")
	}
	return b, nil
}

// newSpec returns a small torrent, with and without its metadata.
func newSpec(tb testing.TB) (whole, bare *source.Spec, info []byte) {
	tb.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "a torrent", PieceLength: 16 << 10, Files: []swarmtest.File{{Path: []string{"a file"}, Length: 40_000, Seed: 1}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	whole, err = source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
	if err != nil {
		tb.Fatal(err)
	}
	return whole, &source.Spec{InfoHash: c.InfoHash()}, c.InfoBytes()
}

// newLoader returns one whose records answer once ready is set.
func newLoader(store metainfo.Store, ready *bool) *metainfo.Loader {
	return metainfo.NewLoader(metainfo.Options{Store: store, Ready: func() bool { return *ready }, Log: slog.New(slog.DiscardHandler)})
}

func isKnown(e *metainfo.Entry) bool {
	select {
	case <-e.Known():
		return true
	default:
		return false
	}
}

// TestEntry follows the metadata of a torrent from the user's file to the records, out
// of memory, and back.
func TestEntry(t *testing.T) {
	whole, bare, _ := newSpec(t)
	store, ready := &records{all: map[string][]byte{}}, true
	l := newLoader(store, &ready)
	defer l.Close()
	ctx, remove := context.WithCancel(t.Context())
	e := l.NewEntry(ctx, bare)
	if e.Load() != nil || isKnown(e) {
		t.Fatal("known before anybody told")
	}
	if err := e.Learn(whole); err != nil {
		t.Fatal(err)
	}
	if !isKnown(e) || e.InMemory() == nil || e.InMemory().DictionaryBytes() == 0 {
		t.Fatal("not known afterwards")
	}
	if !e.Use() {
		t.Fatal("has to be loaded, and is there")
	}
	e.Drop()
	if e.InMemory() == nil {
		t.Error("dropped though it is used")
	}
	e.Release()
	e.Drop()
	if e.InMemory() != nil || !isKnown(e) {
		t.Error("not dropped though it is stored, or forgotten")
	}
	if e.Use() {
		t.Error("used without having been loaded")
	}
	if m := e.Load(); m == nil || m.Info.Name != whole.Info.Name || e.InMemory() != m {
		t.Error("not loaded")
	}

	e.Drop()
	clear(store.all) // the cache has lost it
	if e.Load() != nil || isKnown(e) {
		t.Error("known though the records have lost it")
	}
	if !e.Use() {
		t.Error("nothing is there to be loaded")
	}
	e.Release()

	remove()
	if err := e.Learn(whole); err != nil {
		t.Fatal(err)
	}
	e.Drop()
	if e.InMemory() == nil || len(store.all) > 0 {
		t.Error("a torrent that was removed wrote its metadata")
	}
}

// TestExpect: what a former run left is looked for at once, only on demand, or when the
// records answer.
func TestExpect(t *testing.T) {
	whole, bare, _ := newSpec(t)
	store, ready := &records{all: map[string][]byte{}}, true
	l := newLoader(store, &ready)
	defer l.Close()
	first := l.NewEntry(t.Context(), bare)
	if err := first.Learn(whole); err != nil {
		t.Fatal(err)
	}
	if err := first.Save(); err != nil {
		t.Fatal(err)
	}

	looked := l.NewEntry(t.Context(), bare)
	looked.Expect(false)
	if looked.InMemory() == nil || !isKnown(looked) {
		t.Error("not found in the records")
	}
	told := l.NewEntry(t.Context(), bare)
	told.Expect(true)
	if told.InMemory() != nil || !isKnown(told) || told.Load() == nil {
		t.Error("not left in the records until somebody asked")
	}
	ready = false
	early := l.NewEntry(t.Context(), bare)
	early.Expect(false)
	if early.Load() != nil || isKnown(early) || !early.Use() {
		t.Error("the records were asked before they were ready")
	}
	ready = true
	if early.Load() == nil || !isKnown(early) {
		t.Error("not found once the records were ready")
	}
	other := l.NewEntry(t.Context(), &source.Spec{InfoHash: weir.InfoHash{1}})
	other.Expect(false)
	if isKnown(other) {
		t.Error("another torrent is known")
	}
}

// TestParse: what is not the dictionary of the info hash is refused as corrupt.
func TestParse(t *testing.T) {
	_, bare, info := newSpec(t)
	ready := true
	e := newLoader(&records{}, &ready).NewEntry(t.Context(), bare)
	if m, err := e.Parse(info); err != nil || m.Info.NumPieces() != 3 {
		t.Errorf("the right one: %v", err)
	}
	if _, err := e.Parse(info[1:]); !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("a wrong one: %v", err)
	}
	if b := e.Dictionary(); b != nil {
		t.Error("a dictionary of a torrent without metadata")
	}
}
