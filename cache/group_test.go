package cache_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// TestPutsTogether puts pieces of all sizes from many goroutines, each piece from
// two of them at once, and half of them with bytes that another name has too.
func TestPutsTogether(t *testing.T) {
	sizes := []int{1000, 16 * kib, 16*kib + 1, 100 * kib, 128 * kib, 512 * kib, 512*kib + 1, mib + 7}
	const pieces, putters = 96, 24
	dir := t.TempDir()
	var mu sync.Mutex
	told := make(map[weir.PieceID]int)
	c := openCache(t, cache.Options{Dir: dir, LimitBytes: 1 << 30, Changed: func(id weir.PieceID, held bool) {
		mu.Lock()
		defer mu.Unlock()
		told[id]++
		if !held {
			t.Errorf("%s went", id)
		}
	}})
	// Piece 2i of b is piece i of a; the others are of their own.
	same := func(id weir.PieceID) weir.PieceID {
		if id.Torrent == hash('b') && id.Index%2 == 0 {
			return piece('a', id.Index/2)
		}
		return id
	}
	size := func(id weir.PieceID) int { return sizes[same(id).Index%len(sizes)] }
	var all []weir.PieceID
	for i := range pieces {
		all = append(all, piece('a', i), piece('b', i))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range putters {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < 2*len(all); i = int(next.Add(1)) - 1 {
				id := all[i/2]
				origin, n := same(id), size(id)
				if err := c.PutHashed(id, sum(origin, n), blocks(content(origin, n))); err != nil {
					t.Error(err)
					return
				}
				if !c.Has(id) {
					t.Errorf("%s is not held after its put", id)
				}
			}
		})
	}
	wg.Wait()
	check := func() {
		t.Helper()
		for _, id := range all {
			n := size(id)
			p := make([]byte, n)
			if ok, err := c.ReadAt(id, p, 0); !ok || err != nil || string(p) != string(content(same(id), n)) {
				t.Errorf("%s: %v, %v", id, ok, err)
			}
		}
		if s := c.Stat(); s.Pieces != len(all) || s.Shared != pieces/2 || s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
	}
	check()
	for _, id := range all {
		if told[id] != 1 {
			t.Errorf("Changed was called %d times for %s", told[id], id)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, cache.Options{Dir: dir, LimitBytes: 1 << 30})
	check()
}

// TestPutsTogetherUntilClosed closes the cache while many put: each put ends, and
// what it said is so.
func TestPutsTogetherUntilClosed(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, cache.Options{Dir: dir, LimitBytes: 1 << 30})
	const size = 16 * kib
	var stored sync.Map
	var count atomic.Int64
	enough := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := piece(byte('a'+w), i)
				switch err := c.Put(id, blocks(content(id, size))); {
				case errors.Is(err, weir.ErrClosed):
					return
				case err != nil:
					t.Error(err)
					return
				}
				stored.Store(id, true)
				if count.Add(1) == 500 {
					close(enough)
				}
			}
		})
	}
	<-enough
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	c = openCache(t, cache.Options{Dir: dir, LimitBytes: 1 << 30})
	stored.Range(func(key, _ any) bool {
		want(t, c, key.(weir.PieceID), size, 0, size)
		return true
	})
}

// TestPutsTogetherRefuse mixes pieces that can't be stored with some that can.
func TestPutsTogetherRefuse(t *testing.T) {
	c := openCache(t, cache.Options{LimitBytes: 16 * mib})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			id, size, exp := piece('a', i), 16*kib, error(nil)
			if i%4 == 3 {
				size, exp = 20*mib, weir.ErrNoSpace
			}
			if err := c.Put(id, blocks(content(id, size))); !errors.Is(err, exp) {
				t.Errorf("piece %d of %d bytes: %v, want %v", i, size, err, exp)
			}
		})
	}
	wg.Wait()
	for i := range 64 {
		if held := c.Has(piece('a', i)); held && i%4 == 3 {
			t.Errorf("piece %d is held", i)
		}
	}
}

// TestPutsTogetherInASmallBudget churns with groups: they begin and end
// segments, and move pieces, in the middle.
func TestPutsTogetherInASmallBudget(t *testing.T) {
	hot := func(id weir.PieceID) bool { return id.Index%100 == 7 }
	c := openCache(t, cache.Options{LimitBytes: 32 * mib, Protect: protect(hot)})
	const size = 16*kib + 100
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 600 {
				id := piece(byte('k'+w), i)
				if err := c.PutHashed(id, sum(id, size), blocks(content(id, size))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stat(); s.Evictions == 0 || s.Damaged != 0 {
		t.Errorf("%+v", s)
	}
	checkAll(t, c, func(weir.PieceID) int { return size })
	if s := c.Stat(); s.Damaged != 0 {
		t.Errorf("%+v", s)
	}
	for w := range 8 {
		for i := 7; i < 600; i += 100 {
			want(t, c, piece(byte('k'+w), i), size, 0, size)
		}
	}
}

// BenchmarkPutOne is the latency of a put that has no company, without evictions.
func BenchmarkPutOne(b *testing.B) {
	for _, size := range []int{16 * kib, mib} {
		b.Run(fmt.Sprintf("piece=%dKiB", size/kib), func(b *testing.B) {
			c := openCache(b, cache.Options{LimitBytes: 8 << 30})
			data := [][]byte{content(piece('a', 0), size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				if err := c.Put(piece('a', i), data); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
		})
	}
}
