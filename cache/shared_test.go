package cache_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// sum is the hash of what content gives a piece.
func sum(id weir.PieceID, n int) []byte {
	h := sha1.Sum(content(id, n))
	return h[:]
}

func putHashed(tb testing.TB, c *cache.Cache, id weir.PieceID, n int) {
	tb.Helper()
	if err := c.PutHashed(id, sum(id, n), blocks(content(id, n))); err != nil {
		tb.Fatal(err)
	}
}

// holds reports whether id is held, and fails when it holds anything but the
// content of like.
func holds(tb testing.TB, c *cache.Cache, id, like weir.PieceID, n int) bool {
	tb.Helper()
	ok, err := c.View(id, 0, n, func(b []byte) {
		if !bytes.Equal(b, content(like, n)) {
			tb.Errorf("%s has not the bytes of %s", id, like)
		}
	})
	if err != nil {
		tb.Error(err)
	}
	return ok
}

func TestAdopt(t *testing.T) {
	const size = 700 * kib
	dir := t.TempDir()
	var came []weir.PieceID
	o := cache.Options{Dir: dir, Changed: func(id weir.PieceID, held bool) {
		if held {
			came = append(came, id)
		}
	}}
	c := openCache(t, o)
	for i := range 3 {
		putHashed(t, c, piece('a', i), size)
	}
	put(t, c, piece('a', 3), size) // without a hash
	before := c.Stat()
	came = nil
	long := sha256.Sum256(nil)
	for name, test := range map[string]struct {
		hash []byte
		id   weir.PieceID
		n    int64
	}{
		"NoSuchHash":    {sum(piece('a', 9), size), piece('b', 0), size},
		"OtherLength":   {sum(piece('a', 0), size), piece('b', 0), size - 1},
		"OtherKind":     {long[:], piece('b', 0), size},
		"NoHash":        {nil, piece('b', 0), size},
		"ShortHash":     {sum(piece('a', 0), size)[:19], piece('b', 0), size},
		"PutWithout":    {sum(piece('a', 3), size), piece('b', 0), size},
		"NegativeIndex": {sum(piece('a', 0), size), piece('b', -1), size},
	} {
		if c.Adopt(test.id, test.hash, test.n) {
			t.Errorf("%s: adopted", name)
		}
	}
	if !c.Adopt(piece('a', 1), sum(piece('a', 1), size), size) || len(came) != 0 {
		t.Errorf("Adopt of what is held: Changed was told of %v", came)
	}
	if !c.Adopt(piece('b', 7), sum(piece('a', 1), size), size) {
		t.Fatal("not adopted")
	}
	if len(came) != 1 || came[0] != piece('b', 7) {
		t.Errorf("Changed was told of %v", came)
	}
	check := func() {
		t.Helper()
		for i := range 4 {
			want(t, c, piece('a', i), size, 0, size)
		}
		if !holds(t, c, piece('b', 7), piece('a', 1), size) {
			t.Error("the adopted piece is not held")
		}
		s := c.Stat()
		if s.Pieces != 5 || s.Shared != 1 || s.SharedBytes != size || s.Torrents != 2 || s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
	}
	check()
	if grown := c.Stat().DiskBytes - before.DiskBytes; grown > 64*kib {
		t.Errorf("the disk grew by %d", grown)
	}
	for range 2 { // the second start has the link from the list
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = openCache(t, o)
		check()
	}
	// Adopted in a segment that is sealed, from the hashes in it.
	if !c.Adopt(piece('b', 8), sum(piece('a', 2), size), size) {
		t.Fatal("not adopted after a restart")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openCache(t, o)
	if !holds(t, c, piece('b', 8), piece('a', 2), size) {
		t.Error("a link into a sealed segment is gone after a restart")
	}
	if c.Close(); c.Adopt(piece('b', 9), sum(piece('a', 2), size), size) {
		t.Error("adopted after Close")
	}
}

func TestPutHashedStoresOnce(t *testing.T) {
	const size = mib
	c := openCache(t, cache.Options{})
	if err := c.PutHashed(piece('a', 0), make([]byte, 21), [][]byte{{1}}); !errors.Is(err, weir.ErrInvalid) {
		t.Errorf("a hash of 21 bytes: %v, want ErrInvalid", err)
	}
	for i, none := range [][]byte{nil, {}} {
		if err := c.PutHashed(piece('n', i), none, [][]byte{{1}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, size)
	h := sha1.Sum(zeros)
	for i := range 50 {
		if err := c.PutHashed(piece('a', i), h[:], blocks(zeros)); err != nil {
			t.Fatal(err)
		}
	}
	s := c.Stat()
	if s.Pieces != 50 || s.Shared != 49 || s.DiskBytes > 40*mib {
		t.Errorf("%+v", s)
	}
	// The hash alone is not believed when the bytes are there.
	other := content(piece('x', 0), size)
	if err := c.PutHashed(piece('b', 0), h[:], blocks(other)); err != nil {
		t.Fatal(err)
	}
	if !holds(t, c, piece('b', 0), piece('x', 0), size) || c.Stat().Shared != 49 {
		t.Error("other bytes were taken for the same")
	}
}

// TestEvictShared: a row lives as long as it has a name, whichever that is.
func TestEvictShared(t *testing.T) {
	const size = mib
	first, second := piece('a', 0), piece('b', 0)
	for name, order := range map[string][]weir.PieceID{"WriterFirst": {first, second}, "LinkFirst": {second, first}} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				c := openCache(t, cache.Options{Dir: dir})
				put(t, c, piece('x', 1), size) // so that the segment stays
				putHashed(t, c, first, size)
				if !c.Adopt(second, sum(first, size), size) {
					t.Fatal("not adopted")
				}
				reopen := func() {
					if restart {
						if err := c.Close(); err != nil {
							t.Fatal(err)
						}
						c = openCache(t, cache.Options{Dir: dir})
					}
				}
				reopen()
				if err := c.Evict(order[0].Torrent, []int{0}); err != nil {
					t.Fatal(err)
				}
				reopen()
				if c.Has(order[0]) || !holds(t, c, order[1], first, size) {
					t.Errorf("after the first: %s is held: %v, %s: %v", order[0], c.Has(order[0]), order[1], c.Has(order[1]))
				}
				if !c.Adopt(order[0], sum(first, size), size) || !holds(t, c, order[0], first, size) {
					t.Error("the name that went can't come back")
				}
				if err := errors.Join(c.Evict(order[0].Torrent, []int{0}), c.Evict(order[1].Torrent, []int{0})); err != nil {
					t.Fatal(err)
				}
				if c.Adopt(order[0], sum(first, size), size) {
					t.Error("adopted what is gone")
				}
				reopen()
				if c.Has(first) || c.Has(second) || c.Adopt(second, sum(first, size), size) {
					t.Error("evicted and still here")
				}
				putHashed(t, c, first, size)
				if !c.Adopt(second, sum(first, size), size) || !holds(t, c, second, first, size) {
					t.Error("not adopted after it was put again")
				}
				if s := c.Stat(); s.Damaged != 0 || s.Pieces != 3 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// TestSharedDamage: a damaged row goes with all of its names, and is never
// adopted again.
func TestSharedDamage(t *testing.T) {
	const size = 700 * kib
	dir := t.TempDir()
	c := openCache(t, cache.Options{Dir: dir})
	a, b, d := piece('a', 0), piece('b', 0), piece('d', 0)
	putHashed(t, c, a, size)
	putHashed(t, c, piece('a', 1), size)
	if !c.Adopt(b, sum(a, size), size) {
		t.Fatal("not adopted")
	}
	flip(t, dir, a, size)
	if holds(t, c, b, a, size) || c.Has(a) || c.Has(b) || c.Stat().Damaged != 2 {
		t.Errorf("a is held: %v, b: %v, %+v", c.Has(a), c.Has(b), c.Stat())
	}
	if c.Adopt(d, sum(a, size), size) {
		t.Error("adopted what is damaged")
	}
	// Damaged and not found out yet when the same piece arrives once more.
	flip(t, dir, piece('a', 1), size)
	if err := c.PutHashed(piece('d', 1), sum(piece('a', 1), size), blocks(content(piece('a', 1), size))); err != nil {
		t.Fatal(err)
	}
	if !holds(t, c, piece('d', 1), piece('a', 1), size) {
		t.Error("a good piece was thrown away for a damaged one")
	}
	// A piece that its torrent refuses goes alone.
	putHashed(t, c, a, size)
	if !c.Adopt(b, sum(a, size), size) {
		t.Fatal("not adopted")
	}
	if _, err := c.Verify(context.Background(), func(id weir.PieceID, _ []byte) error {
		if id == b {
			return weir.ErrCorrupt
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if c.Has(b) || !holds(t, c, a, a, size) {
		t.Error("Verify dropped the wrong name")
	}
}

// TestSharedPiecesMoveTogether churns through a cache in which shared pieces are
// in use by one of their names.
func TestSharedPiecesMoveTogether(t *testing.T) {
	const size, pairs = mib, 4
	dir := t.TempDir()
	ti := &weir.TorrentInfo{InfoHash: hash('b'), PieceLength: size, Length: 2 * size}
	o := cache.Options{Dir: dir, LimitBytes: 48 * mib, Protect: protect(func(id weir.PieceID) bool { return id == piece('b', 2) || id == piece('a', 3) })}
	c := openCache(t, o)
	if err := c.Pin(ti, 0, 2); err != nil { // pinned by the name that is a link
		t.Fatal(err)
	}
	for i := range pairs {
		putHashed(t, c, piece('a', i), size)
		if !c.Adopt(piece('b', i), sum(piece('a', i), size), size) {
			t.Fatal("not adopted")
		}
	}
	check := func() {
		t.Helper()
		for i := range pairs {
			if !holds(t, c, piece('a', i), piece('a', i), size) || !holds(t, c, piece('b', i), piece('a', i), size) {
				t.Errorf("pair %d is not whole", i)
			}
		}
		if s := c.Stat(); s.Shared != pairs || s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
	}
	for round := range 3 {
		for i := range 60 {
			put(t, c, piece(byte('m'+round), i), size)
		}
		check()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = openCache(t, o)
		check()
	}
	if c.Stat().Shared != pairs {
		t.Errorf("%+v", c.Stat())
	}
	// The hash has moved along.
	if !c.Adopt(piece('z', 0), sum(piece('a', 0), size), size) || !holds(t, c, piece('z', 0), piece('a', 0), size) {
		t.Error("a piece that moved can't be adopted")
	}
}

func TestConcurrentSharing(t *testing.T) {
	const size, pieces = 100 * kib, 60
	c := openCache(t, cache.Options{LimitBytes: 24 * mib})
	var sums [pieces][]byte
	for i := range sums {
		sums[i] = sum(piece('a', i), size)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 9))
			for n := range 600 {
				i := r.IntN(pieces)
				id := piece(byte('a'+r.IntN(4)), i)
				switch r.IntN(5) {
				case 0:
					if err := c.PutHashed(id, sums[i], blocks(content(piece('a', i), size))); err != nil {
						t.Error(err)
					}
				case 1:
					c.Adopt(id, sums[i], size)
				case 2:
					if err := c.Evict(id.Torrent, []int{i}); err != nil {
						t.Error(err)
					}
				case 3:
					if n%8 == 0 { // so that segments go
						if err := c.Put(piece(byte('p'+w), n), [][]byte{content(piece('p', n), mib)}); err != nil {
							t.Error(err)
						}
					}
				default:
					holds(t, c, id, piece('a', i), size)
				}
			}
		})
	}
	wg.Wait()
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if s := c.Stat(); s.Pieces != 0 || s.Bytes != 0 || s.Shared != 0 || s.SharedBytes != 0 || s.Torrents != 0 {
		t.Errorf("after Clear: %+v", s)
	}
}
