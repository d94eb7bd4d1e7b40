package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// TestPausedReader: a film is in the cache, its reader pauses in it, another reader
// goes through three caches' worth, and the film's only seeder goes away. What is
// in the paused reader's window can be read on.
func TestPausedReader(t *testing.T) {
	const cacheBytes, filmBytes, watched, ahead, step = 32 << 20, 24 << 20, 8 << 20, 4 << 20, 128 << 10
	film := seedSample(t, filmBytes, simnet.Link{})
	other, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "other", PieceLength: pieceBytes,
		Files: []swarmtest.File{{Path: []string{"other.bin"}, Length: 3 * cacheBytes, Seed: 9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	seeder, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{Contents: []*swarmtest.Content{other}})
	if err != nil {
		t.Fatal(err)
	}
	defer seeder.Close()
	dir := t.TempDir()
	torrent := filepath.Join(dir, "other.torrent")
	if err := os.WriteFile(torrent, other.Torrent(swarmtest.Hints{}), 0o600); err != nil {
		t.Fatal(err)
	}
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--cache-size=32MiB", "--read-timeout=5s", "--peer="+film.seeder.Addr(), "--peer="+seeder.Addr(), film.torrent, torrent)...)
	path := m.Path("sample", "big.bin")
	if out, err := weirOut(t, "fetch", path); err != nil {
		t.Fatalf("weir fetch: %v\n%s", err, out)
	}
	if got := have(t, path); got != filmBytes {
		t.Fatalf("%d bytes of the film are held", got)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	watch := func(n int64) {
		t.Helper()
		off, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			t.Fatal(err)
		}
		got, truth := make([]byte, n), make([]byte, n)
		if _, err := io.ReadFull(f, got); err != nil {
			t.Fatalf("%d bytes at %d: %v", n, off, err)
		}
		if _, err := film.content.ReadFileAt(0, truth, off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, truth) {
			t.Errorf("%d bytes at %d are not what was published", n, off)
		}
	}
	// At the pace of a player that fills its buffer: the window is what a reader takes
	// in two seconds.
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for range watched / step {
		watch(step)
		<-pace.C
	}

	sum, err := other.FileSHA256(0)
	if err != nil {
		t.Fatal(err)
	}
	wantSum(t, m.Path("other", "other.bin"), hex.EncodeToString(sum[:]))
	if got := have(t, path); got > filmBytes-ahead {
		t.Fatalf("%d of %d bytes of the film are still held: nothing pressed", got, filmBytes)
	}
	if err := film.seeder.Close(); err != nil {
		t.Fatal(err)
	}
	watch(ahead)
	f.Close()
	m.Unmount(t)
}

// have returns how many bytes of a file are held.
func have(tb testing.TB, path string) int64 {
	tb.Helper()
	b := make([]byte, 32)
	n, err := unix.Getxattr(path, "user.weir.have", b)
	if err != nil {
		tb.Fatal(err)
	}
	held, err := strconv.ParseInt(string(b[:n]), 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return held
}
