package reader_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// torrent is content of three files and 16 KiB pieces, with a cache that holds
// some pieces and a swarm that has all.
type torrent struct {
	info *weir.TorrentInfo
	data []byte

	mu      sync.Mutex
	held    map[int]bool
	wants   []weir.Range
	closed  int
	fetched int
	err     error
}

const pieceLength = 16 << 10

func newTorrent() *torrent {
	files := []weir.FileInfo{
		{Path: []string{"a"}, Offset: 0, Length: 10_000},
		{Path: []string{"b"}, Offset: 10_000, Length: 8 << 20},
		{Path: []string{"c"}, Offset: 10_000 + 8<<20, Length: 5},
	}
	t := &torrent{held: map[int]bool{}}
	t.info = &weir.TorrentInfo{PieceLength: pieceLength, Length: 10_005 + 8<<20, Files: files}
	t.data = make([]byte, t.info.Length)
	for i := range t.data {
		t.data[i] = byte(i * 7 / 3)
	}
	return t
}

func (t *torrent) View(id weir.PieceID, off int64, n int, use func([]byte)) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || !t.held[id.Index] {
		return false, t.err
	}
	r := t.info.PieceRange(id.Index)
	use(t.data[r.Off+off : r.Off+off+int64(n)])
	return true, nil
}

func (t *torrent) ReadAt(_ context.Context, p []byte, off int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fetched++
	copy(p, t.data[off:])
	return t.err
}

func (t *torrent) NewWant() reader.Want { return &want{t} }

type want struct{ t *torrent }

func (w *want) Set(r []weir.Range) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	w.t.wants = append([]weir.Range(nil), r...)
}

func (w *want) Close() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	w.t.wants = nil
	w.t.closed++
}

func open(tb testing.TB, t *torrent, file int) *reader.Handle {
	h := reader.Open(reader.Options{Info: t.info, File: file, Cache: t, Swarm: t})
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func TestReadAt(t *testing.T) {
	tor := newTorrent()
	for file, f := range tor.info.Files {
		h := open(t, tor, file)
		got := make([]byte, f.Length)
		if n, err := h.ReadAt(context.Background(), got, 0); n != len(got) || err != nil {
			t.Fatalf("file %d: %d, %v", file, n, err)
		}
		if !bytes.Equal(got, tor.data[f.Offset:f.Offset+f.Length]) {
			t.Errorf("file %d: wrong content", file)
		}
	}
}

func TestView(t *testing.T) {
	tor := newTorrent()
	h := open(t, tor, 1)
	var got []byte
	calls := 0
	use := func(b []byte) { calls++; got = append(got[:0], b...) }
	check := func(off int64, n int, want bool) {
		t.Helper()
		calls = 0
		ok, err := h.View(off, n, use)
		if ok != want || err != nil {
			t.Fatalf("view %d at %d: %v, %v, want %v", n, off, ok, err, want)
		}
		switch {
		case want && (calls != 1 || !bytes.Equal(got, tor.data[10_000+off:10_000+off+int64(n)])):
			t.Errorf("view %d at %d: %d calls, or wrong bytes", n, off, calls)
		case !want && calls != 0:
			t.Errorf("view %d at %d: a miss called use", n, off)
		}
	}
	check(0, 4096, false)
	tor.held[0], tor.held[1] = true, true
	check(0, 4096, true)
	check(0, 20_000, true) // both pieces
	check(0, 30_000, false)
	tor.held[2], tor.held[3] = true, true
	check(100, 50_000, true)
}

func TestRangeOutsideOfTheFile(t *testing.T) {
	h := open(t, newTorrent(), 0)
	for _, c := range []struct {
		off int64
		n   int
	}{{-1, 1}, {0, 10_001}, {10_000, 1}, {1 << 62, 1}, {5, 1 << 30}} {
		if _, err := h.ReadAt(context.Background(), make([]byte, min(c.n, 20_000)), c.off); c.n <= 20_000 && !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("read %d at %d: %v", c.n, c.off, err)
		}
		if _, err := h.View(c.off, c.n, func([]byte) {}); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("view %d at %d: %v", c.n, c.off, err)
		}
	}
}

func TestErrorsComeThrough(t *testing.T) {
	tor := newTorrent()
	h := open(t, tor, 1)
	tor.err = weir.ErrCorrupt
	if _, err := h.View(0, 10, func([]byte) {}); !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("view: %v", err)
	}
	if n, err := h.ReadAt(context.Background(), make([]byte, 10), 0); n != 0 || !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("read: %d, %v", n, err)
	}
}

func TestWindowIsPublishedAndTakenBack(t *testing.T) {
	tor := newTorrent()
	h := open(t, tor, 1)
	buf := make([]byte, 128<<10)
	for off := int64(0); off < 2<<20; off += int64(len(buf)) {
		if _, err := h.ReadAt(context.Background(), buf, off); err != nil {
			t.Fatal(err)
		}
	}
	if len(tor.wants) != 1 || tor.wants[0].Empty() {
		t.Fatalf("wants %v after a sequential run, want a window", tor.wants)
	}
	w := tor.wants[0]
	if w.Off > 10_000+2<<20 || w.Off%pieceLength != 0 || w.End > tor.info.Length {
		t.Errorf("window %v is not of whole pieces from the reader on", w)
	}
	if _, err := h.ReadAt(context.Background(), buf, 7<<20); err != nil {
		t.Fatal(err)
	}
	if len(tor.wants) != 0 {
		t.Errorf("wants %v after a seek", tor.wants)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if tor.closed != 1 {
		t.Errorf("the window was closed %d times", tor.closed)
	}
}

func BenchmarkView(b *testing.B) {
	tor := newTorrent()
	for i := range tor.info.NumPieces() {
		tor.held[i] = true
	}
	h := open(b, tor, 1)
	use := func([]byte) {}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if ok, err := h.View(int64(i%2000)*4096, 2048, use); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
