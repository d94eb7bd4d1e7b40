package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// TestCacheRemoved takes the cache folder away from a weir that uses it: what is
// read is right all the same, the log says it once, and the first signal ends weir.
func TestCacheRemoved(t *testing.T) {
	p := seedSample(t, 4<<20, simnet.Link{})
	for name, take := range map[string]func(dir string) error{
		"Removed": os.RemoveAll,
		"Moved":   func(dir string) error { return os.Rename(dir, dir+".aside") },
		"Replaced": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".aside"), os.MkdirAll(filepath.Join(dir, "segments"), 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--peer="+p.seeder.Addr(), p.torrent)...)
			wantSum(t, m.Path("sample", "sub", "one.bin"), p.sum(t, 1))
			if err := take(filepath.Join(dir, "cache")); err != nil {
				t.Fatal(err)
			}
			wantSum(t, m.Path("sample", "big.bin"), p.sum(t, 0))
			wantSum(t, m.Path("sample", "sub", "two.bin"), p.sum(t, 2))
			wantSum(t, m.Path("sample", "sub", "one.bin"), p.sum(t, 1))
			m.Signal(t, syscall.SIGTERM)
			if err := m.Wait(t); err != nil {
				t.Errorf("weir ended: %v", err)
			}
			if n := strings.Count(m.Log(), "the cache folder was removed: nothing"); n != 1 {
				t.Errorf("the log says it %d times", n)
			}
			if n := strings.Count(m.Log(), "level=ERROR"); n != 1 {
				t.Errorf("the log has %d errors", n)
			}
		})
	}
	t.Run("Unread", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--peer="+p.seeder.Addr(), p.torrent)...)
		wantSum(t, m.Path("sample", "sub", "one.bin"), p.sum(t, 1))
		if err := os.RemoveAll(filepath.Join(dir, "cache")); err != nil {
			t.Fatal(err)
		}
		m.Unmount(t)
	})
}
