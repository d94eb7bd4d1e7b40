package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/api"
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

// freeAddress returns an address on loopback at which nobody listens.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// weirSays runs weir and returns what it says.
func weirSays(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := exec.Command(weirtest.Binary(), args...).CombinedOutput()
	if err != nil {
		tb.Errorf("weir %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestPublishMount: a mount serves a folder from where it lies, for reads and for peers,
// and again after a restart; it takes no room in the cache, and what changes is named.
func TestPublishMount(t *testing.T) {
	t.Parallel()
	dir, base := release(t), t.TempDir()
	point, listen := filepath.Join(base, "mnt"), freeAddress(t)
	open := func() *weirtest.Mount {
		return weirtest.Start(t, point, "--cache="+filepath.Join(base, "cache"), "--listen="+listen, "--serve-from="+filepath.Dir(dir))
	}
	m := open()
	torrent := filepath.Join(base, "x.torrent")
	said := weirSays(t, "publish", "--mount", point, "--into", "mine", "--out", torrent, dir)
	if want := filepath.Join(point, "mine", "release") + " is served from " + dir; !strings.Contains(said, want) {
		t.Errorf("weir publish says %q, want %q", said, want)
	}
	for _, again := range []bool{false, true} {
		if again {
			m.Unmount(t)
			m = open()
		}
		sameFiles(t, m.Path("mine", "release"), dir, "big", "sub/small", "sub/empty", "z")
		leech := mountFrom(t, listen, torrent)
		sameFiles(t, leech.Path("release"), dir, "big", "sub/small", "z")
		leech.Unmount(t)
		status := weirSays(t, "status", m.Path("mine", "release"))
		for _, want := range []string{"complete", "served from  " + dir + ", in place", "(100%)"} {
			if !strings.Contains(status, want) {
				t.Errorf("weir status lacks %q:\n%s", want, status)
			}
		}
		if usage := weirSays(t, "cache", "stat", "--cache", filepath.Join(base, "cache")); !regexp.MustCompile(`pieces +0 of 0 torrents`).MatchString(usage) {
			t.Errorf("there is a copy in the cache: %s", usage)
		}
	}

	// Longer: what is not served any more is waited for.
	if err := os.WriteFile(filepath.Join(dir, "sub", "small"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	leech := mountFrom(t, listen, torrent)
	sameFiles(t, leech.Path("release"), dir, "big", "z")
	waits := exec.Command("cat", leech.Path("release", "sub", "small"))
	if err := waits.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = waits.Process.Kill()
		_ = waits.Wait()
	}()
	eventually(t, "the changed file is named", func() bool {
		return regexp.MustCompile(`(?m)^ +changed +sub/small: .* it has 7 bytes now, and had 70000$`).MatchString(weirSays(t, "status", m.Path("mine", "release")))
	})
	weirSays(t, "rm", m.Path("mine", "release"))
	if _, err := os.Stat(filepath.Join(dir, "big")); err != nil {
		t.Errorf("weir rm of a torrent that is served in place: %v", err)
	}
}

// TestMountMayNotRead: the sandbox keeps files from weir that it was not told of, and whoever
// publishes hears what to do before anything is hashed.
func TestMountMayNotRead(t *testing.T) {
	t.Parallel()
	dir, base := release(t), t.TempDir()
	m := weirtest.Start(t, filepath.Join(base, "mnt"), "--cache="+filepath.Join(base, "cache"), "--listen=off")
	out, err := exec.Command(weirtest.Binary(), "publish", "--mount", m.Dir, "--out", filepath.Join(base, "x.torrent"), dir).CombinedOutput()
	if want := "mount with --serve-from " + dir; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %s, want %q", err, out, want)
	}
	out, err = exec.Command(weirtest.Binary(), "publish", "--mount", m.Dir, "--out", filepath.Join(base, "x.torrent"), m.Dir).CombinedOutput()
	if err == nil {
		t.Errorf("an empty mount was published in itself: %s", out)
	}
}

// TestSeed: files that are there already are checked and served; those that are not the
// torrent's are named, and nothing is made of them.
func TestSeed(t *testing.T) {
	t.Parallel()
	dir, base := release(t), t.TempDir()
	torrent := filepath.Join(base, "x.torrent")
	weirSays(t, "publish", "--out", torrent, dir)
	s := weirtest.StartSeeder(t, "seed", torrent, filepath.Dir(dir))
	m := mountFrom(t, s.Addr, torrent)
	sameFiles(t, m.Path("release"), dir, "big", "sub/small", "z")
	m.Unmount(t)
	s.Stop(t)

	if err := os.Remove(filepath.Join(dir, "sub", "small")); err != nil {
		t.Fatal(err)
	}
	s = weirtest.StartSeeder(t, "seed", torrent, dir)
	if !strings.Contains(s.Log(), "weir: sub/small is missing, or not complete") {
		t.Errorf("weir seed says %s", s.Log())
	}
	m = mountFrom(t, s.Addr, torrent)
	sameFiles(t, m.Path("release"), dir, "big", "z")

	point, listen := filepath.Join(base, "mnt"), freeAddress(t)
	served := weirtest.Start(t, point, "--cache="+filepath.Join(base, "cache"), "--listen="+listen, "--serve-from="+dir)
	cmd := exec.Command(weirtest.Binary(), "seed", "--mount", point, torrent, dir)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(base, "state"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if kept, err := filepath.Glob(filepath.Join(base, "state", "weir", "checked", "*.json")); err != nil || len(kept) != 1 {
		t.Errorf("of the check is kept: %q, %v", kept, err)
	}
	sameFiles(t, served.Path("release"), dir, "big", "z")
	if status := weirSays(t, "status", served.Path("release", "sub", "small")); !regexp.MustCompile(`cached +0 B of 68 KiB`).MatchString(status) {
		t.Errorf("weir status of what is missing says %s", status)
	}
	out, err := exec.Command(weirtest.Binary(), "seed", torrent, base).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "has no file of it with the right size") {
		t.Errorf("where nothing of it lies: %v: %s", err, out)
	}
}

// TestUpdate: who has the old version of a release in its cache fetches of the new one only
// what has changed, in each version of the format.
func TestUpdate(t *testing.T) {
	for _, version := range []string{"--hybrid", "--v1", "--v2"} {
		t.Run(strings.TrimPrefix(version, "--"), func(t *testing.T) {
			t.Parallel()
			dir, base := release(t), t.TempDir()
			former, next := filepath.Join(base, "former.torrent"), filepath.Join(base, "next.torrent")
			read := func(s *weirtest.Seeder, torrent string) api.Torrent {
				m := weirtest.Start(t, filepath.Join(base, "mnt"), "--cache="+filepath.Join(base, "cache"), "--ephemeral", "--listen=off", "--peer="+s.Addr, torrent)
				defer m.Unmount(t)
				sameFiles(t, m.Path(m.Names[0]), dir, "big", "sub/small", "z")
				var status api.PathStatus
				if err := json.Unmarshal([]byte(weirSays(t, "status", "--json", m.Path(m.Names[0]))), &status); err != nil {
					t.Fatal(err)
				}
				return status.Torrent
			}
			s := weirtest.StartSeeder(t, "publish", "--seed", version, "--out", former, dir)
			if got := read(s, former); got.Downloaded < 3<<20 {
				t.Errorf("%d bytes were fetched of the first version", got.Downloaded)
			}
			s.Stop(t)

			// A hundredth of the big file, a new first file, and another name.
			b, err := os.ReadFile(filepath.Join(dir, "big"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = rand.Read(b[1<<20 : 1<<20+len(b)/100])
			if err := errors.Join(os.WriteFile(filepath.Join(dir, "big"), b, 0o600), os.WriteFile(filepath.Join(dir, "a"), []byte("new"), 0o600)); err != nil {
				t.Fatal(err)
			}
			s = weirtest.StartSeeder(t, "publish", "--seed", "--update", former, "--name", "next", "--out", next, dir)
			if !regexp.MustCompile(`(?m)^\S+ MiB of it are in pieces that .*former.torrent has, too$`).MatchString(s.Log()) {
				t.Errorf("weir publish --update says %s", s.Log())
			}
			got := read(s, next)
			// Files of version 1 are aligned from the second release on: the small ones are new.
			if most := got.SizeBytes*3/100 + 32<<10; version != "--v1" && got.Downloaded > most {
				t.Errorf("%d of %d bytes were fetched of the new version, want %d at most", got.Downloaded, got.SizeBytes, most)
			}
		})
	}
}
