package api_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
)

// TestFind looks from many places for a folder that says where its socket is. Any
// file system that knows extended attributes stands in for a mount.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "mnt")
	if err := os.MkdirAll(filepath.Join(root, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "by-hash"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"0123": "../a/b", "4567": "/etc"} {
		if err := os.Symlink(to, filepath.Join(root, "by-hash", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(root, api.ControlAttr, []byte("/run/s"), 0); err != nil {
		t.Fatalf("this test needs a temporary folder with extended attributes: %v", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(root, "a"), link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, in string }{
		{root, ""},
		{root + "/", ""},
		{root + "/a/b", "a/b"},
		{root + "/a/../a/b/", "a/b"},
		{root + "/new/name", "new/name"}, // need not be there
		{root + "/by-hash", "by-hash"},
		{root + "/by-hash/0123", "a/b"},
		{root + "/by-hash/0123/c/d", "a/b/c/d"},
		{root + "/by-hash/89ab/c", "by-hash/89ab/c"},
		{root + "/by-hash/4567/passwd", "by-hash/4567/passwd"}, // leads out
	} {
		p, err := api.Find(c.path)
		if err != nil || p != (api.Place{Root: root, Path: c.in, Socket: "/run/s"}) {
			t.Errorf("Find(%q) = %+v, %v; want %q", c.path, p, err, c.in)
		}
	}
	if p, err := api.Find(filepath.Join(link, "b")); err != nil || p.Path != "a/b" {
		t.Errorf("through a link: %+v, %v", p, err)
	}
	t.Chdir(filepath.Join(root, "a"))
	if p, err := api.Find("b"); err != nil || p.Path != "a/b" {
		t.Errorf("from inside: %+v, %v", p, err)
	}
	if p, err := api.Find(dir); !errors.Is(err, weir.ErrNotFound) || !strings.Contains(err.Error(), "weir mount") {
		t.Errorf("outside: %+v, %v; want ErrNotFound and what to do", p, err)
	}
}

// TestFindContext: it finds what Find does, and returns at once when its context has ended.
func TestFindContext(t *testing.T) {
	root := t.TempDir()
	if err := unix.Setxattr(root, api.ControlAttr, []byte("/run/s"), 0); err != nil {
		t.Fatalf("this test needs a temporary folder with extended attributes: %v", err)
	}
	if p, err := api.FindContext(t.Context(), root+"/a"); err != nil || p != (api.Place{Root: root, Path: "a", Socket: "/run/s"}) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := api.FindContext(t.Context(), filepath.Dir(root)); !errors.Is(err, weir.ErrNotFound) {
		t.Errorf("outside: %v", err)
	}
	mine := errors.New("no more time")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(mine)
	for range 20 { // whichever comes first
		if _, err := api.FindContext(ctx, root); err != nil && !errors.Is(err, mine) {
			t.Errorf("%v, want the context's cause", err)
		}
	}
}
