package reader_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/reader"
)

// torrent is content of three files and 16 KiB pieces, with a cache that holds
// some pieces and a swarm that has all.
type torrent struct {
	info *weir.TorrentInfo
	data []byte

	mu      sync.Mutex
	held    map[int]bool
	wants   []weir.Range
	opened  int
	closed  int
	fetched int
	asked   int // of views
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
	t.asked++
	if t.err != nil || !t.held[id.Index] {
		return false, t.err
	}
	r := t.info.PieceRange(id.Index)
	if piece, block, ok := t.info.BlockOf(id.Index); ok {
		r = t.info.PieceRange(piece)
		r.Off += int64(block) * weir.BlockBytes
	}
	use(t.data[r.Off+off : r.Off+off+int64(n)])
	return true, nil
}

func (t *torrent) Has(id weir.PieceID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held[id.Index]
}

func (t *torrent) Fetch(_ context.Context, miss *weir.Miss, p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fetched++
	for _, i := range miss.Pieces {
		part := miss.Range.Intersect(t.info.PieceRange(i))
		copy(p[part.Off-miss.Range.Off:], t.data[part.Off:part.End])
	}
	return t.err
}

func (t *torrent) NewWant() reader.Want {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened++
	return &want{t}
}

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

func openAs(tb testing.TB, t *torrent, file int, access reader.Access) *reader.Handle {
	files := reader.NewTorrent(t, t, reader.NewBudget(0))
	tb.Cleanup(files.Close)
	h, err := files.Open(t.info, file, access)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func open(tb testing.TB, t *torrent, file int) *reader.Handle {
	return openAs(tb, t, file, reader.Full)
}

// read reads as fs does: what is held, or else what the swarm brings.
func read(tb testing.TB, h *reader.Handle, buf []byte, off int64) {
	tb.Helper()
	miss, err := h.View(off, len(buf), func(b []byte) { copy(buf, b) })
	if miss != nil {
		err = h.Fetch(context.Background(), miss, buf)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func TestFetch(t *testing.T) {
	tor := newTorrent()
	for file, f := range tor.info.Files {
		h := open(t, tor, file)
		got := make([]byte, f.Length)
		read(t, h, got, 0)
		if !bytes.Equal(got, tor.data[f.Offset:f.Offset+f.Length]) {
			t.Errorf("file %d: wrong content", file)
		}
	}
}

// TestHeldPartsTravelWithTheMiss reads over pieces of which every other one is held.
func TestHeldPartsTravelWithTheMiss(t *testing.T) {
	tor := newTorrent()
	for i := 0; i < 64; i += 2 {
		tor.held[i] = true
	}
	h := open(t, tor, 1)
	for _, c := range []struct {
		off     int64
		n       int
		missing []int
		held    bool
	}{
		{100, 20_000, []int{1}, true},
		{10_000, 3000, []int{1}, false},
		{7000, 70_000, []int{1, 3, 5}, true},
		{pieceLength - 10_000, 2 * pieceLength, []int{1}, true},
		{80 * pieceLength, 5 * pieceLength, []int{80, 81, 82, 83, 84, 85}, false},
	} {
		asked := tor.asked
		miss, err := h.View(c.off, c.n, func([]byte) { t.Errorf("read at %d: a miss called use", c.off) })
		if err != nil || miss == nil {
			t.Fatalf("read at %d: %v, %v", c.off, miss, err)
		}
		first, end := tor.info.Pieces(miss.Range)
		if tor.asked-asked != end-first {
			t.Errorf("read at %d: the cache was asked %d times for %d pieces", c.off, tor.asked-asked, end-first)
		}
		if !slices.Equal(miss.Pieces, c.missing) || (miss.Held != nil) != c.held {
			t.Errorf("read at %d: %v are missing, %d bytes held; want %v", c.off, miss.Pieces, len(miss.Held), c.missing)
		}
		asked = tor.asked
		got := make([]byte, c.n)
		if err := h.Fetch(context.Background(), miss, got); err != nil {
			t.Fatal(err)
		}
		if tor.asked != asked {
			t.Errorf("read at %d: the cache was asked again", c.off)
		}
		if !bytes.Equal(got, tor.data[10_000+c.off:][:c.n]) {
			t.Errorf("read at %d: wrong content", c.off)
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
		miss, err := h.View(off, n, use)
		if (miss == nil) != want || err != nil {
			t.Fatalf("view %d at %d: %v, %v, want %v", n, off, miss, err, want)
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
		if _, err := h.View(c.off, c.n, func([]byte) {}); !errors.Is(err, weir.ErrInvalid) {
			t.Errorf("view %d at %d: %v", c.n, c.off, err)
		}
	}
}

func TestErrorsComeThrough(t *testing.T) {
	tor := newTorrent()
	h := open(t, tor, 1)
	miss, err := h.View(0, 10, func([]byte) {})
	if miss == nil || err != nil {
		t.Fatal(miss, err)
	}
	tor.err = weir.ErrCorrupt
	if _, err := h.View(0, 10, func([]byte) {}); !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("view: %v", err)
	}
	if err := h.Fetch(context.Background(), miss, make([]byte, 10)); !errors.Is(err, weir.ErrCorrupt) {
		t.Errorf("fetch: %v", err)
	}
}

func TestWindowIsPublishedAndTakenBack(t *testing.T) {
	tor := newTorrent()
	h := open(t, tor, 1)
	buf := make([]byte, 128<<10)
	for off := int64(0); off < 3<<20; off += int64(len(buf)) {
		read(t, h, buf, off)
	}
	if len(tor.wants) != 1 || tor.wants[0].Empty() {
		t.Fatalf("wants %v after a sequential run, want a window", tor.wants)
	}
	w := tor.wants[0]
	if w.Off > 10_000+3<<20 || w.Off%pieceLength != 0 || w.End > tor.info.Length {
		t.Errorf("window %v is not of whole pieces from the reader on", w)
	}
	if n := h.Ahead(); n != w.Len() {
		t.Errorf("%d bytes ahead, the window has %d", n, w.Len())
	}
	read(t, h, buf, 7<<20+512<<10)
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

func TestHeldIsNotWanted(t *testing.T) {
	tor := newTorrent()
	for i := range tor.info.NumPieces() {
		tor.held[i] = true
	}
	h := open(t, tor, 1)
	buf := make([]byte, 128<<10)
	for off := int64(0); off < 8<<20; off += int64(len(buf)) {
		read(t, h, buf, off)
	}
	if tor.opened != 0 {
		t.Error("a window over what is held was published: it would warm the torrent")
	}
}

func TestAccess(t *testing.T) {
	tor := newTorrent()
	if _, err := reader.NewTorrent(tor, tor, reader.NewBudget(0)).Open(tor.info, 1, reader.Refused); !errors.Is(err, weir.ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	if _, err := reader.NewTorrent(tor, tor, reader.NewBudget(0)).Open(tor.info, 3, reader.Full); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("no such file: %v", err)
	}
	closed := reader.NewTorrent(tor, tor, reader.NewBudget(0))
	closed.Close()
	closed.Close()
	if _, err := closed.Open(tor.info, 1, reader.Full); !errors.Is(err, weir.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	tor.info.Files[1].Length, tor.info.Length = 40<<20, 60<<20
	h := openAs(t, tor, 1, reader.HeadAndTail)
	for _, c := range []struct {
		off int64
		ok  bool
	}{{0, true}, {reader.HeadTailBytes - 1, true}, {reader.HeadTailBytes, false}, {20 << 20, false}, {32<<20 - 4096, false}, {32<<20 - 4095, true}, {40<<20 - 4096, true}} {
		_, err := h.View(c.off, 4096, func([]byte) {})
		if c.ok && err != nil || !c.ok && !errors.Is(err, weir.ErrRefused) {
			t.Errorf("view at %d: %v", c.off, err)
		}
	}
	if tor.opened != 0 {
		t.Error("read-ahead for a restricted program")
	}
}

// TestManyHandles reads one file from many goroutines, through handles of their
// own and one that they share; the race detector watches.
func TestManyHandles(t *testing.T) {
	tor := newTorrent()
	files := reader.NewTorrent(tor, tor, reader.NewBudget(1<<20))
	defer files.Close()
	shared, err := files.Open(tor.info, 1, reader.Full)
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for range 32 {
		readers.Go(func() {
			h, err := files.Open(tor.info, 1, reader.Full)
			if err != nil {
				t.Error(err)
				return
			}
			buf := make([]byte, 64<<10)
			for off := int64(0); off < 8<<20; off += int64(len(buf)) {
				read(t, h, buf, off)
				read(t, shared, buf, off)
				if !bytes.Equal(buf, tor.data[10_000+off:10_000+off+int64(len(buf))]) {
					t.Error("wrong bytes")
				}
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	if err := shared.Close(); err != nil {
		t.Error(err)
	}
}

// hits opens a torrent of which everything is held.
func hits(b *testing.B) *reader.Torrent {
	tor := newTorrent()
	files := reader.NewTorrent(heldCache{}, tor, reader.NewBudget(0))
	b.Cleanup(files.Close)
	return files
}

// heldCache holds everything and takes no lock.
type heldCache struct{}

var heldBytes [128 << 10]byte

func (heldCache) View(_ weir.PieceID, _ int64, n int, use func([]byte)) (bool, error) {
	use(heldBytes[:n])
	return true, nil
}
func (heldCache) Has(weir.PieceID) bool { return true }

func benchInfo() *weir.TorrentInfo {
	return &weir.TorrentInfo{PieceLength: 1 << 20, Length: 4 << 30, Files: []weir.FileInfo{{Path: []string{"a"}, Length: 4 << 30}}}
}

func benchHits(b *testing.B, offset func(i int) int64, n int, parallel bool) {
	files, info := hits(b), benchInfo()
	use := func([]byte) {}
	b.ReportAllocs()
	run := func(next func() bool) {
		h, err := files.Open(info, 0, reader.Full)
		if err != nil {
			b.Error(err)
			return
		}
		for i := 0; next(); i++ {
			if miss, err := h.View(offset(i), n, use); miss != nil || err != nil {
				b.Error(miss, err)
			}
		}
		if err := h.Close(); err != nil {
			b.Error(err)
		}
	}
	if parallel {
		b.RunParallel(func(pb *testing.PB) { run(pb.Next) })
	} else {
		run(b.Loop)
	}
}

func inOrder(i int) int64  { return int64(i) * 4096 % (4 << 30) }
func anywhere(i int) int64 { return int64(uint64(i)*0x9e3779b97f4a7c15%(1<<20)) * 4096 }

func BenchmarkHit(b *testing.B) {
	b.Run("Sequential", func(b *testing.B) { benchHits(b, inOrder, 4096, false) })
	b.Run("Random", func(b *testing.B) { benchHits(b, anywhere, 4096, false) })
	b.Run("OverBorders", func(b *testing.B) {
		benchHits(b, func(i int) int64 { return int64(i)%4000*mib + mib - 64*kib }, 128<<10, false)
	})
	b.Run("SequentialHandlesSideBySide", func(b *testing.B) { benchHits(b, inOrder, 4096, true) })
	b.Run("RandomHandlesSideBySide", func(b *testing.B) { benchHits(b, anywhere, 4096, true) })
}

// BenchmarkOpenReadClose is a small file that is held, from open to close.
func BenchmarkOpenReadClose(b *testing.B) {
	files := hits(b)
	info := &weir.TorrentInfo{PieceLength: 1 << 20, Length: 100_000 * 4096}
	for i := range 100_000 {
		info.Files = append(info.Files, weir.FileInfo{Path: []string{"a"}, Offset: int64(i) * 4096, Length: 4096})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h, err := files.Open(info, i%len(info.Files), reader.Full)
		if err != nil {
			b.Fatal(err)
		}
		if miss, err := h.View(0, 4096, func([]byte) {}); miss != nil || err != nil {
			b.Fatal(miss, err)
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestBlocksWithoutTheirPieces: a read is answered from blocks that the cache has without
// their pieces, beside pieces that it has.
func TestBlocksWithoutTheirPieces(t *testing.T) {
	tor := newTorrent()
	tor.info = &weir.TorrentInfo{PieceLength: 4 * weir.BlockBytes, Length: int64(len(tor.data)), V2: true, Single: true,
		Files: []weir.FileInfo{{Path: []string{"a"}, Length: int64(len(tor.data))}}}
	hold := func(piece, block int) {
		id, _ := tor.info.BlockID(piece, block)
		tor.held[id.Index] = true
	}
	hold(2, 1)
	hold(2, 2)
	hold(3, 0)
	tor.held[1] = true
	h := open(t, tor, 0)
	const block, piece = weir.BlockBytes, 4 * weir.BlockBytes
	for _, c := range []struct {
		off    int64
		n      int
		missed []int
	}{
		{2*piece + block, block, nil},
		{2*piece + block + 100, 2*block - 200, nil}, // of both
		{2*piece + block - 1, 100, []int{2}},        // and the one before
		{2*piece + 3*block - 1, 2, []int{2}},
		{3*piece - 1, 2, []int{2}}, // the next piece begins with one
		{3 * piece, block, nil},
		{2*piece - 100, 200, []int{2}}, // the piece before is held, this block is not
	} {
		got := make([]byte, c.n)
		miss, err := h.View(c.off, c.n, func(b []byte) { copy(got, b) })
		if err != nil {
			t.Fatal(err)
		}
		if miss == nil != (c.missed == nil) || miss != nil && !slices.Equal(miss.Pieces, c.missed) {
			t.Errorf("%d bytes at %d: missed %+v, want %v", c.n, c.off, miss, c.missed)
		}
		if miss != nil {
			if err := h.Fetch(t.Context(), miss, got); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, tor.data[c.off:c.off+int64(c.n)]) {
			t.Errorf("%d bytes at %d: wrong content", c.n, c.off)
		}
	}
}
