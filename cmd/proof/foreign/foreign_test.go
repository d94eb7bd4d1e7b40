package foreign_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/cmd/proof/foreign"
)

// TestMain runs the tests in a network of their own where it may, so that no
// client can talk to anybody outside, and fails if one has tried.
func TestMain(m *testing.M) { os.Exit(enclosed(m)) }

func enclosed(m *testing.M) int {
	switch {
	case foreign.Enclosed():
		if err := foreign.OpenEnclosure(); err != nil {
			fmt.Fprintln(os.Stderr, "a network for the tests:", err)
			return 1
		}
		// Clients mostly wait, some for a minute: more of them at once than there are
		// processors for, whatever the command line says.
		flag.Parse()
		if err := flag.Set("test.parallel", "12"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := weirtest.Main(m)
		if sent, err := foreign.Sent(); err != nil || sent > 0 {
			fmt.Fprintln(os.Stderr, "packets sent to outside of loopback:", sent, err)
			return 1
		}
		return code
	default:
		dir, err := os.MkdirTemp("", "weir-foreign-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := foreign.BuildAnacrolix(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if !foreign.CanEnclose() {
			fmt.Fprintln(os.Stderr, "not root: the clients have the machine's own network, and what leaves it is not counted")
			return weirtest.Main(m)
		}
		// Modules that weir needs are fetched while the world is there.
		if err := weirtest.Go("mod", "download"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return foreign.Enclose(os.Stderr)
	}
}

// start mounts sources with a cache of their own, without the network beyond loopback.
func start(tb testing.TB, args ...string) *weirtest.Mount {
	tb.Helper()
	dir := tb.TempDir()
	return weirtest.Start(tb, filepath.Join(dir, "mnt"),
		append([]string{"--cache=" + filepath.Join(dir, "cache"), "--listen=127.0.0.1:0", "--read-timeout=3m"}, args...)...)
}

// quiet returns what a seeder has uploaded once that stays the same for a while.
func quiet(tb testing.TB, s *foreign.Peer) int64 {
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

// nowhere is the URL of a tracker that does not answer.
const nowhere = "http://127.0.0.1:1/announce"

// seedLibtorrent publishes path and seeds it with libtorrent, which counts.
func seedLibtorrent(tb testing.TB, path string, pieceBytes int) (torrent string, s *foreign.Peer) {
	tb.Helper()
	torrent = foreign.MkTorrent(tb, foreign.Making{Path: path, Announce: nowhere, PieceBytes: pieceBytes})
	p := foreign.Libtorrent(tb, foreign.Job{Source: torrent, Dir: filepath.Dir(path), IP: foreign.NextIP()})
	p.WaitComplete(tb)
	return torrent, p
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
