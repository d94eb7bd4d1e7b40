package daemon_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
)

// BenchmarkStart starts with many torrents in the catalogue, up to the first
// listing, and tells the memory that the heap takes then.
func BenchmarkStart(b *testing.B) {
	const torrents = 10_000
	o := options(b)
	fillCatalogue(b, o.CacheDir, torrents)
	b.ResetTimer()
	for range b.N {
		d := daemon.New(o)
		if err := d.Open(b.Context()); err != nil {
			b.Fatal(err)
		}
		list, err := os.ReadDir(o.Mountpoint)
		if err != nil || len(list) != torrents {
			b.Fatalf("%d names, %v", len(list), err)
		}
		b.StopTimer()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
		begin := time.Now()
		if got := len(d.Torrents()); got != torrents {
			b.Fatalf("%d torrents", got)
		}
		b.ReportMetric(float64(time.Since(begin).Microseconds())/1000, "list-ms")
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// fillCatalogue makes a catalogue as many additions would.
func fillCatalogue(b *testing.B, dir string, torrents int) {
	b.Helper()
	c, err := cache.Open(cache.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	for i := range torrents {
		content, err := swarmtest.NewContent(swarmtest.ContentOptions{
			Name: fmt.Sprintf("torrent %d", i), PieceLength: 256 << 10, Single: true,
			Files: []swarmtest.File{{Path: []string{"x"}, Bytes: []byte{byte(i), byte(i >> 8)}}},
		})
		if err != nil {
			b.Fatal(err)
		}
		ih := content.InfoHash()
		if err := c.PutRecord(engine.MetadataBucket, ih[:], content.InfoBytes()); err != nil {
			b.Fatal(err)
		}
		rec, err := json.Marshal(map[string]any{
			"v": 1, "seq": i + 1, "added": time.Now(), "shown": []byte(content.Info().Name), "name": []byte(content.Info().Name),
			"trackers": [][]string{{"udp://tracker.example:1337/announce"}, {"http://other.example/announce"}},
			"shape":    map[string]any{"size": 2, "length": 2, "piece_length": 256 << 10, "files": 1},
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.PutRecord("torrents", ih[:], rec); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
}
