package foreign_test

import (
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
