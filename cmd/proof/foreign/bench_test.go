package foreign_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/cmd/proof/foreign"
)

// seeded writes a file of size bytes and seeds it with n libtorrent seeders.
func seeded(b *testing.B, size, pieceBytes, n int) (torrent string, peers []string) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "big.bin")
	foreign.Fill(b, file, size)
	torrent = foreign.MkTorrent(b, foreign.Making{Path: file, Announce: nowhere, PieceBytes: pieceBytes})
	for range n {
		s := foreign.Libtorrent(b, foreign.Job{Source: torrent, Dir: filepath.Dir(file), IP: foreign.NextIP()})
		s.WaitComplete(b)
		peers = append(peers, "--peer="+s.Addr)
	}
	return torrent, peers
}

// BenchmarkFirstRead is the time from the start of the process to the first
// 4 KiB, from a .torrent with pieces of 4 MiB and one libtorrent seeder on
// loopback, cold.
func BenchmarkFirstRead(b *testing.B) {
	torrent, peers := seeded(b, 64<<20, 4<<20, 1)
	for b.Loop() {
		begin := time.Now()
		m := start(b, append(peers, torrent)...)
		f, err := os.Open(m.Path("big.bin", "big.bin"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.ReadAt(make([]byte, 4<<10), 0); err != nil {
			b.Fatal(err)
		}
		took := time.Since(begin)
		f.Close()
		m.Unmount(b)
		b.ReportMetric(float64(took.Microseconds())/1000, "last-ms")
		b.ReportMetric(float64(m.Ready.Microseconds())/1000, "last-mounted-ms")
	}
}

// BenchmarkSequential reads 1 GiB once, cold, from libtorrent seeders on
// loopback through the mount, committed to the cache.
func BenchmarkSequential(b *testing.B) {
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprintf("seeders=%d", n), func(b *testing.B) {
			torrent, peers := seeded(b, 1<<30, 4<<20, n)
			b.SetBytes(1 << 30)
			for b.Loop() {
				b.StopTimer()
				m := start(b, append(peers, torrent)...)
				f, err := os.Open(m.Path("big.bin", "big.bin"))
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, make([]byte, 1<<20)); n != 1<<30 || err != nil {
					b.Fatal(n, err)
				}
				b.StopTimer()
				f.Close()
				m.Unmount(b)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkSecondRead reads 1 GiB from the cache of a mount that has read it
// before, the kernel's pages dropped by a new mount.
func BenchmarkSecondRead(b *testing.B) {
	torrent, peers := seeded(b, 1<<30, 4<<20, 1)
	dir := b.TempDir()
	read := func(args ...string) {
		b.StopTimer()
		m := weirtest.Start(b, filepath.Join(dir, "mnt"), append([]string{"--cache=" + filepath.Join(dir, "cache"), "--listen=off"}, args...)...)
		f, err := os.Open(m.Path("big.bin", "big.bin"))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, make([]byte, 1<<20)); n != 1<<30 || err != nil {
			b.Fatal(n, err)
		}
		b.StopTimer()
		f.Close()
		m.Unmount(b)
		b.StartTimer()
	}
	read(append(peers, torrent)...)
	b.SetBytes(1 << 30)
	b.ResetTimer()
	for range b.N {
		read(torrent)
	}
}
