package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// image is the content of a folder by path.
type image map[string][]byte

func imageOf(tb testing.TB, dir string) image {
	tb.Helper()
	im := image{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "ballast" {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil {
			im[rel], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return im
}

// write makes a folder of an image.
func (im image) write(tb testing.TB, dir string) {
	tb.Helper()
	for path, b := range im {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// torn returns a file of which each page is as it was before or after, and whose length
// lies between.
func torn(r *rand.Rand, before, after []byte) []byte {
	const page = 4096
	size := len(after)
	if d := len(after) - len(before); d != 0 && r.IntN(2) == 0 {
		size = min(len(before), len(after)) + r.IntN(max(d, -d)+1)
	}
	out := make([]byte, size)
	lost := r.Float64() // from nearly none to nearly all
	for off := 0; off < size; off += page {
		from := after
		if r.Float64() < lost {
			from = before
		}
		if off < len(from) {
			copy(out[off:min(off+page, size)], from[off:])
		}
	}
	return out
}

// afterPowerLoss is what may be on disk: of what was written and not synced since the
// image before any subset, by pages, torn or not. writing are the segments that are
// not sealed, of which nothing was ever synced.
func afterPowerLoss(r *rand.Rand, before, after image, writing []string) image {
	out := image{}
	for path, b := range after {
		old, both := before[path]
		name, isSegment := strings.CutPrefix(path, "segments"+string(filepath.Separator))
		switch {
		case isSegment && slices.Contains(writing, name):
			if r.IntN(5) > 0 { // else the file is lost
				out[path] = torn(r, nil, b)
			}
		case both && (!isSegment || len(old) == len(b)): // the catalogue, or holes in what was sealed before
			out[path] = torn(r, old, b)
		default: // sealed, and so synced, since
			out[path] = b
		}
	}
	for path, b := range before {
		if _, there := after[path]; !there && r.IntN(2) == 0 { // its removal is lost
			out[path] = b
		}
	}
	return out
}

// keepSynced puts what was synced of the segments that are written into an image.
func (im image) keepSynced(after image, synced map[string]int64, writing []string) {
	for _, name := range writing {
		path := filepath.Join("segments", name)
		if n := synced[name]; n > 0 {
			im[path] = append(bytes.Clone(after[path][:n]), im[path][min(n, int64(len(im[path]))):]...)
		}
	}
}

// logHook is a log that calls do at a message.
type logHook struct {
	slog.Handler
	message string
	do      func()
}

func (l logHook) Enabled(context.Context, slog.Level) bool { return true }

func (l logHook) Handle(_ context.Context, r slog.Record) error {
	if r.Message == l.message {
		l.do()
	}
	return nil
}

// TestPowerLossSparesPins loses power each time when the file of a segment has gone:
// the pinned pieces that lay in it, and those that share their rows, are there.
func TestPowerLossSparesPins(t *testing.T) {
	size := func(id weir.PieceID) int { return childSize(id.Index) }
	const pieces, pieceLength, drops = 24, 600 * kib, 5
	seeds := uint64(unlessRace(2, 1))
	if *thorough {
		seeds = kills() / 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			var removed func()
			o := cache.Options{Dir: t.TempDir(), LimitBytes: 40 * mib, Log: slog.New(logHook{slog.DiscardHandler, "segment removed", func() { removed() }})}
			c := openCache(t, o)
			var pinned []weir.PieceID
			for i := range pieces {
				id := piece('c', i)
				putHashed(t, c, id, size(id))
				names := []weir.PieceID{id}
				if r.IntN(2) == 0 && c.Adopt(twin(id), sum(id, size(id)), int64(size(id))) {
					names = append(names, twin(id))
				}
				for _, id := range names {
					ti := &weir.TorrentInfo{InfoHash: id.Torrent, PieceLength: pieceLength, Length: pieces * pieceLength}
					if r.IntN(2) > 0 {
						continue
					}
					if err := c.Pin(ti, i, i+1); err != nil {
						t.Fatal(err)
					}
					pinned = append(pinned, id)
				}
			}
			if err := c.Close(); err != nil { // all is on disk
				t.Fatal(err)
			}
			c = openCache(t, o)
			before, lossy := imageOf(t, o.Dir), 0
			removed = func() {
				after, writing := imageOf(t, o.Dir), c.Writing()
				synced, database := c.OnDisk()
				for path := range after {
					if database && !strings.HasPrefix(path, "segments") {
						before[path] = after[path]
					}
				}
				lost := afterPowerLoss(r, before, after, writing)
				for path := range before {
					if _, there := after[path]; !there {
						delete(lost, path) // the file is gone, which is the point
					}
				}
				lost.keepSynced(after, synced, writing)
				o := cache.Options{Dir: t.TempDir(), LimitBytes: 40 * mib}
				lost.write(t, o.Dir)
				again := openCache(t, o)
				verifyAll(t, again, size)
				for _, id := range pinned {
					if !again.Has(id) {
						t.Errorf("%s was pinned and is gone", id)
					}
				}
				if err := again.Close(); err != nil {
					t.Error(err)
				}
				lossy++
			}
			for range drops {
				c.DropOne()
			}
			if lossy < drops {
				t.Errorf("%d segments were dropped, want %d", lossy, drops)
			}
			removed = func() {}
		})
	}
}

// TestOpenSyncsWhatItSeals opens a folder as a kill left it.
func TestOpenSyncsWhatItSeals(t *testing.T) {
	o := cache.Options{Dir: t.TempDir()}
	c := openCache(t, o)
	for i := range 5 {
		put(t, c, piece('a', i), mib)
	}
	killed := imageOf(t, o.Dir)
	o.Dir = t.TempDir()
	killed.write(t, o.Dir)
	c = openCache(t, o)
	c.Settle()
	segments, _ := c.OnDisk()
	if len(segments) == 0 {
		t.Error("nothing was found")
	}
	for name, end := range segments {
		if end == 0 {
			t.Errorf("segment %s is not synced", name)
		}
	}
	for i := range 5 {
		want(t, c, piece('a', i), mib, 0, mib)
	}
}

// TestPowerLoss: whatever becomes of what was not synced, what is served is right,
// whatever lay in a sealed segment is there, and so are all records.
func TestPowerLoss(t *testing.T) {
	size := func(id weir.PieceID) int { return childSize(id.Index) }
	for seed := range kills() / 3 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			o := cache.Options{Dir: t.TempDir(), LimitBytes: 40 * mib}
			c := openCache(t, o)
			next := 0
			puts := func(n int) {
				for range n {
					id := piece('c', next)
					next++
					if err := c.PutHashed(id, sum(id, size(id)), blocks(content(id, size(id)))); err != nil {
						t.Fatal(err)
					}
					if r.IntN(3) == 0 {
						c.Adopt(piece('d', id.Index), sum(id, size(id)), int64(size(id)))
					}
				}
			}
			puts(20 + r.IntN(60))
			records := map[string][]byte{}
			for n := range uint64(4) {
				records[fmt.Sprint(n)] = childRecord(n)
				if err := c.PutRecord("child", fmt.Append(nil, n), childRecord(n)); err != nil {
					t.Fatal(err)
				}
			}
			c.Settle()
			sealed := map[weir.PieceID]bool{}
			for i := range next {
				sealed[piece('c', i)] = c.Synced(piece('c', i))
			}
			writing := c.Writing()
			before := imageOf(t, o.Dir)
			for _, name := range writing { // nothing of them is synced
				delete(before, filepath.Join("segments", name))
			}

			puts(r.IntN(20))
			for i := range next {
				if id := piece('c', i); sealed[id] && c.Synced(id) && r.IntN(4) == 0 {
					if err := c.Evict(id.Torrent, []int{i}); err != nil {
						t.Fatal(err)
					}
				}
			}
			puts(r.IntN(20))
			c.Settle()
			var synced []weir.PieceID
			for i := range next {
				if id := piece('c', i); c.Synced(id) {
					synced = append(synced, id)
				}
			}
			writing, after := c.Writing(), imageOf(t, o.Dir)
			if len(synced) == 0 {
				t.Fatal("nothing is sealed")
			}
			for range 2 {
				o := cache.Options{Dir: t.TempDir(), LimitBytes: 40 * mib}
				afterPowerLoss(r, before, after, writing).write(t, o.Dir)
				again := openCache(t, o)
				verifyAll(t, again, size)
				for _, id := range synced {
					if !again.Has(id) {
						t.Errorf("%s lay in a sealed segment and is gone", id)
					}
				}
				for key, value := range records {
					if got, err := again.Record("child", []byte(key)); err != nil || !bytes.Equal(got, value) {
						t.Errorf("record %s: %d bytes, %v", key, len(got), err)
					}
				}
				fresh := piece('c', next)
				put(t, again, fresh, size(fresh))
				want(t, again, fresh, size(fresh), 0, size(fresh))
				if err := again.Close(); err != nil {
					t.Error(err)
				}
				verifyAll(t, openCache(t, o), size)
			}
		})
	}
}
