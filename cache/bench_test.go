package cache_test

import (
	"crypto/sha1"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
)

// benchHash is told for piece i, as the engine tells the hash of every piece. The
// bytes are all the same, to make them quickly; nothing is shared.
func benchHash(i int) []byte {
	h := sha1.Sum(binary.LittleEndian.AppendUint64(nil, uint64(i)))
	return h[:]
}

// putMany fills a cache with total bytes in pieces of size bytes, put by as many
// goroutines as the engine would use.
func putMany(b *testing.B, c *cache.Cache, total int64, size int) int {
	b.Helper()
	return putFrom(b, c, total, size, putters(size))
}

// putters is how many pieces of size bytes the engine puts at a time.
func putters(size int) int { return 16 / min(max(size/(128*kib), 1), 8) }

func putFrom(b *testing.B, c *cache.Cache, total int64, size, goroutines int) int {
	b.Helper()
	data := content(piece('a', 0), size)
	n := int(total / int64(size))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := c.PutHashed(piece('a', i), benchHash(i), [][]byte{data}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return n
}

// BenchmarkAdopt looks for hashes in 1 GiB of pieces of 16 KiB, in some 32
// segments: what the engine does before it asks peers for a piece.
func BenchmarkAdopt(b *testing.B) {
	c := openCache(b, cache.Options{LimitBytes: 2 << 30})
	n := putMany(b, c, 1<<30, 16*kib)
	b.Run("NotHere", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if c.Adopt(piece('b', i), benchHash(n+i), 16*kib) {
				b.Fatal("adopted")
			}
		}
	})
	b.Run("Here", func(b *testing.B) {
		r := rand.New(rand.NewPCG(1, 2))
		for i := 0; b.Loop(); i++ {
			if !c.Adopt(weir.PieceID{Torrent: weir.InfoHash{byte(i >> 20), 1}, Index: i % (1 << 20)}, benchHash(r.IntN(n)), 16*kib) {
				b.Fatal("not adopted")
			}
		}
	})
}

// BenchmarkHit reads at random from 4 GiB, the page cache warm.
func BenchmarkHit(b *testing.B) {
	for _, size := range []int{16 * kib, mib, 4 * mib, 64 * mib} {
		b.Run(fmt.Sprintf("piece=%dKiB", size/kib), func(b *testing.B) {
			c := openCache(b, cache.Options{LimitBytes: 6 << 30})
			n := putMany(b, c, *hitGiB<<30, size)
			for _, length := range []int{4 * kib, 128 * kib} {
				if length > size {
					continue
				}
				b.Run(fmt.Sprintf("read=%dKiB", length/kib), func(b *testing.B) {
					p := make([]byte, length)
					use := func(v []byte) { copy(p, v) }
					r := rand.New(rand.NewPCG(1, 2))
					b.SetBytes(int64(length))
					b.ReportAllocs()
					_, cpu := measure(func() {
						for b.Loop() {
							off := int64(r.IntN((size-length)/(4*kib)+1)) * (4 * kib)
							if ok, err := c.View(piece('a', r.IntN(n)), off, length, use); !ok || err != nil {
								b.Fatal(ok, err)
							}
						}
					})
					b.ReportMetric(cpu*1e9/float64(b.N), "cpu-ns/op")
				})
			}
		})
	}
}

// BenchmarkHitsBesideWriter reads from 8 goroutines, first alone, then beside a
// writer that evicts, and reports the 99th percentiles.
func BenchmarkHitsBesideWriter(b *testing.B) {
	const size = mib
	hot := func(id weir.PieceID) bool { return id.Torrent == hash('a') }
	c := openCache(b, cache.Options{LimitBytes: 2 << 30, Protect: protect(hot)})
	n := putMany(b, c, 512*mib, size)
	p99 := func(d time.Duration) time.Duration {
		var mu sync.Mutex
		var all []time.Duration
		var wg sync.WaitGroup
		end := time.Now().Add(d)
		for w := range 8 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 3))
				var mine []time.Duration
				p := make([]byte, 128*kib)
				use := func(v []byte) { copy(p, v) }
				for start := time.Now(); start.Before(end); {
					if ok, err := c.View(piece('a', r.IntN(n)), int64(r.IntN(8))*128*kib, 128*kib, use); !ok || err != nil {
						b.Error("miss", err)
						return
					}
					now := time.Now()
					mine = append(mine, now.Sub(start))
					start = now
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, mine...)
			})
		}
		wg.Wait()
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	for b.Loop() {
		quiet := p99(3 * time.Second)
		stop, stopped := make(chan struct{}), make(chan int)
		go func() {
			data := content(piece('w', 0), size)
			for i := 0; ; i++ {
				select {
				case <-stop:
					stopped <- i
					return
				default:
					if err := c.Put(piece('w', i), [][]byte{data}); err != nil {
						b.Error(err)
					}
				}
			}
		}()
		busy := p99(6 * time.Second)
		close(stop)
		b.ReportMetric(float64(<-stopped)/6, "written-MiB/s")
		b.ReportMetric(float64(quiet.Microseconds()), "quiet-p99-µs")
		b.ReportMetric(float64(busy.Microseconds()), "busy-p99-µs")
		b.ReportMetric(float64(busy)/float64(quiet), "busy/quiet")
	}
}

// BenchmarkPut writes three times the limit, and the same bytes to plain files
// with the same policy: files as long as a segment, synced when they are full, one
// of them in the background, the oldest removed at the limit. One goroutine puts, or
// as many as the engine uses for pieces of that size. Processor time is without what
// the kernel does in the background.
func BenchmarkPut(b *testing.B) {
	const limit = 512 << 20
	for _, bench := range []struct{ size, goroutines int }{
		{16 * kib, 1}, {16 * kib, putters(16 * kib)},
		{256 * kib, putters(256 * kib)},
		{mib, 1}, {mib, putters(mib)},
		{4 * mib, putters(4 * mib)}, {64 * mib, putters(64 * mib)},
	} {
		b.Run(fmt.Sprintf("piece=%dKiB/goroutines=%d", bench.size/kib, bench.goroutines), func(b *testing.B) {
			b.ReportAllocs()
			var took, cpu, plain, plainCPU []float64
			for b.Loop() {
				dir := b.TempDir()
				wall, used := measure(func() { plainFiles(b, dir, limit, bench.size) })
				plain, plainCPU = append(plain, wall), append(plainCPU, used)
				cacheDir := filepath.Join(dir, "cache")
				c := openCache(b, cache.Options{Dir: cacheDir, LimitBytes: limit, Log: slog.New(slog.DiscardHandler)})
				stop := sampleDisk(cacheDir)
				wall, used = measure(func() {
					putFrom(b, c, 3*limit, bench.size, bench.goroutines)
					if err := c.Close(); err != nil {
						b.Fatal(err)
					}
				})
				took, cpu = append(took, wall), append(cpu, used)
				b.ReportMetric(float64(stop())/limit, "disk/limit")
				if err := os.RemoveAll(cacheDir); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(3*limit/median(took)/1e6, "MB/s")
			b.ReportMetric(median(plain)/median(took), "of-plain")
			b.ReportMetric(median(cpu), "cpu-s")
			b.ReportMetric(median(cpu)/median(plainCPU), "cpu-of-plain")
		})
	}
}

// measure returns how long f takes, and how much processor time.
func measure(f func()) (wall, cpu float64) {
	used := func() float64 {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
	runtime.GC()
	start, before := time.Now(), used()
	f()
	return time.Since(start).Seconds(), used() - before
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func plainFiles(b *testing.B, dir string, limit int64, size int) {
	data := content(piece('a', 0), size)
	fileBytes := max(limit/32, int64(size))
	syncing := make(chan error, 1)
	syncing <- nil
	var names []string
	for left := 3 * limit; left > 0; {
		f, err := os.CreateTemp(dir, "plain")
		if err != nil {
			b.Fatal(err)
		}
		for n := int64(0); n < fileBytes && left > 0; n += int64(size) {
			if _, err := f.Write(data); err != nil {
				b.Fatal(err)
			}
			left -= int64(size)
		}
		if err := <-syncing; err != nil {
			b.Fatal(err)
		}
		go func() { defer f.Close(); syncing <- f.Sync() }()
		if names = append(names, f.Name()); int64(len(names))*fileBytes > limit {
			_ = os.Remove(names[0])
			names = names[1:]
		}
	}
	if err := <-syncing; err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		_ = os.Remove(name)
	}
}

// hitGiB is for machines with less memory.
var hitGiB = flag.Int64("hit-gib", 4, "what BenchmarkHit puts into the cache")

// openGiB is for machines with less room.
var openGiB = flag.Int64("open-gib", 10, "what BenchmarkOpen puts into the cache")

// BenchmarkOpen opens a cache with 10 GiB inside. The memory is what the process
// has more of after Open that no file stands behind.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{16 * kib, mib, 16 * mib} {
		b.Run(fmt.Sprintf("piece=%dKiB", size/kib), func(b *testing.B) {
			dir := b.TempDir()
			limit := *openGiB << 30 * 12 / 10
			c := openCache(b, cache.Options{Dir: dir, LimitBytes: limit})
			n := putMany(b, c, *openGiB<<30, size)
			if err := c.Close(); err != nil {
				b.Fatal(err)
			}
			c = nil
			runtime.GC()
			before := anonymousMemory(b)
			best := time.Hour
			for b.Loop() {
				var c *cache.Cache
				wall, cpu := measure(func() {
					var err error
					if c, err = cache.Open(cache.Options{Dir: dir, LimitBytes: limit, MinFreeBytes: -1}); err != nil {
						b.Fatal(err)
					}
				})
				best = min(best, time.Duration(wall*1e9))
				b.ReportMetric(cpu*1000, "cpu-ms")
				b.ReportMetric(best.Seconds()*1000, "open-ms")
				b.ReportMetric(float64(anonymousMemory(b)-before)/mib, "anon-MiB")
				if held := c.Stat().Pieces; held != n {
					b.Errorf("%d pieces of %d", held, n)
				}
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// anonymousMemory returns RssAnon of this process, in bytes.
func anonymousMemory(b *testing.B) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kb * kib
}
