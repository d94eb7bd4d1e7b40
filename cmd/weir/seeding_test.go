package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/weirtest"
)

// release writes a folder to publish and returns its path.
func release(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "release")
	for name, size := range map[string]int{"big": 3 << 20, "sub/small": 70_000, "sub/empty": 0, "z": 1} {
		b := make([]byte, size)
		_, _ = rand.Read(b)
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// mountFrom mounts a torrent with a cache of its own, and reaches one peer.
func mountFrom(tb testing.TB, addr, source string) *weirtest.Mount {
	tb.Helper()
	dir := tb.TempDir()
	return weirtest.Start(tb, filepath.Join(dir, "mnt"), "--cache="+filepath.Join(dir, "cache"), "--listen=off", "--peer="+addr, source)
}

// sameFiles compares files in a mount with those that were published.
func sameFiles(tb testing.TB, got, want string, names ...string) {
	tb.Helper()
	for _, name := range names {
		g, err := os.ReadFile(filepath.Join(got, name))
		if err != nil {
			tb.Fatal(err)
		}
		w, err := os.ReadFile(filepath.Join(want, name))
		if err != nil {
			tb.Fatal(err)
		}
		if !bytes.Equal(g, w) {
			tb.Errorf("%s has other bytes", name)
		}
	}
}

// readAt reads n bytes of a file.
func readAt(tb testing.TB, path string, off int64, n int) []byte {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, off); err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestPublishSeed: a folder is published and served from where it lies; another weir reads
// it by the magnet. What changes is named and not given away.
func TestPublishSeed(t *testing.T) {
	for _, version := range []string{"--hybrid", "--v1", "--v2"} {
		t.Run(strings.TrimPrefix(version, "--"), func(t *testing.T) {
			t.Parallel()
			dir := release(t)
			s := weirtest.StartSeeder(t, "publish", version, "--seed", "--out", filepath.Join(t.TempDir(), "x.torrent"), dir)
			m := mountFrom(t, s.Addr, strings.TrimSpace(s.Output()))
			sameFiles(t, m.Path("release"), dir, "sub/small", "sub/empty", "z")

			head := readAt(t, filepath.Join(dir, "big"), 0, 100)
			f, err := os.OpenFile(filepath.Join(dir, "big"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("changed"), 2<<20); err != nil {
				t.Fatal(err)
			}
			if got := readAt(t, m.Path("release", "big"), 0, 100); !bytes.Equal(got, head) {
				t.Error("the beginning of a file that changed further on has other bytes")
			}
			waits := exec.Command("dd", "if="+m.Path("release", "big"), "bs=100", "count=1", "iflag=skip_bytes", "skip=2M", "status=none")
			if err := waits.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = waits.Process.Kill()
				_ = waits.Wait()
			}()
			s.Await(t, "the changed file is named", func() bool {
				return strings.Contains(s.Log(), "weir: big: its content is another than the torrent's: pieces of it are not given away")
			})
		})
	}
}
