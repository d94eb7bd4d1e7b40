package engine_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/source"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// BenchmarkSequential reads a torrent from its begin to its end with a window
// ahead, from the engine into memory.
func BenchmarkSequential(b *testing.B) {
	for _, seeders := range []int{1, 4} {
		b.Run(fmt.Sprintf("seeders=%d", seeders), func(b *testing.B) {
			c := newContent(b, 512<<20, 4<<20)
			var peers []string
			for i := range seeders {
				peers = append(peers, openSeeder(b, c, swarmtest.SeederOptions{Addr: fmt.Sprintf("127.0.0.%d:0", i+2)}).Addr())
			}
			b.SetBytes(c.Info().Length)
			for b.Loop() {
				readAll(b, engine.Options{Store: discardStore(), Listen: "off"}, c, specOf(c, peers...))
			}
		})
	}
}

// BenchmarkWebSeed is the same with a web seed, which sends a file.
func BenchmarkWebSeed(b *testing.B) {
	c := newContent(b, 512<<20, 4<<20)
	f, err := os.Create(filepath.Join(b.TempDir(), "file.bin"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, c.FileReader(0)); err != nil {
		b.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, f.Name()) }))
	defer s.Close()
	b.SetBytes(c.Info().Length)
	for b.Loop() {
		readAll(b, engine.Options{Store: discardStore(), Listen: "off", WebSeeds: true, AllowPrivate: true}, c, webSpec(b, c, s.URL+"/file.bin"))
	}
}

// readAll reads a torrent with an engine of its own.
func readAll(b *testing.B, o engine.Options, c *swarmtest.Content, spec *source.Spec) {
	e := engine.New(o)
	t := addTorrent(b, e, spec)
	w := t.NewWant()
	buf := make([]byte, 128<<10)
	for off := int64(0); off < c.Info().Length; off += int64(len(buf)) {
		w.Set([]weir.Range{{Off: off, End: off + 64<<20}})
		if err := t.ReadAt(context.Background(), buf, off); err != nil {
			b.Fatal(err)
		}
	}
	w.Close()
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
}

func discardStore() *memStore {
	m := newMemStore()
	m.discard = true
	return m
}

// BenchmarkRandom reads 64 KiB at random from four peers at 50 ms and
// 12.5 MB/s, warm connections, cold cache, and reports the median and the 95th
// percentile.
func BenchmarkRandom(b *testing.B) {
	c := newContent(b, 1<<30, 4<<20)
	var peers []string
	for i := range 4 {
		s := openSeeder(b, c, swarmtest.SeederOptions{
			Addr: fmt.Sprintf("127.0.0.%d:0", i+2),
			Link: simnet.Link{RTT: 50 * time.Millisecond, BytesPerSec: 12_500_000, Connect: true},
		})
		peers = append(peers, s.Addr())
	}
	e := openEngine(b, engine.Options{})
	t := addTorrent(b, e, specOf(c, peers...))
	buf := make([]byte, 64<<10)
	if err := t.ReadAt(context.Background(), buf, 0); err != nil {
		b.Fatal(err)
	}
	pieces := rand.New(rand.NewPCG(1, 2)).Perm(c.Info().NumPieces())
	var took []time.Duration
	for b.Loop() {
		off := int64(pieces[len(took)%len(pieces)]) * c.Info().PieceLength
		begin := time.Now()
		if err := t.ReadAt(context.Background(), buf, off+1<<20); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Milliseconds()), "p95-ms")
}
