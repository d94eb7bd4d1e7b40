package fs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/fs/mountpoint"
)

// mountFails tries to mount and returns the error, which must be there.
func mountFails(t *testing.T, opt fs.Options) error {
	t.Helper()
	f := fs.New(opt)
	defer f.Close()
	err := f.Mount()
	if err == nil {
		t.Fatalf("mounting at %s worked", opt.Mountpoint)
	}
	return err
}

// wantError checks what an error is, and that its message says what to do.
func wantError(t *testing.T, err, is error, says string) {
	t.Helper()
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%v: want %v", err, is)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%q does not say %q", err, says)
	}
}

func TestMountpoint(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("Missing", func(t *testing.T) {
		wantError(t, mountFails(t, fs.Options{Mountpoint: filepath.Join(dir, "no", "such")}), os.ErrNotExist, "mkdir -p")
		wantError(t, mountFails(t, fs.Options{Mountpoint: filepath.Join(dir, "such")}), os.ErrNotExist, "mkdir -p")
	})
	t.Run("File", func(t *testing.T) {
		wantError(t, mountFails(t, fs.Options{Mountpoint: file}), syscall.ENOTDIR, "name a directory")
	})
	t.Run("NotEmpty", func(t *testing.T) {
		wantError(t, mountFails(t, fs.Options{Mountpoint: dir}), syscall.ENOTEMPTY, `"file"`)
	})
	t.Run("NonEmptyAllowed", func(t *testing.T) {
		over := filepath.Join(t.TempDir())
		if err := os.WriteFile(filepath.Join(over, "hidden"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		mount(t, fs.Options{Mountpoint: over, AllowNonEmpty: true})
		if entries, err := os.ReadDir(over); err != nil || len(entries) != 0 {
			t.Errorf("list: %v, %v", entries, err)
		}
	})
	t.Run("Link", func(t *testing.T) {
		to, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		mount(t, fs.Options{Mountpoint: link}, fs.NewFakeTorrent(film()))
		if _, err := os.Stat(filepath.Join(to, "film")); err != nil {
			t.Error(err)
		}
		if err := mountpoint.Unmount(t.Context(), link, false); err != nil {
			t.Errorf("unmount by the link: %v", err)
		}
	})
	t.Run("WithOddName", func(t *testing.T) {
		odd := filepath.Join(t.TempDir(), "a b,c\\d\te")
		if err := os.Mkdir(odd, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(t, fs.Options{Mountpoint: odd}, fs.NewFakeTorrent(film()))
		if _, err := os.Stat(filepath.Join(odd, "film")); err != nil {
			t.Error(err)
		}
	})
	t.Run("MountedByWeir", func(t *testing.T) {
		_, at := mount(t, fs.Options{}, fs.NewFakeTorrent(film()))
		wantError(t, mountFails(t, fs.Options{Mountpoint: at}), weir.ErrExists, "weir umount")
		wantError(t, mountFails(t, fs.Options{Mountpoint: at, AllowNonEmpty: true}), weir.ErrExists, "weir umount")
	})
	t.Run("MountedByOther", func(t *testing.T) {
		wantError(t, mountFails(t, fs.Options{Mountpoint: "/proc"}), weir.ErrExists, "type proc")
	})
}

func TestMountHost(t *testing.T) {
	t.Run("NoHelper", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		wantError(t, mountFails(t, fs.Options{Mountpoint: t.TempDir()}), nil, "apt-get install fuse3")
	})
}

func TestMountStale(t *testing.T) {
	dir := t.TempDir()
	child := fs.StartChild(t, "serve", dir)
	if b, err := os.ReadFile(filepath.Join(dir, "crashed/f")); err != nil || len(b) != 5 {
		t.Fatalf("read while it lives: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	if err := syscall.Statfs(dir, new(syscall.Statfs_t)); err != syscall.ENOTCONN {
		t.Fatalf("stale mount: %v, want ENOTCONN", err)
	}
	mount(t, fs.Options{Mountpoint: dir}, fs.NewFakeTorrent(film()))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "film" {
		t.Errorf("list: %v, %v", entries, err)
	}
}

func TestUnmount(t *testing.T) {
	t.Run("NotMounted", func(t *testing.T) {
		wantError(t, mountpoint.Unmount(t.Context(), t.TempDir(), false), weir.ErrNotFound, "nothing is mounted")
	})
	t.Run("NotWeir", func(t *testing.T) {
		wantError(t, mountpoint.Unmount(t.Context(), "/proc", false), weir.ErrInvalid, "type proc")
	})
	t.Run("OK", func(t *testing.T) {
		_, dir := mount(t, fs.Options{}, fs.NewFakeTorrent(film()))
		if err := mountpoint.Unmount(t.Context(), dir, false); err != nil {
			t.Error(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("list: %v, %v", entries, err)
		}
	})
	t.Run("Busy", func(t *testing.T) {
		tor := fs.NewFakeTorrent(film())
		f, dir := mount(t, fs.Options{}, tor)
		fs.StartChild(t, "hold", filepath.Join(dir, "film/film.mkv"))
		wantError(t, mountpoint.Unmount(t.Context(), dir, false), weir.ErrInUse, "(process ")
		if err := f.Unmount(); !errors.Is(err, weir.ErrInUse) {
			t.Errorf("own: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "film")); err != nil {
			t.Errorf("after that: %v", err)
		}
	})
	t.Run("BusyLazily", func(t *testing.T) {
		tor := fs.NewFakeTorrent(film())
		_, dir := mount(t, fs.Options{}, tor)
		file, err := os.Open(filepath.Join(dir, "film/film.mkv"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := mountpoint.Unmount(t.Context(), dir, true); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("list: %v, %v", entries, err)
		}
		b := make([]byte, 10)
		if _, err := file.ReadAt(b, 1<<20); err != nil || string(b) != string(tor.Content(0)[1<<20:1<<20+10]) {
			t.Errorf("what is open can still be read: %v", err)
		}
	})
}

func TestServe(t *testing.T) {
	t.Run("NotMounted", func(t *testing.T) {
		f := fs.New(fs.Options{})
		if err := f.Serve(t.Context()); !errors.Is(err, weir.ErrClosed) {
			t.Error(err)
		}
		if err := f.Unmount(); !errors.Is(err, weir.ErrNotFound) {
			t.Error(err)
		}
		if err := errors.Join(f.Close(), f.Close()); err != nil {
			t.Error(err)
		}
		if err := f.Mount(); !errors.Is(err, weir.ErrClosed) {
			t.Error(err)
		}
	})
	t.Run("ContextEndsBusyMount", func(t *testing.T) {
		tor := fs.NewFakeTorrent(film())
		tor.HoldAll(false)
		dir := t.TempDir()
		f := fs.New(fs.Options{Mountpoint: dir})
		if _, err := f.Add("film", tor); err != nil {
			t.Fatal(err)
		}
		if err := f.Mount(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- f.Serve(ctx) }()
		file, err := os.Open(filepath.Join(dir, "film/film.mkv"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		blocked := make(chan error, 1)
		go func() {
			_, err := file.ReadAt(make([]byte, 10), 0)
			blocked <- err
		}()
		fs.Eventually(t, "the read waits", func() bool { return tor.Waits.Load() > 0 })
		cancel()
		if err := <-blocked; err == nil {
			t.Error("the read worked")
		}
		// The file is still open, and the mount ends all the same.
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("list: %v, %v", entries, err)
		}
		if n := tor.Opened.Load(); n != 0 {
			t.Errorf("%d files are not closed", n)
		}
		if _, err := file.ReadAt(make([]byte, 10), 1<<20); err == nil {
			t.Error("the read of an ended mount worked")
		}
	})
	t.Run("Twice", func(t *testing.T) {
		f, _ := mount(t, fs.Options{})
		fs.Eventually(t, "the other one serves", func() bool {
			err := f.Mount()
			return errors.Is(err, weir.ErrExists)
		})
	})
}

func TestMountOptions(t *testing.T) {
	f, _ := mount(t, fs.Options{AllowOther: os.Getuid() == 0, ReadAheadKB: 768})
	device, options := fs.Device(f)
	for _, want := range []string{"ro", "nosuid", "nodev", "default_permissions"} {
		if !strings.Contains(","+options+",", ","+want+",") {
			t.Errorf("options %q lack %s", options, want)
		}
	}
	if os.Getuid() != 0 {
		return // what follows needs root, and so does what it tests
	}
	if !strings.Contains(options, "allow_other") {
		t.Errorf("options %q lack allow_other", options)
	}
	got, err := os.ReadFile("/sys/class/bdi/" + device + "/read_ahead_kb")
	if err != nil || strings.TrimSpace(string(got)) != "768" {
		t.Errorf("read-ahead %q, %v", got, err)
	}
}
