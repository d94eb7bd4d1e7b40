package background_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/weirfs/weir/cmd/internal/background"
)

// nobody is a user without anything.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

// openFolder returns a folder that everybody may enter, beneath the temporary one.
func openFolder(t *testing.T, owner int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, err := os.MkdirTemp("/tmp", "weir-as-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, owner, owner)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAs(t *testing.T) {
	dir := openFolder(t, int(nobody.Uid))
	secret := filepath.Join(t.TempDir(), "secret")
	group := filepath.Join(dir, "group")
	if err := errors.Join(os.WriteFile(secret, []byte("x"), 0o600), os.WriteFile(group, []byte("x"), 0o040), os.Chown(group, 0, 7)); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(dir, "made")
	err := background.As(nobody, func() error {
		if _, err := os.ReadFile(secret); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("read root's file: %v", err)
		}
		if _, err := os.ReadFile(group); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("read a group's file: %v", err)
		}
		return os.WriteFile(made, nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	member := &syscall.Credential{Uid: nobody.Uid, Gid: nobody.Gid, Groups: []uint32{9, 7}}
	if err := background.As(member, func() error { _, err := os.ReadFile(group); return err }); err != nil {
		t.Errorf("read a file of one's second group: %v", err)
	}
	info, err := os.Stat(made)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != nobody.Uid || st.Gid != nobody.Gid {
		t.Errorf("what was made belongs to %d:%d", st.Uid, st.Gid)
	}
	// All else goes on as root.
	for range 100 {
		if _, err := os.ReadFile(secret); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLogAsUser has a log that leads to a file of root's: neither is it written to,
// nor renamed, nor is a folder made where the user may not.
func TestLogAsUser(t *testing.T) {
	dir := openFolder(t, int(nobody.Uid))
	rootDir := t.TempDir()
	victim := filepath.Join(rootDir, "victim")
	long := make([]byte, 2<<20) // long enough to be set aside
	if err := errors.Join(os.WriteFile(victim, long, 0o600), os.Symlink(victim, filepath.Join(dir, "log")), os.Symlink(rootDir, filepath.Join(dir, "to"))); err != nil {
		t.Fatal(err)
	}
	for _, log := range []string{"log", "to/victim", "to/new/log"} {
		_, err := background.Detach(t.Context(), background.DetachOptions{Args: []string{"act", "ready"}, LogFile: filepath.Join(dir, log), As: nobody})
		if err == nil {
			t.Errorf("%s was opened", log)
		}
	}
	if info, err := os.Stat(victim); err != nil || info.Size() != int64(len(long)) {
		t.Errorf("root's file: %v, %v", info, err)
	}
	if entries, err := os.ReadDir(rootDir); err != nil || len(entries) != 1 {
		t.Errorf("root's folder has %v, %v", entries, err)
	}
	// One that is root's own choice must be no link.
	short := filepath.Join(rootDir, "victim.short")
	if err := errors.Join(os.WriteFile(short, nil, 0o600), os.Symlink(short, filepath.Join(dir, "last"))); err != nil {
		t.Fatal(err)
	}
	_, err := background.Detach(t.Context(), background.DetachOptions{Args: []string{"act", "ready"}, LogFile: filepath.Join(dir, "last"), As: nobody, LogOurs: true})
	if !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a log of root's that is a link: %v", err)
	}
}
