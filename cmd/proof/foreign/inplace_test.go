package foreign_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/cmd/proof/foreign"
)

// TestServedInPlace: libtorrent gets a folder of weir publish --seed, which serves it from
// where it lies.
func TestServedInPlace(t *testing.T) {
	for _, version := range []string{"hybrid", "v2", "v1"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			folder := foreign.Folder(t, "all kinds of names ☂")
			torrent := filepath.Join(t.TempDir(), "x.torrent")
			job := foreign.Job{Source: torrent, Dir: t.TempDir(), IP: foreign.NextIP()}
			seeder := weirtest.StartSeeder(t, "publish", "--"+version, "--seed", "--out="+torrent, folder)
			job.Source = foreign.Magnet(t, torrent, seeder.Addr)
			foreign.Libtorrent(t, job).WaitComplete(t)
			awaitSame(t, filepath.Join(job.Dir, filepath.Base(folder)), folder)
			seeder.Stop(t)
		})
	}
}

// awaitSame waits until a client that is complete has written all that it has verified.
func awaitSame(tb testing.TB, got, want string) {
	tb.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(time.Minute); ; {
		wrong := differ(tb, got, want)
		if wrong == "" {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			tb.Fatal(wrong)
		}
	}
}

// BenchmarkServedInPlace is how fast a libtorrent leech downloads 1 GiB in order on
// loopback: from weir publish --seed, which hashes each piece before its first upload, and
// from libtorrent, which seeds the same file, in turns.
func BenchmarkServedInPlace(b *testing.B) {
	const size = 1 << 30
	file := filepath.Join(b.TempDir(), "big.bin")
	foreign.Fill(b, file, size)
	var ours, theirs time.Duration
	runs := 0.0
	for b.Loop() {
		torrent := filepath.Join(b.TempDir(), "x.torrent")
		s := weirtest.StartSeeder(b, "publish", "--v1", "--seed", "--out="+torrent, file)
		ours += leechTime(b, torrent, s.Addr)
		s.Stop(b)
		p := foreign.Libtorrent(b, foreign.Job{Source: torrent, Dir: filepath.Dir(file), IP: foreign.NextIP()})
		p.WaitComplete(b)
		theirs += leechTime(b, torrent, p.Addr)
		p.Stop()
		runs++
	}
	b.ReportMetric(runs*size/1e6/ours.Seconds(), "weir-MB/s")
	b.ReportMetric(runs*size/1e6/theirs.Seconds(), "libtorrent-MB/s")
}

// leechTime returns how long a libtorrent needs for everything.
func leechTime(b *testing.B, torrent, addr string) time.Duration {
	b.Helper()
	job := foreign.Job{Source: foreign.Magnet(b, torrent, addr), Dir: b.TempDir(), IP: foreign.NextIP(), Sequential: true}
	begin := time.Now()
	leech := foreign.Libtorrent(b, job)
	leech.WaitComplete(b)
	took := time.Since(begin)
	leech.Stop()
	if err := os.RemoveAll(filepath.Join(job.Dir, "big.bin")); err != nil {
		b.Fatal(err)
	}
	return took
}
