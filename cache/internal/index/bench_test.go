package index

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/weirfs/weir"
)

// BenchmarkChurn records names in segments that come and go, as evictions and shared
// pieces do, and now and then a record, and reports the memory that the process has
// more of than before that no file stands behind: the most, and once what is
// garbage is collected.
func BenchmarkChurn(b *testing.B) {
	const inSegment, segments = 4_000, 10 // names, and how many segments there are at a time
	debug.FreeOSMemory()
	before, most := anonymous(b), int64(0)
	d := openDB(b, b.TempDir())
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; b.Loop(); i++ {
		for at := 0; at < inSegment; {
			names := make([]Name, 1+r.IntN(64))
			for k := range names {
				names[k] = Name{uint64(i), int64(at), weir.PieceID{Torrent: weir.InfoHash{byte(r.Uint32())}, Index: at}}
				at++
			}
			if err := d.SetNames(Fate(r.IntN(2)), names...); err != nil {
				b.Fatal(err)
			}
		}
		if err := d.Put("b", fmt.Append(nil, i%100), make([]byte, r.IntN(200_000))); err != nil {
			b.Fatal(err)
		}
		if i >= segments {
			if err := d.ForgetNames(uint64(i - segments)); err != nil {
				b.Fatal(err)
			}
		}
		most = max(most, anonymous(b)-before)
	}
	debug.FreeOSMemory()
	b.ReportMetric(float64(most)/(1<<20), "most-MiB")
	b.ReportMetric(float64(anonymous(b)-before)/(1<<20), "after-MiB")
	b.ReportMetric(float64(d.Bytes())/(1<<20), "disk-MiB")
}

// anonymous returns RssAnon of this process, in bytes.
func anonymous(tb testing.TB) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return kib << 10
}
