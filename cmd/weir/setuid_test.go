package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// TestNothingStaysRoot mounts for another user as root does from /etc/fstab: none of
// the processes that go on is root's, and the mount works.
func TestNothingStaysRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	p := seedSample(t, 1<<20, simnet.Link{})
	dir := t.TempDir()
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	var uid, gid int
	if _, err := fmt.Sscan(nobody.Uid+" "+nobody.Gid, &uid, &gid); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Dir(weirtest.Binary()), filepath.Dir(dir), dir, mnt} { // the user comes there
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, mnt} {
		if err := os.Chown(d, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "mount.fuse.weir")
	if err := os.Symlink(weirtest.Binary(), link); err != nil {
		t.Fatal(err)
	}
	options := "setuid=nobody,cache=" + filepath.Join(dir, "cache") + ",log_file=" + filepath.Join(dir, "log") + ",listen=127.0.0.1:0"
	code, _, stderr := ends(t, exec.Command(link, p.magnet+"&x.pe="+p.seeder.Addr(), mnt, "-t", "fuse.weir", "-o", options))
	if device, err := os.Stat("/dev/fuse"); err == nil && device.Mode()&6 != 6 {
		// Users may not mount on this machine: root would have.
		if code == 0 || !strings.Contains(stderr, "/dev/fuse: permission denied") {
			t.Errorf("exit code %d, though nobody may not open /dev/fuse: %s", code, stderr)
			_, _, _ = runWeir(t, "umount", mnt)
		}
		return
	}
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	defer func() {
		if code, _, stderr := runWeir(t, "umount", mnt); code != 0 {
			t.Errorf("umount: exit code %d: %s", code, stderr)
		}
	}()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, proc := range all {
		command, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		if !strings.Contains(string(command), mnt) || proc == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(proc, "status"))
		if err != nil {
			continue // it has ended
		}
		found++
		for line := range strings.Lines(string(status)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			value = strings.Join(strings.Fields(value), " ")
			four := func(id string) string { return strings.Join([]string{id, id, id, id}, " ") }
			if key == "Uid" && value != four(nobody.Uid) || key == "Gid" && value != four(nobody.Gid) ||
				key == "Groups" && value != "" && value != nobody.Gid || key == "CapEff" && strings.Trim(value, "0") != "" {
				t.Errorf("%s (%s) has %s %s", proc, strings.ReplaceAll(string(command), "\x00", " "), key, value)
			}
		}
	}
	if found == 0 {
		t.Error("there is no process of the mount")
	}
	// The user reads; nobody else may, not even root, unless the user allows it.
	read := exec.Command("setpriv", "--reuid", nobody.Uid, "--regid", nobody.Gid, "--clear-groups", "sha256sum", filepath.Join(mnt, "sample", "sub", "one.bin"))
	if code, out, stderr := ends(t, read); code != 0 || !strings.HasPrefix(out, p.sum(t, 1)) {
		t.Errorf("read as the user: exit code %d: %s%s", code, out, stderr)
	}
}
