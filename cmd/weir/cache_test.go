package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cache"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// fillCache makes a cache with pieces of 256 KiB in it that no torrent is known
// of.
func fillCache(tb testing.TB, pieces int) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	c, err := cache.Open(cache.Options{Dir: dir, LimitBytes: 64 << 20, MinFreeBytes: -1})
	if err != nil {
		tb.Fatal(err)
	}
	b := make([]byte, 256<<10)
	for i := range pieces {
		_, _ = rand.Read(b)
		if err := c.Put(weir.PieceID{Torrent: weir.InfoHash{1}, Index: i}, [][]byte{b}); err != nil {
			tb.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// weirCache runs weir cache and returns its output.
func weirCache(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	err := run(ctx, append([]string{"cache"}, args...), &stdout, &stderr)
	return stdout.String(), err
}

func TestCacheVerifyFindsDamage(t *testing.T) {
	dir := fillCache(t, 8)
	out, err := weirCache(t.Context(), "verify", "--cache", dir)
	if err != nil || !strings.Contains(out, "8 pieces, 2.0 MiB: 0 right, 0 damaged, 8 checked by checksum alone") {
		t.Errorf("printed %q, %v", out, err)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "segments", "*"))
	if len(logs) != 1 {
		t.Fatalf("segments: %v", logs)
	}
	f, err := os.OpenFile(logs[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 700<<10); err != nil { // in the third piece
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, 700<<10); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out, err = weirCache(t.Context(), "verify", "--cache", dir, "--json")
	var got api.CacheVerify
	if jerr := json.Unmarshal([]byte(out), &got); jerr != nil || err == nil || !strings.Contains(err.Error(), "1 pieces were damaged and dropped") {
		t.Fatalf("printed %q, %v", out, err)
	}
	if got.Damaged != 1 || len(got.Dropped) != 1 || got.Dropped[0].Piece != 2 || report(&bytes.Buffer{}, err) != exitFailure {
		t.Errorf("got %+v", got)
	}
	if out, err := weirCache(t.Context(), "verify", "--cache", dir); err != nil || !strings.HasPrefix(out, "7 pieces") {
		t.Errorf("after that: %q, %v", out, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := weirCache(ctx, "verify", "--cache", dir); err == nil || err.Error() != "stopped early" {
		t.Errorf("interrupted: %v", err)
	}
}

// TestCacheOfSilentOwner: somebody has the cache and can't be asked.
func TestCacheOfSilentOwner(t *testing.T) {
	for name, test := range map[string]struct{ control, says string }{
		"NoSocket":   {"", "can't be asked"},
		"DeadSocket": {filepath.Join(t.TempDir(), "none"), "it was removed, or weir has ended"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c, err := cache.Open(cache.Options{Dir: dir, LimitBytes: 64 << 20, MinFreeBytes: -1, Control: test.control})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := weirCache(t.Context(), "stat", "--cache", dir); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
	if _, err := weirCache(t.Context(), "stat", "--cache", "/"); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("a folder that is no cache: %v, want ErrNotFound", err)
	}
}

func TestMinFree(t *testing.T) {
	for text, want := range map[string]minFree{
		"5%": {Percent: 5}, "0.5%": {Percent: 0.5}, "100%": {Percent: 100}, "20GiB": {Bytes: 20 << 30}, "500MB": {Bytes: 500e6},
		"0": {Bytes: -1}, "0%": {Bytes: -1},
	} {
		var got, again minFree
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v, want %+v", text, got, err, want)
		}
		if err := again.Set(got.String()); err != nil || again.Percent != got.Percent || (again.Bytes < 0) != (got.Bytes < 0) {
			t.Errorf("%q is shown as %q, which is %+v, %v", text, got.String(), again, err)
		}
	}
	for _, text := range []string{"", "%", "-1%", "101%", "NaN%", "lots", "-5GiB", "5%%"} {
		if err := new(minFree).Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// TestCacheVerifyAgainstTorrents reads a torrent, and hashes what the cache has of
// it when nobody has it open and while it is mounted.
func TestCacheVerifyAgainstTorrents(t *testing.T) {
	p := seedSample(t, 2<<20, simnet.Link{})
	dir := t.TempDir()
	args := flags(dir, "--peer="+p.seeder.Addr(), p.torrent)
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), args...)
	wantSum(t, m.Path("sample", "big.bin"), p.sum(t, 0))
	m.Unmount(t) // all that was read is in the cache then
	verify := func(how string) {
		t.Helper()
		var got api.CacheVerify
		out, err := weirCache(t.Context(), "verify", "--json", "--cache", filepath.Join(dir, "cache"))
		if jerr := json.Unmarshal([]byte(out), &got); err != nil || jerr != nil {
			t.Fatalf("%s: printed %q, %v", how, out, err)
		}
		if got.Pieces < 8 || got.Unchecked+got.Damaged != 0 || !got.Done {
			t.Errorf("%s: %+v", how, got)
		}
	}
	verify("not mounted")
	m = weirtest.Start(t, filepath.Join(dir, "mnt"), args...)
	verify("mounted")
	m.Unmount(t)
}
