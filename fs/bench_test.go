package fs_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/fs"
)

// findAll runs find(1) and returns how many names it printed.
func findAll(tb testing.TB, dir string, args ...string) (names int, took time.Duration) {
	tb.Helper()
	start := time.Now()
	out, err := exec.Command("find", append([]string{dir}, args...)...).Output()
	if err != nil {
		tb.Fatalf("find: %v", err)
	}
	return bytes.Count(out, []byte("\n")), time.Since(start)
}

func TestFindManyFiles(t *testing.T) {
	_, dir := mount(t, fs.Options{}, fs.NewFakeZeros(fs.FakeMany("many", 1000, 100, 4096)))
	for _, when := range []string{"first", "again"} {
		names, took := findAll(t, dir)
		if names != 101002 {
			t.Errorf("%d names", names)
		}
		t.Logf("find, %s: %v", when, took)
	}
	if names, _ := findAll(t, dir, "-type", "f", "-name", "file-000099.bin"); names != 1000 {
		t.Errorf("%d files of one name in 1,000 folders", names)
	}
}

// heapMB returns what is in use after a collection, in MiB.
func heapMB() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// BenchmarkListxattr does what ls -l of coreutils 9.5 and later does to 100,000
// files in one folder: for each a stat and a list of its extended attributes.
func BenchmarkListxattr(b *testing.B) {
	const files = 100000
	_, dir := mount(b, fs.Options{}, fs.NewFakeZeros(fs.FakeMany("many", 1, files, 4096)))
	if _, err := os.ReadDir(filepath.Join(dir, "many")); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<10)
	for b.Loop() {
		var stats, lists time.Duration
		for i := range files {
			path := fmt.Sprintf("%s/many/folder-0000/file-%06d.bin", dir, i)
			start := time.Now()
			if err := syscall.Lstat(path, new(syscall.Stat_t)); err != nil {
				b.Fatal(err)
			}
			between := time.Now()
			if n, err := unix.Llistxattr(path, buf); err != nil || n == 0 {
				b.Fatal(n, err)
			}
			stats += between.Sub(start)
			lists += time.Since(between)
		}
		b.ReportMetric(stats.Seconds(), "stat-s")
		b.ReportMetric(lists.Seconds(), "listxattr-s")
	}
}

// BenchmarkBesideHangingReads looks at files while 100 reads hang, and reports the
// slowest of 100 rounds, and of all.
func BenchmarkBesideHangingReads(b *testing.B) {
	tor := fs.NewFakeTorrent(fs.FakeMany("hang", 1, 100, 2*fs.FakePiece))
	tor.HoldAll(false)
	f, dir := mount(b, fs.Options{}, tor, fs.NewFakeTorrent(film()))
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := os.ReadFile(filepath.Join(dir, "hang/folder-0000", tor.Info().Files[i].Path[1])); err == nil {
				b.Error("a read worked")
			}
		})
	}
	fs.Eventually(b, "all wait", func() bool { return tor.Waits.Load() >= 100 })
	var took []time.Duration
	for b.Loop() {
		for _, call := range []func() error{
			func() error { return syscall.Lstat(filepath.Join(dir, "film/extras/notes.txt"), new(syscall.Stat_t)) },
			func() error { _, err := os.ReadDir(filepath.Join(dir, "hang/folder-0000")); return err },
			func() error { return syscall.Statfs(dir, new(syscall.Statfs_t)) },
			func() error {
				_, err := syscall.Getxattr(filepath.Join(dir, "film/film.mkv"), "user.weir.have", make([]byte, 99))
				return err
			},
		} {
			start := time.Now()
			if err := call(); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "slowest-µs")
	if err := f.Remove(tor.InfoHash()); err != nil {
		b.Fatal(err)
	}
	wg.Wait()
}

// BenchmarkFind lists 100,000 files in 1,000 folders.
func BenchmarkFind(b *testing.B) {
	info := fs.FakeMany("many", 1000, 100, 4096)
	list := func(dir string) float64 {
		start := time.Now()
		if out, err := exec.Command("ls", "-lR", dir).Output(); err != nil || bytes.Count(out, []byte("\n")) < 101000 {
			b.Fatalf("ls: %v", err)
		}
		return time.Since(start).Seconds()
	}
	before := heapMB() // with the metadata
	var first, again time.Duration
	var memory float64
	var lsFirst, lsAgain float64
	for b.Loop() {
		func() {
			f := fs.New(fs.Options{Mountpoint: b.TempDir()})
			dir := mountBench(b, f, fs.NewFakeZeros(info))
			defer f.Close()
			_, took := findAll(b, dir)
			first += took
			_, took = findAll(b, dir)
			again += took
			lsFirst += list(dir)
			lsAgain += list(dir)
			memory += heapMB() - before
		}()
	}
	n := float64(b.N)
	b.ReportMetric(first.Seconds()/n, "find-first-s")
	b.ReportMetric(again.Seconds()/n, "find-again-s")
	b.ReportMetric(lsFirst/n, "ls-lR-first-s")
	b.ReportMetric(lsAgain/n, "ls-lR-again-s")
	b.ReportMetric(memory/n, "MiB")
}

// BenchmarkMillion mounts a torrent of a million files and lists all folders.
func BenchmarkMillion(b *testing.B) {
	empty := heapMB()
	info := fs.FakeMany("million", 1000, 1000, 1000)
	before := heapMB()
	for b.Loop() {
		func() {
			f := fs.New(fs.Options{Mountpoint: b.TempDir()})
			start := time.Now()
			dir := mountBench(b, f, fs.NewFakeZeros(info))
			defer f.Close()
			if _, err := os.ReadDir(filepath.Join(dir, "million")); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(start).Seconds(), "mount+ls-s")
			_, took := findAll(b, dir)
			b.ReportMetric(took.Seconds(), "find-s")
			b.ReportMetric(before-empty, "MiB-metadata")
			b.ReportMetric(heapMB()-before, "MiB-tree")
		}()
	}
}

// BenchmarkTorrents adds 10,000 torrents and lists them.
func BenchmarkTorrents(b *testing.B) {
	torrents := make([]*fs.FakeTorrent, 10000)
	for i := range torrents {
		torrents[i] = fs.NewFakeZeros(fs.FakeInfo(fmt.Sprint("torrent ", i), fs.FakeFile{Path: "f", Length: 1}))
	}
	before := heapMB()
	for b.Loop() {
		func() {
			f := fs.New(fs.Options{Mountpoint: b.TempDir()})
			start := time.Now()
			dir := mountBench(b, f, torrents...)
			defer f.Close()
			defer func() { b.ReportMetric(heapMB()-before, "MiB") }()
			b.ReportMetric(time.Since(start).Seconds(), "add+mount-s")
			start = time.Now()
			out, err := exec.Command("ls", "-l", dir).Output()
			if err != nil || bytes.Count(out, []byte("\n")) != 10001 {
				b.Fatalf("ls: %v", err)
			}
			b.ReportMetric(time.Since(start).Seconds(), "ls-l-s")
		}()
	}
}

func mountBench(b *testing.B, f *fs.FS, torrents ...*fs.FakeTorrent) string {
	b.Helper()
	for _, t := range torrents {
		if _, err := f.Add(fs.FakeName(t), t); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Mount(); err != nil {
		b.Fatal(err)
	}
	return fs.Point(f)
}

// BenchmarkSequential reads 1 GiB of zeros in memory through the mount, with the
// page cache dropped before every round.
func BenchmarkSequential(b *testing.B) {
	const size = 1 << 30
	for _, ahead := range []int{128, 1024} {
		b.Run(fmt.Sprintf("readahead=%d", ahead), func(b *testing.B) {
			_, dir := mount(b, fs.Options{ReadAheadKB: ahead}, fs.NewFakeZeros(fs.FakeInfo("zeros", fs.FakeFile{Path: "f", Length: size})))
			buf := make([]byte, 1<<20)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.SetBytes(size)
			for b.Loop() {
				file, err := os.Open(filepath.Join(dir, "zeros/f"))
				if err != nil {
					b.Fatal(err)
				}
				const dontNeed = 4 // POSIX_FADV_DONTNEED
				if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, file.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
					b.Fatal(errno)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{file}, buf)
				if n != size || err != nil {
					b.Fatalf("%d bytes, %v", n, err)
				}
				file.Close()
			}
			runtime.ReadMemStats(&after)
			reads := float64(b.N) * size / (128 << 10)
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/reads, "allocs/read")
			b.ReportMetric(float64(after.NumGC-before.NumGC)/float64(b.N), "gcs/op")
		})
	}
}

// BenchmarkRandomDirect reads 4 KiB at a time past the page cache.
func BenchmarkRandomDirect(b *testing.B) {
	_, dir := mount(b, fs.Options{}, fs.NewFakeZeros(fs.FakeInfo("zeros", fs.FakeFile{Path: "f", Length: 1 << 30})))
	b.RunParallel(func(pb *testing.PB) {
		file, err := os.OpenFile(filepath.Join(dir, "zeros/f"), os.O_RDONLY|syscall.O_DIRECT, 0)
		if err != nil {
			b.Error(err)
			return
		}
		defer file.Close()
		buf, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			b.Error(err)
			return
		}
		defer syscall.Munmap(buf)
		for i := int64(1); pb.Next(); i++ {
			if _, err := file.ReadAt(buf, i*2654435761%(1<<18)<<12); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
