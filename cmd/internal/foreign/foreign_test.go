package foreign_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/internal/foreign"
	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest"
)

func TestMain(m *testing.M) { os.Exit(weirtest.Main(m)) }

// openTracker starts an HTTP tracker; peers are told to it later.
func openTracker(tb testing.TB) *swarmtest.Tracker {
	tb.Helper()
	tr, err := swarmtest.OpenTracker(swarmtest.TrackerOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := tr.Close(); err != nil {
			tb.Error(err)
		}
	})
	return tr
}

// start mounts sources with a cache of their own, without the network beyond loopback.
func start(tb testing.TB, args ...string) *weirtest.Mount {
	tb.Helper()
	dir := tb.TempDir()
	return weirtest.Start(tb, filepath.Join(dir, "mnt"),
		append([]string{"--cache=" + filepath.Join(dir, "cache"), "--listen=127.0.0.1:0", "--read-timeout=30s"}, args...)...)
}

// TestEveryFile mounts torrents that others made, from seeders that others
// wrote, and compares every file. Each seeder has an address of its own, so all
// may run side by side: transmission looks only every ten seconds whom to unchoke,
// and most of the time goes into waiting for that.
func TestEveryFile(t *testing.T) {
	address := 20
	for n, client := range foreign.Clients {
		for m, maker := range foreign.Makers {
			// Each client meets both makers and both forms, in other pairs than its neighbour.
			form, content := "Folder", folder
			if (n+m)%2 != 0 {
				form, content = "SingleFile", singleFile
			}
			for _, by := range []string{"Torrent", "Magnet"} {
				address++
				ip := fmt.Sprintf("127.0.0.%d", address)
				t.Run(fmt.Sprintf("%s/%s/%s/%s", client.Name, maker.Name, form, by), func(t *testing.T) {
					t.Parallel()
					path, want := content(t, maker)
					readAll(t, client, maker, ip, path, want, by == "Magnet")
				})
			}
		}
	}
}

// folder makes content for a torrent of many files. It returns the path to make
// the torrent of, and the folder that the mount should look like.
func folder(t *testing.T, maker foreign.Maker) (path, want string) {
	path = foreign.Folder(t, "all kinds of names ☂")
	if maker.SkipsEmpty {
		if err := os.Remove(filepath.Join(path, "empty")); err != nil {
			t.Fatal(err)
		}
	}
	return path, path
}

// singleFile does the same for a torrent of one file.
func singleFile(t *testing.T, _ foreign.Maker) (path, want string) {
	path = filepath.Join(t.TempDir(), "a file, alone.iso")
	foreign.Fill(t, path, 2<<20+12345)
	return path, filepath.Dir(path)
}

// readAll publishes what is at path, mounts it and compares it with want: by
// .torrent the seeder is found through the tracker; a magnet names the seeder,
// which has to be asked for the metadata. It takes a fresh seeder each time:
// transmission remembers by address who has it all, and gives him nothing more.
func readAll(t *testing.T, client foreign.Client, maker foreign.Maker, ip, path, want string, magnet bool) {
	tracker := openTracker(t)
	torrent := maker.Make(t, path, tracker.URL(), 64<<10)
	seeder := client.Start(t, ip, foreign.Seed{Torrent: torrent, Dir: filepath.Dir(path)})
	source := torrent
	if magnet {
		source = foreign.Magnet(t, torrent, seeder.Addr)
	} else {
		tracker.SetPeers(seeder.Addr)
	}
	m := start(t, source)
	if got, want := m.Names[0], filepath.Base(path); got != want {
		t.Errorf("shown as %q, want %q", got, want)
	}
	weirtest.SameFiles(t, m.Path(m.Names[0]), want)
	m.Unmount(t)
}

// quiet returns what a seeder has uploaded once that stays the same for a while.
func quiet(tb testing.TB, s *foreign.Seeder) int64 {
	tb.Helper()
	const calm = 10 // looks in a row without a change
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last, same := s.Uploaded(tb), 0
	for same < calm {
		<-tick.C
		if n := s.Uploaded(tb); n != last {
			last, same = n, 0
		} else {
			same++
		}
	}
	return last
}

// seedLibtorrent publishes path and seeds it with libtorrent, which counts.
func seedLibtorrent(tb testing.TB, path string, pieceBytes int) (torrent string, s *foreign.Seeder) {
	tb.Helper()
	torrent = foreign.MkTorrent(tb, path, "http://127.0.0.1:1/announce", pieceBytes)
	return torrent, foreign.Libtorrent(tb, "127.0.0.19", foreign.Seed{Torrent: torrent, Dir: filepath.Dir(path)})
}

// TestOneRead counts what a small read costs the swarm, in the seeder's own words.
func TestOneRead(t *testing.T) {
	const pieceBytes = 1 << 20
	file := filepath.Join(t.TempDir(), "big.bin")
	foreign.Fill(t, file, 16*pieceBytes)
	torrent, seeder := seedLibtorrent(t, file, pieceBytes)

	for _, source := range []string{torrent, foreign.Magnet(t, torrent, seeder.Addr)} {
		before := quiet(t, seeder)
		m := start(t, "--peer="+seeder.Addr, source)
		f, err := os.Open(m.Path("big.bin", "big.bin"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got, want := make([]byte, 4<<10), make([]byte, 4<<10)
		const off = 7*pieceBytes + 300<<10
		if _, err := f.ReadAt(got, off); err != nil {
			t.Fatal(err)
		}
		readAt(t, file, want, off)
		if string(got) != string(want) {
			t.Error("the bytes are not right")
		}
		if up := quiet(t, seeder) - before; up != pieceBytes {
			t.Errorf("the seeder uploaded %d bytes for a read of %d, want one piece, %d", up, len(got), pieceBytes)
		}
		f.Close()
		m.Unmount(t)
	}
}

func readAt(tb testing.TB, path string, p []byte, off int64) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(p, off); err != nil {
		tb.Fatal(err)
	}
}

// TestLookingCostsNothing lists and measures a mount in the usual ways, and
// counts what the seeder has sent.
func TestLookingCostsNothing(t *testing.T) {
	folder := foreign.Folder(t, "look")
	torrent, seeder := seedLibtorrent(t, folder, 32<<10)
	for _, source := range []string{torrent, foreign.Magnet(t, torrent, seeder.Addr)} {
		m := start(t, "--peer="+seeder.Addr, source)
		for _, look := range [][]string{
			{"ls", "-lR"}, {"du", "-a"}, {"du", "-a", "--apparent-size"}, {"find", "-ls"}, {"df"}, {"stat", "-f"},
		} {
			cmd := exec.Command(look[0], look[1:]...)
			cmd.Dir = m.Path("look")
			if look[0] == "df" || look[0] == "stat" {
				cmd.Args = append(cmd.Args, ".")
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %v\n%s", look, err, out)
			}
		}
		if up := quiet(t, seeder); up != 0 {
			t.Errorf("the seeder uploaded %d bytes though nobody read", up)
		}
		m.Unmount(t)
	}
}
