// Package storage measures what needs no peers: the cache, and reads of what it holds.
package storage

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
)

// The cases of this file measure package cache by itself, without a mount, in this
// process.

// pieceOf names a piece.
func pieceOf(torrent byte, index int) weir.PieceID {
	return weir.PieceID{Torrent: weir.InfoHash{torrent}, Index: index}
}

const cachePiece = suite.MiB

// Hits reads at random from a cache whose files are in the page cache, first
// alone, then from eight goroutines, alone and beside a writer at full speed.
func Hits() suite.Case {
	return suite.Case{
		Name: "cache/hits", About: "package cache: hits at random from 1 GiB, pieces of 1 MiB (from 4 GiB: go test -bench Hit ./cache)",
		Systems: []string{suite.Weir}, Limit: 90 * time.Second, Once: true,
		Figures: []suite.Figure{
			{Name: "4 KiB", Unit: suite.Seconds, Bar: suite.Bar{Most: 3.2e-6}},
			{Name: "128 KiB", Unit: suite.Seconds, Bar: suite.Bar{Most: 17e-6}},
			{Name: "p99 of 8 readers, quiet", Unit: suite.Seconds},
			{Name: "p99 beside a writer / quiet", Unit: suite.Ratio, Bar: suite.Bar{Most: 1.5}},
			{Name: "open again", Unit: suite.Seconds, Bar: suite.Bar{Most: 0.5}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			total := int64(suite.GiB)
			if r.Options.Quick {
				total = 64 * suite.MiB
			}
			o := cache.Options{
				Dir: filepath.Join(r.Dir, "cache"), LimitBytes: total + suite.GiB,
				Protect: func(int64) func(weir.PieceID) bool {
					return func(id weir.PieceID) bool { return id.Torrent[0] == 'a' }
				},
			}
			c, err := cache.Open(o)
			if err != nil {
				return nil, err
			}
			v, err := measureHits(c, int(total/cachePiece))
			if err := errors.Join(err, c.Close()); err != nil {
				return nil, err
			}
			begin := time.Now()
			if c, err = cache.Open(o); err != nil {
				return nil, err
			}
			v["open again"] = time.Since(begin).Seconds()
			return v, c.Close()
		},
	}
}

func measureHits(c *cache.Cache, pieces int) (suite.Values, error) {
	if err := putPieces(c, 'a', 0, pieces); err != nil {
		return nil, err
	}
	v := suite.Values{}
	for name, n := range map[string]int{"4 KiB": 4 * suite.KiB, "128 KiB": 128 * suite.KiB} {
		const reads = 30_000
		took, err := readHits(c, pieces, n, reads, 1)
		if err != nil {
			return nil, err
		}
		var sum float64
		for _, t := range took {
			sum += t
		}
		v[name] = sum / reads
	}
	quiet, err := readHits(c, pieces, 128*suite.KiB, 60_000, 8)
	if err != nil {
		return nil, err
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := putPieces(c, 'w', i, 1); err != nil {
				stopped <- err
				return
			}
		}
	}()
	busy, err := readHits(c, pieces, 128*suite.KiB, 60_000, 8)
	close(stop)
	if err := errors.Join(err, <-stopped); err != nil {
		return nil, err
	}
	v["p99 of 8 readers, quiet"] = suite.Quantile(quiet, 0.99)
	v["p99 beside a writer / quiet"] = suite.Quantile(busy, 0.99) / suite.Quantile(quiet, 0.99)
	return v, nil
}

// readHits reads n bytes so often, at random, from several goroutines, and
// returns how long each read took, in seconds.
func readHits(c *cache.Cache, pieces, n, reads, readers int) (all []float64, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range readers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), uint64(n)))
			mine := make([]float64, 0, reads/readers)
			p := make([]byte, n)
			use := func(b []byte) { copy(p, b) }
			for range reads / readers {
				id, off := pieceOf('a', rnd.IntN(pieces)), int64(rnd.IntN(cachePiece/n)*n)
				t := time.Now()
				ok, failed := c.View(id, off, n, use)
				mine = append(mine, time.Since(t).Seconds())
				if failed != nil || !ok {
					mu.Lock()
					err = errors.Join(failed, errors.New("a piece is gone"))
					mu.Unlock()
					return
				}
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	return all, err
}

// putPieces puts n pieces of a torrent, from the first one on.
func putPieces(c *cache.Cache, torrent byte, first, n int) error {
	data := suite.Noise(cachePiece, uint64(torrent))
	for i := range n {
		if err := c.Put(pieceOf(torrent, first+i), [][]byte{data}); err != nil {
			return err
		}
	}
	return nil
}

// Puts writes three times what the cache may hold, and the same to plain files
// that are synced as the cache does: one of 1/32 of the limit at a time.
func Puts() suite.Case {
	const plainSystem = "plain"
	return suite.Case{
		Name: "cache/puts", About: "package cache: three times the limit in pieces of 1 MiB; the limit is plain files, synced alike",
		Systems: []string{suite.Weir, plainSystem}, Limit: 90 * time.Second,
		Figures: []suite.Figure{{Name: "rate", Unit: suite.BytesPerSec, Reference: plainSystem, Bar: suite.Bar{LeastOf: 1}}},
		Run: func(r *suite.Run) (suite.Values, error) {
			limit := int64(512 * suite.MiB)
			if r.Options.Quick {
				limit = 32 * suite.MiB
			}
			runtime.GC()
			begin := time.Now()
			if r.System == plainSystem {
				err := writePlain(r.Dir, limit)
				return suite.Values{"rate": float64(3*limit) / time.Since(begin).Seconds()}, err
			}
			c, err := cache.Open(cache.Options{Dir: filepath.Join(r.Dir, "cache"), LimitBytes: limit})
			if err != nil {
				return nil, err
			}
			err = errors.Join(putPieces(c, 'p', 0, int(3*limit/cachePiece)), c.Close())
			return suite.Values{"rate": float64(3*limit) / time.Since(begin).Seconds()}, err
		},
	}
}

// writePlain writes three times limit to files of 1/32 of it, the oldest removed
// when there is more than limit, each synced behind the next one.
func writePlain(dir string, limit int64) error {
	data := suite.Noise(cachePiece, 'p')
	fileBytes := max(limit/32, cachePiece)
	syncing := make(chan error, 1)
	syncing <- nil
	var names []string
	for left := 3 * limit; left > 0; {
		f, err := os.CreateTemp(dir, "plain")
		if err != nil {
			return err
		}
		for n := int64(0); n < fileBytes && left > 0; n += cachePiece {
			if _, err := f.Write(data); err != nil {
				return errors.Join(err, f.Close())
			}
			left -= cachePiece
		}
		if err := <-syncing; err != nil {
			return errors.Join(err, f.Close())
		}
		go func() { syncing <- errors.Join(f.Sync(), f.Close()) }()
		if names = append(names, f.Name()); int64(len(names))*fileBytes > limit {
			os.Remove(names[0])
			names = names[1:]
		}
	}
	return <-syncing
}
