package fs_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/fs"
	"github.com/weirfs/weir/fs/mountpoint"
)

// needRoot skips what only root may do, which is to make mounts.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED, users without rights make no mounts")
	}
}

// hold starts a program that says when it is ready, and ends with the test. It gets
// a mount namespace of its own by unshare, with the mount at dir and with none of
// those that other tests have just now: they could not be unmounted.
func hold(t *testing.T, propagation, dir string) *exec.Cmd {
	t.Helper()
	const script = `
		findmnt -n -l -o TARGET -t fuse.weir | while read -r mounted; do
			[ "$mounted" = "$1" ] || umount -c -l "$mounted"
		done
		echo ready
		exec sleep 600`
	cmd := exec.Command("unshare", "-m", "--propagation", propagation, "sh", "-c", script, "sh", dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

// A mount with copies in other mount namespaces would go on there: unmounting says where,
// and how to end it.
func TestUnmountElsewhere(t *testing.T) {
	needRoot(t)
	t.Run("BindMount", func(t *testing.T) {
		_, dir := mount(t, fs.Options{}, fs.NewFakeTorrent(film()))
		to := t.TempDir()
		if err := unix.Mount(filepath.Join(dir, "film"), to, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(to, unix.MNT_DETACH)
		wantError(t, mountpoint.Unmount(t.Context(), dir, false), weir.ErrInUse, "also mounted at "+to)
		if _, err := os.Stat(filepath.Join(dir, "film")); err != nil {
			t.Errorf("after that: %v", err)
		}
		if err := unix.Unmount(to, 0); err != nil {
			t.Fatal(err)
		}
		if err := mountpoint.Unmount(t.Context(), dir, false); err != nil {
			t.Error(err)
		}
	})
	t.Run("Namespace", func(t *testing.T) {
		_, dir := mount(t, fs.Options{}, fs.NewFakeTorrent(film()))
		cmd := hold(t, "private", dir)
		err := mountpoint.Unmount(t.Context(), dir, false)
		wantError(t, err, weir.ErrInUse, fmt.Sprintf("sleep (process %d)", cmd.Process.Pid))
		wantError(t, err, weir.ErrInUse, fmt.Sprintf("nsenter -t %d -m umount %s", cmd.Process.Pid, dir))
		if out, err := exec.Command("nsenter", "-t", fmt.Sprint(cmd.Process.Pid), "-m", "umount", dir).CombinedOutput(); err != nil {
			t.Fatalf("what it says: %v, %s", err, out)
		}
		if err := mountpoint.Unmount(t.Context(), dir, false); err != nil {
			t.Error(err)
		}
	})
	t.Run("NamespaceThatHears", func(t *testing.T) { // as those of services of systemd
		below := t.TempDir()
		if err := unix.Mount("tmpfs", below, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(below, unix.MNT_DETACH)
		if err := unix.Mount("", below, "", unix.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(below, "t")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(t, fs.Options{Mountpoint: dir}, fs.NewFakeTorrent(film()))
		hold(t, "slave", dir)
		m, err := mountpoint.Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Unmount(t.Context(), false); err != nil {
			t.Error(err)
		}
		if left := m.Remaining(); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}

// Loop devices and the like, which use a mount without a process, are named too.
func TestUnmountUsedByKernel(t *testing.T) {
	needRoot(t)
	t.Run("MountInside", func(t *testing.T) {
		_, dir := mount(t, fs.Options{}, fs.NewFakeTorrent(film()))
		inside := filepath.Join(dir, "film/extras")
		if err := unix.Mount("tmpfs", inside, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(inside, unix.MNT_DETACH)
		wantError(t, mountpoint.Unmount(t.Context(), dir, false), weir.ErrInUse, "tmpfs mounted at "+inside)
	})
	t.Run("Mapping", func(t *testing.T) {
		_, dir := mount(t, fs.Options{}, fs.NewFakeTorrent(film()))
		cmd := exec.Command("python3", "-c", `
import mmap, sys
with open(sys.argv[1], "rb") as f: m = mmap.mmap(f.fileno(), 4096, prot=mmap.PROT_READ)
print("ready", flush=True)
sys.stdin.read()`, filepath.Join(dir, "film/film.mkv"))
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer stdin.Close()
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
			t.Fatalf("%q, %v", line, err)
		}
		wantError(t, mountpoint.Unmount(t.Context(), dir, false), weir.ErrInUse, fmt.Sprintf("python3 (process %d)", cmd.Process.Pid))
	})
	t.Run("LoopDevice", func(t *testing.T) {
		_, dir := mount(t, fs.Options{}, fs.NewFakeTorrent(fs.FakeInfo("disk", fs.FakeFile{Path: "disk.img", Length: 4 << 20})))
		out, err := exec.Command("losetup", "-r", "-f", "--show", filepath.Join(dir, "disk/disk.img")).CombinedOutput()
		if err != nil {
			t.Skipf("NOT TESTED, this machine lets us have no loop device: %v, %s", err, out)
		}
		device := strings.TrimSpace(string(out))
		detach := func() {
			if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
				t.Errorf("%v, %s", err, out)
			}
		}
		err = mountpoint.Unmount(t.Context(), dir, false)
		detach()
		wantError(t, err, weir.ErrInUse, device+" of "+filepath.Join(dir, "disk/disk.img")+" (losetup -d "+device+")")
		fs.Eventually(t, "it can be unmounted then", func() bool { return mountpoint.Unmount(t.Context(), dir, false) == nil })
	})
}
