package kernel

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"bazil.org/fuse"
	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/fs/internal/node"
)

// zerosFS is one file of zeros, all of it held.
type zerosFS struct {
	FileSystem
	size uint64
}

const zerosID = node.ID(100 << 24)

var zeros [1 << 20]byte

func (z zerosFS) Getattr(id node.ID) (node.Attr, node.Wait[node.Attr], error) {
	if id == zerosID {
		return node.Attr{ID: id, Mode: 0o444, Links: 1, Size: z.size, ValidFor: time.Hour}, nil, nil
	}
	return node.Attr{ID: id, Mode: os.ModeDir | 0o555, Links: 2, ValidFor: time.Hour}, nil, nil
}

func (z zerosFS) Lookup(_ node.ID, name string) (node.Entry, node.Wait[node.Entry], error) {
	if name != "f" {
		return node.Entry{}, nil, syscall.ENOENT
	}
	a, _, _ := z.Getattr(zerosID)
	return node.Entry{ID: zerosID, Attr: a, ValidFor: time.Hour}, nil, nil
}

func (zerosFS) OpenFile(node.ID, bool, node.Caller) (node.Opened, node.Wait[node.Opened], error) {
	return node.Opened{Handle: 1, KeepCache: true, NoFlush: true}, nil, nil
}

func (z zerosFS) Read(r node.Read, use func(b []byte)) (*node.PendingRead, error) {
	use(zeros[:max(0, min(int64(r.N), int64(z.size)-r.Off))])
	return nil, nil
}

func (zerosFS) Release(node.Handle)          {}
func (zerosFS) Writable() bool               { return false }
func (zerosFS) HasName(node.ID, string) bool { return true }

// BenchmarkStore reads 256 MiB that the kernel asks for, and that it is given unasked
// (FUSE_NOTIFY_STORE) by somebody who stays a little ahead of the reader: the
// best case of pushing: all is held, and the pusher is never late. See
// docs/decisions/0041.
func BenchmarkStore(b *testing.B) {
	const size, chunk, ahead = 256 << 20, 128 << 10, 16
	for _, tt := range []struct {
		name string
		push bool
	}{{"OnDemand", false}, {"Pushed", true}} {
		b.Run(tt.name, func(b *testing.B) {
			dir := b.TempDir()
			s := New(Options{Source: "weir", ReadAheadKB: 1024, Deadline: time.Minute, Log: slog.New(slog.DiscardHandler)})
			if err := s.Mount(dir, zerosFS{size: size}); err != nil {
				b.Fatal(err)
			}
			defer func() {
				if out, err := exec.Command("fusermount3", "-u", dir).CombinedOutput(); err != nil {
					b.Errorf("%v, %s", err, out)
				}
				<-s.Gone()
				s.Stop()
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			}()
			file, err := os.Open(filepath.Join(dir, "f"))
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
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
							if err := s.conn.NotifyStore(fuse.NodeID(zerosID), off, zeros[:chunk]); err != nil {
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
