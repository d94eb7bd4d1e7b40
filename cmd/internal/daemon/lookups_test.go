package daemon_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/reader"
)

// lookups counts how often a cache is asked for pieces. What is put into it waits
// for the gate.
type lookups struct {
	*cache.Cache
	gate chan struct{}

	views, reads, has, adopts atomic.Int32
}

func (l *lookups) View(id weir.PieceID, off int64, n int, use func([]byte)) (bool, error) {
	l.views.Add(1)
	return l.Cache.View(id, off, n, use)
}

func (l *lookups) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	l.reads.Add(1)
	return l.Cache.ReadAt(id, p, off)
}

func (l *lookups) Has(id weir.PieceID) bool {
	l.has.Add(1)
	return l.Cache.Has(id)
}

func (l *lookups) Adopt(id weir.PieceID, hash []byte, n int64) bool {
	l.adopts.Add(1)
	return l.Cache.Adopt(id, hash, n)
}

func (l *lookups) PutHashed(id weir.PieceID, hash []byte, blocks [][]byte) error {
	<-l.gate
	return l.Cache.PutHashed(id, hash, blocks)
}

// counts are lookups since the last call: by the reader, by the engine, and for the
// same content under another name.
type counts struct{ view, engine, adopt int32 }

func (l *lookups) counts() counts {
	return counts{l.views.Swap(0), l.reads.Swap(0) + l.has.Swap(0), l.adopts.Swap(0)}
}

type oneSwarm struct{ *engine.Torrent }

func (s oneSwarm) NewWant() reader.Want { return s.Torrent.NewWant() }

// TestAReadLooksUpEachPieceOnce counts what a read asks the cache: each piece once,
// whether it is held or not. What a missing piece is asked for besides is whether
// its content is held under another name.
func TestAReadLooksUpEachPieceOnce(t *testing.T) {
	c := newContent(t, "lookups")
	kept, err := cache.Open(cache.Options{Dir: t.TempDir(), LimitBytes: 64 << 20, MinFreeBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	l := &lookups{Cache: kept, gate: make(chan struct{})}
	e := engine.New(engine.Options{Store: l, Listen: "off", Peers: []string{openSeeder(t, c).Addr()}})
	defer e.Close()
	spec, err := source.ParseTorrent(c.Torrent(swarmtest.Hints{}))
	if err != nil {
		t.Fatal(err)
	}
	tor, err := e.Add(spec)
	if err != nil {
		t.Fatal(err)
	}
	files := reader.NewTorrent(l, oneSwarm{tor}, reader.NewBudget(0))
	defer files.Close()
	h, err := files.Open(spec.Info, 0, reader.HeadAndTail) // without read-ahead, which asks too
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	read := func(off int64, n int) counts {
		t.Helper()
		l.counts()
		got := make([]byte, n)
		miss, err := h.View(off, n, func(b []byte) { copy(got, b) })
		if miss != nil {
			err = h.Fetch(ctx, miss, got)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, n)
		if _, err := c.ReadAt(want, off); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes at %d: wrong content (%v)", n, off, err)
		}
		return l.counts()
	}
	commit := func(piece int) {
		t.Helper()
		asked := l.has.Load()
		l.gate <- struct{}{}
		eventually(t, "the piece is committed, and the swarm has seen that it was not evicted at once", func() bool {
			return kept.Has(weir.PieceID{Torrent: c.InfoHash(), Index: piece}) && l.has.Load() > asked
		})
	}
	expect := func(what string, got, want counts) {
		t.Helper()
		if got != want {
			t.Errorf("%s: the cache was asked %+v, want %+v", what, got, want)
		}
	}

	expect("a miss", read(100, 4096), counts{view: 1, adopt: 1})
	expect("a miss of what is in memory", read(100, 4096), counts{view: 1})
	commit(0)
	expect("a hit", read(100, 4096), counts{view: 1})
	expect("two pieces, one held", read(pieceBytes-100, 4096), counts{view: 2, adopt: 1})
	commit(1)
	expect("two pieces, both held", read(pieceBytes-100, 4096), counts{view: 2})
	expect("two pieces, none held", read(3*pieceBytes-100, 4096), counts{view: 2, adopt: 2})
	close(l.gate)
}
