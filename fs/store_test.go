package fs

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkStore compares a sequential reader that is served when the kernel asks
// with one that finds what was pushed into the page cache ahead of it, which is the
// best case of pushing: all is held, and the pusher is never late. See
// docs/decisions/0041.
func BenchmarkStore(b *testing.B) {
	const size, chunk, ahead = 256 << 20, 128 << 10, 16
	for _, tt := range []struct {
		name string
		push bool
	}{{"OnDemand", false}, {"Pushed", true}} {
		b.Run(tt.name, func(b *testing.B) {
			f := New(Options{Mountpoint: b.TempDir()})
			if _, err := f.Add("zeros", NewFakeZeros(FakeInfo("zeros", FakeFile{Path: "f", Length: size}))); err != nil {
				b.Fatal(err)
			}
			if err := f.Mount(); err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			file, err := os.Open(filepath.Join(f.mounted.Point(), "zeros/f"))
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			id := makeNode(f.root.named(f.root.top, "zeros").t.prefix, 1)
			buf := make([]byte, chunk)
			var before, after unix.Rusage
			if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(size)
			for b.Loop() {
				const dontNeed = 4 // POSIX_FADV_DONTNEED
				if err := unix.Fadvise(int(file.Fd()), 0, 0, dontNeed); err != nil {
					b.Fatal(err)
				}
				stored := make(chan struct{}, ahead)
				if tt.push {
					go func() {
						defer close(stored)
						for off := uint64(0); off < size; off += chunk {
							if err := f.conn.NotifyStore(id, off, zeros[:chunk]); err != nil {
								b.Error(err)
								return
							}
							stored <- struct{}{}
						}
					}()
				}
				for off := int64(0); off < size; off += chunk {
					if tt.push {
						<-stored
					}
					if _, err := file.ReadAt(buf, off); err != nil && err != io.EOF {
						b.Fatal(err)
					}
				}
			}
			if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
				b.Fatal(err)
			}
			cpu := func(u *unix.Rusage) int64 {
				return syscall.TimevalToNsec(syscall.Timeval(u.Utime)) + syscall.TimevalToNsec(syscall.Timeval(u.Stime))
			}
			b.ReportMetric(float64(cpu(&after)-cpu(&before))/1e6/float64(b.N)/(size>>20), "cpu-ms/MiB")
		})
	}
}
