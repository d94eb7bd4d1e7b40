package fs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/fs"
)

// BenchmarkCopySmall copies 5,000 files that are held into memory with cp -r, each
// time from a new mount: what a small file costs in requests of the kernel.
func BenchmarkCopySmall(b *testing.B) {
	const files = 5000
	info := fs.FakeMany("small", files/100, 100, 1600)
	var took, processor time.Duration
	for b.Loop() {
		func() {
			to, err := os.MkdirTemp("/dev/shm", "weir-small-")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(to)
			f := fs.New(fs.Options{Mountpoint: b.TempDir()})
			dir := mountBench(b, f, fs.NewFakeTorrent(info))
			defer f.Close()
			before, start := processorTime(b), time.Now()
			if out, err := exec.Command("cp", "-r", filepath.Join(dir, "small"), to).CombinedOutput(); err != nil {
				b.Fatalf("cp: %v: %s", err, out)
			}
			took += time.Since(start)
			processor += processorTime(b) - before
		}()
	}
	n := time.Duration(b.N * files)
	b.ReportMetric(float64((took/n).Nanoseconds())/1e3, "µs/file")
	b.ReportMetric(float64((processor/n).Nanoseconds())/1e3, "own-µs/file")
}

// processorTime is the processor time of this process.
func processorTime(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
