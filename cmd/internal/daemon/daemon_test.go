package daemon_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/daemon"
	"github.com/weirfs/weir/engine"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/fs/mountpoint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const pieceBytes = 64 << 10

func newContent(tb testing.TB, name string) *swarmtest.Content {
	tb.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: name, PieceLength: pieceBytes,
		Files: []swarmtest.File{{Path: []string{"file.bin"}, Length: 10 * pieceBytes, Seed: 1}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func openSeeder(tb testing.TB, c *swarmtest.Content) *swarmtest.Seeder {
	tb.Helper()
	s, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func writeTorrent(tb testing.TB, c *swarmtest.Content) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "x.torrent")
	if err := os.WriteFile(path, c.Torrent(swarmtest.Hints{}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func options(tb testing.TB, sources ...string) daemon.Options {
	tb.Helper()
	dir := tb.TempDir()
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		tb.Fatal(err)
	}
	return daemon.Options{
		Mountpoint: mnt, CacheDir: filepath.Join(dir, "cache"), Sources: sources,
		Listen: "127.0.0.1:0", ReadTimeout: 20 * time.Second,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
	}
}

func open(tb testing.TB, o daemon.Options) *daemon.Daemon {
	tb.Helper()
	d := daemon.New(o)
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := d.Open(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return d
}

// mounted reports whether something is mounted at dir: its device is another.
func mounted(tb testing.TB, dir string) bool {
	tb.Helper()
	var at, above syscall.Stat_t
	if err := errors.Join(syscall.Stat(dir, &at), syscall.Stat(filepath.Dir(dir), &above)); err != nil {
		tb.Fatal(err)
	}
	return at.Dev != above.Dev
}

func blocks(tb testing.TB, path string) int64 {
	tb.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		tb.Fatal(err)
	}
	return st.Blocks
}

// TestHeldBytesShow reads a piece and sees it in the file's blocks: the way from
// the engine over the cache to the mount, and back to the kernel.
func TestHeldBytesShow(t *testing.T) {
	c := newContent(t, "held")
	o := options(t, writeTorrent(t, c))
	o.Peers = []string{openSeeder(t, c).Addr()}
	d := open(t, o)
	if got := d.Names(); !slices.Equal(got, []string{"held"}) {
		t.Errorf("Names = %q", got)
	}
	path := filepath.Join(o.Mountpoint, "held", "file.bin")
	if n := blocks(t, path); n != 1 { // of a file that is all hole, programs read nothing
		t.Errorf("%d blocks are held before anything was read", n)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, want := make([]byte, 100), make([]byte, 100)
	if _, err := f.ReadAt(got, 5*pieceBytes+1000); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadAt(want, 5*pieceBytes+1000); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("the bytes are not right")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(20 * time.Second); blocks(t, path) != pieceBytes/512; {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%d blocks are held, want %d", blocks(t, path), pieceBytes/512)
		}
	}
}

// TestEncryption: what was asked for reaches the engine, which then speaks to the
// peers that agree, and to no others.
func TestEncryption(t *testing.T) {
	c := newContent(t, "secret")
	for name, test := range map[string]struct {
		ours   engine.Encryption
		theirs swarmtest.Encryption
		err    error
	}{
		"RequiredByUs":   {engine.EncryptionRequired, swarmtest.EncryptionAllowed, nil},
		"RequiredByThem": {engine.EncryptionAllowed, swarmtest.EncryptionRequired, nil},
		"NotTheirs":      {engine.EncryptionRequired, swarmtest.EncryptionOff, syscall.ETIMEDOUT},
		"NotOurs":        {engine.EncryptionOff, swarmtest.EncryptionRequired, syscall.ETIMEDOUT},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Encryption: test.theirs})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			o := options(t, writeTorrent(t, c))
			o.Encryption, o.Peers = test.ours, []string{s.Addr()}
			if test.err != nil {
				o.ReadTimeout = time.Second
			}
			open(t, o)
			if _, err := os.ReadFile(filepath.Join(o.Mountpoint, "secret", "file.bin")); !errors.Is(err, test.err) {
				t.Errorf("read: %v, want %v", err, test.err)
			}
		})
	}
}

// TestSameTorrentTwice shows it once.
func TestSameTorrentTwice(t *testing.T) {
	c, other := newContent(t, "same"), newContent(t, "other")
	d := open(t, options(t, writeTorrent(t, c), c.Magnet(swarmtest.Hints{}), writeTorrent(t, other), c.InfoHash().String()))
	if got, want := d.Names(), []string{"same", "other"}; !slices.Equal(got, want) {
		t.Errorf("Names = %q, want %q", got, want)
	}
}

// TestFails opens what can't be opened, and finds nothing left.
func TestFails(t *testing.T) {
	c := newContent(t, "fine")
	good := writeTorrent(t, c)
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	for name, change := range map[string]func(o *daemon.Options){
		"BadMagnet":    func(o *daemon.Options) { o.Sources = append(o.Sources, "magnet:?dn=x") },
		"NoFile":       func(o *daemon.Options) { o.Sources = append(o.Sources, "no.torrent") },
		"URLNotFound":  func(o *daemon.Options) { o.Sources = append(o.Sources, gone.URL+"/x.torrent") },
		"BadListen":    func(o *daemon.Options) { o.Listen = "256.0.0.1:0" },
		"NoMountpoint": func(o *daemon.Options) { o.Mountpoint += "2" },
		"CacheIsAFile": func(o *daemon.Options) { o.CacheDir = good },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, good)
			mnt := o.Mountpoint
			change(&o)
			d := daemon.New(o)
			if err := d.Open(t.Context()); err == nil {
				t.Error("Open: no error")
			} else {
				t.Log(err)
			}
			if err := d.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if mounted(t, mnt) {
				t.Error("the mount is still there")
			}
		})
	}
}

// TestCacheInUse says who has it.
func TestCacheInUse(t *testing.T) {
	o := options(t, writeTorrent(t, newContent(t, "first")))
	open(t, o)
	second := options(t, o.Sources...)
	second.CacheDir = o.CacheDir
	d := daemon.New(second)
	err := d.Open(t.Context())
	if !errors.Is(err, weir.ErrInUse) || !strings.Contains(err.Error(), o.Mountpoint) {
		t.Errorf("Open with a cache in use: %v, want ErrInUse and %s", err, o.Mountpoint)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestContextEnds ends Open while a server lets it wait.
func TestContextEnds(t *testing.T) {
	asked := make(chan struct{}, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer slow.Close()
	o := options(t, slow.URL+"/x.torrent")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	d := daemon.New(o)
	if err := d.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v, want context.Canceled", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if mounted(t, o.Mountpoint) {
		t.Error("the mount is still there")
	}
}

// TestUnmountedByOthers ends by itself when somebody unmounts.
func TestUnmountedByOthers(t *testing.T) {
	o := options(t, writeTorrent(t, newContent(t, "away")))
	d := open(t, o)
	if err := mountpoint.Unmount(t.Context(), o.Mountpoint, false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Done():
	case <-time.After(20 * time.Second):
		t.Error("still serving")
	}
}
