package source_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/weirfs/weir/engine/source"
)

// largeTorrent makes a torrent of n files in folders of 1,000 and of a quarter as
// many pieces. It is written by hand because the general encoder takes longer than
// what is measured. Shuffled, the files stand in no order.
func largeTorrent(n int, shuffled bool) []byte {
	const length = 4096
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if shuffled {
		r := rand.New(rand.NewPCG(1, 2))
		r.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	var b bytes.Buffer
	b.WriteString("d4:infod5:filesl")
	for _, i := range order {
		fmt.Fprintf(&b, "d6:lengthi%de4:pathl9:folder%03d13:image%03d.jpegee", length, i/1000, i%1000)
	}
	pieces := (n + 3) / 4
	fmt.Fprintf(&b, "e4:name7:dataset12:piece lengthi%de6:pieces%d:", 4*length, 20*pieces)
	b.WriteString(hashes(pieces))
	b.WriteString("ee")
	return b.Bytes()
}

// largeTree makes a v2 torrent of n files of a piece each, in folders of 1,000.
func largeTree(n int) []byte {
	var b bytes.Buffer
	b.WriteString("d4:infod9:file treed")
	for i := range n {
		if i%1000 == 0 {
			fmt.Fprintf(&b, "9:folder%03dd", i/1000)
		}
		fmt.Fprintf(&b, "13:image%03d.jpegd0:d6:lengthi4096e11:pieces root32:%032dee", i%1000, i+1)
		if i%1000 == 999 || i == n-1 {
			b.WriteByte('e')
		}
	}
	b.WriteString("e12:meta versioni2e4:name7:dataset12:piece lengthi16384eee")
	return b.Bytes()
}

// TestParseV2LargeMemory is TestParseTorrentMemory for a v2 torrent, which has an
// entry for each gap and a root for each file, too.
func TestParseV2LargeMemory(t *testing.T) {
	const n = 200_000
	raw := largeTree(n)
	before := heapBytes()
	spec, err := source.ParseTorrent(raw)
	if err != nil {
		t.Fatal(err)
	}
	kept := heapBytes() - before
	runtime.KeepAlive(raw)
	if len(spec.Info.Files) != 2*n-1 || spec.Info.NumPieces() != n || len(spec.PieceHashes) != 32*n {
		t.Fatalf("%d files, %d pieces", len(spec.Info.Files), spec.Info.NumPieces())
	}
	t.Logf("%d bytes of metainfo, %d bytes kept beside it", len(raw), kept)
	if limit := int64(350 * n); kept > limit {
		t.Errorf("keeps %d bytes, more than %d", kept, limit)
	}
	runtime.KeepAlive(spec)
}

// TestParseTorrentMemory bounds memory, not time, which the machine decides.
// BenchmarkParseTorrent measures a million files.
func TestParseTorrentMemory(t *testing.T) {
	const n = 200_000
	raw := largeTorrent(n, true)
	before := heapBytes()
	spec, err := source.ParseTorrent(raw)
	if err != nil {
		t.Fatal(err)
	}
	kept := heapBytes() - before
	runtime.KeepAlive(raw)
	if len(spec.Info.Files) != n || spec.Info.NumPieces() != n/4 {
		t.Fatalf("%d files, %d pieces", len(spec.Info.Files), spec.Info.NumPieces())
	}
	t.Logf("%d bytes of metainfo, %d bytes kept beside it", len(raw), kept)
	if limit := int64(150 * n); kept > limit {
		t.Errorf("keeps %d bytes, more than %d", kept, limit)
	}
	runtime.KeepAlive(spec)
}

// TestLoadMemory: a large file is read once, into memory of its size.
func TestLoadMemory(t *testing.T) {
	const n = 200_000
	raw := largeTorrent(n, false)
	path := filepath.Join(t.TempDir(), "large.torrent")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	spec, err := source.Loader{}.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if len(spec.Info.Files) != n {
		t.Fatalf("%d files", len(spec.Info.Files))
	}
	took, limit := after.TotalAlloc-before.TotalAlloc, uint64(len(raw)*11/10+120*n)
	t.Logf("%d bytes allocated for %d of metainfo", took, len(raw))
	if took > limit {
		t.Errorf("%d bytes allocated for %d of metainfo, want at most %d", took, len(raw), limit)
	}
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkParseTorrent(b *testing.B) {
	// The worst to compare: deep paths that differ at the end, in no order.
	deep := largeTorrent(100_000, true)
	prefix := "l" + strings.Repeat("1:d", 200)
	deep = bytes.ReplaceAll(deep, []byte("4:pathl"), []byte("4:path"+prefix))
	for _, c := range []struct {
		name string
		raw  []byte
	}{
		{"MillionSorted", largeTorrent(1_000_000, false)},
		{"MillionShuffled", largeTorrent(1_000_000, true)},
		{"DeepShuffled", deep},
		{"MillionV2", largeTree(1_000_000)},
		{"Small", largeTorrent(10, false)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.raw)))
			for b.Loop() {
				if _, err := source.ParseTorrent(c.raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
