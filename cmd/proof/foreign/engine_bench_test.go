package foreign_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/proof/foreign"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
)

// BenchmarkEngineAgainstClient reads 512 MiB from its begin to its end, from four
// libtorrent seeders on loopback into memory, with weir's engine and with the
// Client of the library that the engine has its wire format from, in turns. Both
// look 64 MiB ahead. CPU is that of the reading process alone.
func BenchmarkEngineAgainstClient(b *testing.B) {
	const size = 512 << 20
	torrent, args := seeded(b, size, 4<<20, 4)
	var peers []string
	for _, a := range args {
		peers = append(peers, strings.TrimPrefix(a, "--peer="))
	}
	store := newSlab(size, 4<<20) // once: touching new memory is not what is measured
	var ours, theirs foreign.Measured
	runs := 0.0
	for b.Loop() {
		m := measureEngine(b, torrent, peers, store)
		ours.Seconds, ours.CPU = ours.Seconds+m.Seconds, ours.CPU+m.CPU
		m = foreign.MeasureAnacrolix(b, torrent, peers)
		theirs.Seconds, theirs.CPU = theirs.Seconds+m.Seconds, theirs.CPU+m.CPU
		runs++
	}
	b.ReportMetric(runs*size/1e6/ours.Seconds, "engine-MB/s")
	b.ReportMetric(runs*size/1e6/theirs.Seconds, "client-MB/s")
	b.ReportMetric(ours.CPU/(runs*size/1e9), "engine-cpu-s/GB")
	b.ReportMetric(theirs.CPU/(runs*size/1e9), "client-cpu-s/GB")
}

func measureEngine(b *testing.B, torrent string, peers []string, store *slab) foreign.Measured {
	b.Helper()
	spec, err := source.Loader{}.Load(b.Context(), torrent)
	if err != nil {
		b.Fatal(err)
	}
	spec.Trackers = nil
	spec.Peers = peers
	store.clear()
	runtime.GC()
	begin, before := time.Now(), cpuSeconds()
	e := engine.New(engine.Options{Store: store, Listen: "off"})
	t, err := e.Add(spec)
	if err != nil {
		b.Fatal(err)
	}
	w := t.NewWant()
	buf := make([]byte, 128<<10)
	for off := int64(0); off < spec.Info.Length; off += int64(len(buf)) {
		w.Set([]weir.Range{{Off: off, End: min(off+64<<20, spec.Info.Length)}})
		miss := &weir.Miss{Range: weir.Range{Off: off, End: min(off+int64(len(buf)), spec.Info.Length)}}
		for i, end := spec.Info.Pieces(miss.Range); i < end; i++ {
			miss.Pieces = append(miss.Pieces, i)
		}
		if err := t.Fetch(context.Background(), miss, buf[:miss.Range.Len()]); err != nil {
			b.Fatal(err)
		}
	}
	m := foreign.Measured{Seconds: time.Since(begin).Seconds(), CPU: cpuSeconds() - before}
	w.Close()
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	return m
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// slab is an engine.Store of one torrent in memory that was touched before.
type slab struct {
	pieceBytes int
	bytes      []byte

	mu   sync.RWMutex
	held map[int]bool
}

func newSlab(size, pieceBytes int) *slab {
	s := &slab{pieceBytes: pieceBytes, bytes: make([]byte, size)}
	for i := 0; i < size; i += 4096 {
		s.bytes[i] = 1
	}
	s.clear()
	return s
}

func (s *slab) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = map[int]bool{}
}

func (s *slab) Put(id weir.PieceID, blocks [][]byte) error {
	at := s.bytes[id.Index*s.pieceBytes:]
	for _, b := range blocks {
		at = at[copy(at, b):]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[id.Index] = true
	return nil
}

func (s *slab) ReadAt(id weir.PieceID, p []byte, off int64) (bool, error) {
	if !s.Has(id) {
		return false, nil
	}
	copy(p, s.bytes[int64(id.Index*s.pieceBytes)+off:])
	return true, nil
}

func (s *slab) Has(id weir.PieceID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.held[id.Index]
}

func (s *slab) Held(_ weir.InfoHash, n int) []bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	held := make([]bool, n)
	for i := range s.held {
		held[i] = true
	}
	return held
}

func (s *slab) PutRecord(string, []byte, []byte) error { return nil }

func (s *slab) Record(string, []byte) ([]byte, error) { return nil, weir.ErrNotFound }
