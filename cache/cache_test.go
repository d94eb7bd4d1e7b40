package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

const kib, mib = 1 << 10, 1 << 20

// want checks that c serves n bytes at off of a piece, right, and not too many.
func want(tb testing.TB, c *cache.Cache, id weir.PieceID, size, off, n int) {
	tb.Helper()
	exp := content(id, size)[off : off+n]
	calls := 0
	ok, err := c.View(id, int64(off), n, func(b []byte) {
		calls++
		if !bytes.Equal(b, exp) {
			tb.Errorf("%s: %d bytes at %d are not what was put", id, n, off)
		}
	})
	if err != nil || !ok || calls != 1 {
		tb.Errorf("View(%s, %d, %d) = %v, %v with %d calls", id, off, n, ok, err, calls)
	}
	p := make([]byte, n)
	if ok, err := c.ReadAt(id, p, int64(off)); err != nil || !ok || !bytes.Equal(p, exp) {
		tb.Errorf("ReadAt(%s, %d, %d) = %v, %v", id, off, n, ok, err)
	}
}

func TestViewGivesWhatWasPut(t *testing.T) {
	dir := t.TempDir()
	sizes := []int{1, 59, 60, 61, 16*kib - 1, 16 * kib, 16*kib + 1, 100 * kib, 512*kib - 1, 512 * kib, 512*kib + 1, mib, 2*mib + 12345, 16 * mib}
	check := func(t *testing.T, c *cache.Cache) {
		for i, size := range sizes {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				id := piece('a', i)
				for _, r := range [][2]int{{0, size}, {0, 1}, {size - 1, 1}, {size / 2, (size + 1) / 2}, {size / 3, size / 3}, {0, 0}, {size, 0}} {
					want(t, c, id, size, r[0], r[1])
				}
				for _, edge := range []int{16 * kib, 512 * kib, mib} {
					if edge+100 < size {
						want(t, c, id, size, edge-100, 200)
					}
				}
				for _, r := range [][2]int{{-1, 1}, {0, size + 1}, {size, 1}, {0, -1}} {
					if ok, err := c.View(id, int64(r[0]), r[1], func([]byte) { t.Error("use was called") }); ok || !errors.Is(err, weir.ErrInvalid) {
						t.Errorf("View(%d, %d) = %v, %v, want ErrInvalid", r[0], r[1], ok, err)
					}
				}
			})
		}
	}
	c := openCache(t, cache.Options{Dir: dir})
	for i, size := range sizes {
		put(t, c, piece('a', i), size)
	}
	t.Run("Fresh", func(t *testing.T) { check(t, c) })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("Reopened", func(t *testing.T) { check(t, openCache(t, cache.Options{Dir: dir})) })
}

func TestMisses(t *testing.T) {
	c := openCache(t, cache.Options{})
	put(t, c, piece('a', 70), 100)
	for _, id := range []weir.PieceID{piece('a', 0), piece('a', 69), piece('a', 71), piece('a', 1<<20), piece('a', -1), piece('b', 70)} {
		ok, err := c.View(id, 0, 1, func([]byte) { t.Error("use was called") })
		if ok || err != nil || c.Has(id) {
			t.Errorf("%s: View = %v, %v, Has = %v, want a miss", id, ok, err, c.Has(id))
		}
	}
	if s := c.Stat(); s.Misses != 6 || s.Hits != 0 {
		t.Errorf("counted %d misses and %d hits, want 6 and 0", s.Misses, s.Hits)
	}
}

func TestPutRefuses(t *testing.T) {
	c := openCache(t, cache.Options{})
	for name, b := range map[string][][]byte{"Nothing": nil, "Empty": {{}, {}}} {
		t.Run(name, func(t *testing.T) {
			if err := c.Put(piece('a', 1), b); !errors.Is(err, weir.ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
		})
	}
	if err := c.Put(piece('a', -1), [][]byte{{1}}); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("negative index: got %v, want ErrInvalid", err)
	}
	if c.Stat().Pieces != 0 {
		t.Error("something was stored")
	}
}

func TestPutTwiceKeepsTheFirst(t *testing.T) {
	var changes []bool
	c := openCache(t, cache.Options{Changed: func(_ weir.PieceID, held bool) { changes = append(changes, held) }})
	put(t, c, piece('a', 1), 1000)
	if err := c.Put(piece('a', 1), [][]byte{make([]byte, 2000)}); err != nil {
		t.Fatal(err)
	}
	want(t, c, piece('a', 1), 1000, 0, 1000)
	if !slices.Equal(changes, []bool{true}) {
		t.Errorf("Changed was told %v, want one coming", changes)
	}
}

// TestHeldBytesV2: the gaps behind the files of a v2 torrent are not bytes.
func TestHeldBytesV2(t *testing.T) {
	c := openCache(t, cache.Options{})
	ih := hash('v')
	ti := &weir.TorrentInfo{InfoHash: ih, V2: true, PieceLength: 32 << 10, Length: 3*32<<10 + 10, Files: []weir.FileInfo{
		{Path: []string{"a"}, Offset: 0, Length: 32<<10 + 100},
		{Path: []string{".pad"}, Offset: 32<<10 + 100, Length: 32<<10 - 100, Padding: true},
		{Path: []string{"b"}, Offset: 64 << 10, Length: 32<<10 + 10},
	}}
	for i := range 4 {
		if err := c.Put(weir.PieceID{Torrent: ih, Index: i}, [][]byte{make([]byte, ti.PieceRange(i).Len())}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := c.HeldBytes(ti, weir.Range{End: ti.Length}), int64(32<<10+100+32<<10+10); got != want {
		t.Errorf("HeldBytes of all = %d, want %d", got, want)
	}
	if got := c.HeldBytes(ti, ti.Files[0].Range()); got != 32<<10+100 {
		t.Errorf("HeldBytes of the first file = %d", got)
	}
}

func TestHeldBytes(t *testing.T) {
	c := openCache(t, cache.Options{})
	ti := &weir.TorrentInfo{InfoHash: hash('a'), PieceLength: 1000, Length: 199_500}
	held := make([]bool, ti.NumPieces())
	for _, i := range []int{0, 1, 2, 63, 64, 65, 127, 128, 150, 199} {
		put(t, c, piece('a', i), int(ti.PieceRange(i).Len()))
		held[i] = true
	}
	if got := c.Held(hash('a'), len(held)); !slices.Equal(got, held) {
		t.Errorf("Held = %v", got)
	}
	for _, r := range [][2]int64{{0, 199_500}, {0, 1}, {500, 700}, {999, 1001}, {1500, 63_001}, {63_999, 65_001}, {3000, 63_000}, {199_000, 199_500}, {199_499, 300_000}, {5, 5}, {-10, 10}, {300_000, 400_000}} {
		r := weir.Range{Off: r[0], End: r[1]}
		exp := int64(0)
		for off := max(r.Off, 0); off < min(r.End, ti.Length); off++ {
			if held[off/1000] {
				exp++
			}
		}
		if got := c.HeldBytes(ti, r); got != exp {
			t.Errorf("HeldBytes(%v) = %d, want %d", r, got, exp)
		}
	}
	if got := c.HeldBytes(&weir.TorrentInfo{InfoHash: hash('b'), PieceLength: 1, Length: 1}, weir.Range{End: 1}); got != 0 {
		t.Errorf("unknown torrent holds %d bytes", got)
	}
}

func TestClosed(t *testing.T) {
	c := openCache(t, cache.Options{})
	put(t, c, piece('a', 1), 1000)
	if err := c.PutRecord("b", []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, viewErr := c.View(piece('a', 1), 0, 1, func([]byte) {})
	_, recordErr := c.Record("b", []byte("k"))
	for name, err := range map[string]error{
		"View": viewErr, "Record": recordErr,
		"Put":       c.Put(piece('a', 2), [][]byte{{1}}),
		"PutRecord": c.PutRecord("b", []byte("k"), nil),
		"Evict":     c.Evict(hash('a'), []int{1}),
		"Clear":     c.Clear(),
		"SetLimit":  c.SetLimit(1 << 30),
		"Unpin":     c.Unpin(hash('a'), 0, 1),
	} {
		if !errors.Is(err, weir.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

func TestEvict(t *testing.T) {
	dir := t.TempDir()
	var gone []weir.PieceID
	c := openCache(t, cache.Options{Dir: dir, Changed: func(id weir.PieceID, held bool) {
		if !held {
			gone = append(gone, id)
		}
	}})
	for i := range 8 {
		put(t, c, piece('a', i), mib)
	}
	if err := c.Evict(hash('a'), []int{2, 5, 99}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(gone, []weir.PieceID{piece('a', 2), piece('a', 5)}) {
		t.Errorf("Changed was told of %v", gone)
	}
	put(t, c, piece('a', 5), mib) // comes back, into the same segment
	exp := []bool{true, true, false, true, true, true, true, true}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, cache.Options{Dir: dir})
	if held := c.Held(hash('a'), 8); !slices.Equal(held, exp) {
		t.Errorf("after a restart: %v, want %v", held, exp)
	}
	before := c.Stat().DiskBytes
	if err := c.Evict(hash('a'), []int{0, 1, 3}); err != nil {
		t.Fatal(err)
	}
	if freed := before - c.Stat().DiskBytes; freed < 2900*kib {
		t.Errorf("evicting 3 MiB freed %d bytes", freed)
	}
	for _, i := range []int{4, 5, 6, 7} {
		want(t, c, piece('a', i), mib, 0, mib)
	}
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if s := c.Stat(); s.Pieces != 0 || s.Bytes != 0 || s.Segments != 0 {
		t.Errorf("after Clear: %+v", s)
	}
	put(t, c, piece('a', 1), mib)
	want(t, c, piece('a', 1), mib, 5, 1000)
}

func TestConcurrentUse(t *testing.T) {
	c := openCache(t, cache.Options{LimitBytes: 48 * mib, Protect: protect(func(id weir.PieceID) bool { return id.Index%50 == 7 })})
	const size = 200 * kib
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				id := piece(byte('a'+w%2), i)
				if err := c.Put(id, blocks(content(id, size))); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			for i := range 2000 {
				id := piece(byte('a'+w%2), i*7%200)
				off, n := i*37%(size/2), i*53%(size/2)
				if _, err := c.View(id, int64(off), n, func(b []byte) {
					if !bytes.Equal(b, content(id, size)[off:off+n]) {
						t.Errorf("%s: wrong bytes", id)
					}
				}); err != nil {
					t.Error(err)
					return
				}
				if i%500 == 499 {
					c.Stat()
					if err := c.Evict(id.Torrent, []int{id.Index}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stat(); s.Evictions == 0 || s.Damaged != 0 || s.DiskBytes > s.LimitBytes+64*mib {
		t.Errorf("%+v", s)
	}
}
