package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// nobody is the user who runs weir when the tests are root's.
const nobody = "65534"

// somebody runs commands without being root, in a home folder.
type somebody struct {
	home   string
	prefix []string // of each command line
	proc   string   // has the mountinfo that the user sees
}

// newSomebody returns whoever runs the tests, or nobody if that is root: then in a
// mount namespace in which /dev/fuse is open to all, as it is on most systems and
// not in all test machines.
func newSomebody(t *testing.T) *somebody {
	t.Helper()
	u := &somebody{home: t.TempDir(), proc: "/proc/self"}
	if os.Geteuid() != 0 {
		return u
	}
	const script = `umount -c -l -a -t fuse.weir # of other tests: they could not be unmounted
		mkdir "$1/dev" && mount -t tmpfs -o mode=755 tmpfs "$1/dev" &&
		mknod -m 666 "$1/dev/fuse" c 10 229 && mount --bind "$1/dev/fuse" /dev/fuse && echo ready && exec cat`
	holder := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", t.TempDir())
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	holder.Stderr = os.Stderr
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := holder.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the namespace is not ready: %q, %v", line, err)
	}
	pid := strconv.Itoa(holder.Process.Pid)
	u.proc = "/proc/" + pid
	u.prefix = []string{"nsenter", "--mount", "--target", pid, "--",
		"setpriv", "--reuid", nobody, "--regid", nobody, "--clear-groups", "--",
		"sh", "-c", `cd "$HOME" && exec "$@"`, "sh"}
	for _, dir := range []string{u.home, filepath.Dir(u.home), filepath.Dir(weirtest.Binary())} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	id, err := strconv.Atoi(nobody)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(u.home, id, id); err != nil {
		t.Fatal(err)
	}
	return u
}

// command returns a command of the user in the home folder.
func (u *somebody) command(args ...string) *exec.Cmd {
	args = append(append([]string(nil), u.prefix...), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = u.home
	cmd.Env = []string{"HOME=" + u.home, "PATH=" + os.Getenv("PATH"), "WEIR_DHT=false", "WEIR_LSD=false", "WEIR_CONFIG=/dev/null"}
	return cmd
}

// must runs a command that has to succeed, and returns its output.
func (u *somebody) must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := ends(t, u.command(args...))
	if code != 0 {
		t.Fatalf("%q: exit code %d: %s%s", args, code, stdout, stderr)
	}
	return stdout
}

// fails runs a command that has to fail with an exit code, saying something.
func (u *somebody) fails(t *testing.T, want int, says string, args ...string) {
	t.Helper()
	code, _, stderr := ends(t, u.command(args...))
	if code != want || !strings.Contains(stderr, says) {
		t.Errorf("%q: exit code %d: %s; want code %d and %q", args, code, stderr, want, says)
	}
}

func (u *somebody) mounted(t *testing.T, dir string) bool {
	t.Helper()
	b, err := os.ReadFile(u.proc + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), " "+dir+" ")
}

// TestUnprivileged does what the README says as somebody who is not root.
func TestUnprivileged(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	u := newSomebody(t)
	weir, mnt := weirtest.Binary(), filepath.Join(u.home, "t")
	b, err := os.ReadFile(p.torrent)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(u.home, "x.torrent"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	mount := []string{weir, "mount", "--listen=127.0.0.1:0", "--peer=" + p.seeder.Addr(), "t", "x.torrent"}

	u.must(t, "mkdir", "t")
	if out := u.must(t, weir, "doctor"); !strings.Contains(out, "set-user-ID root") {
		t.Errorf("doctor says %s", out)
	}
	u.must(t, append(mount, "--detach")...)
	if got := u.must(t, "sha256sum", "t/sample/sub/one.bin"); !strings.HasPrefix(got, p.sum(t, 1)) {
		t.Errorf("the content is wrong: %s", got)
	}
	u.fails(t, 1, "Read-only file system", "touch", "t/sample/x")
	u.fails(t, 1, "a weir is mounted there", append(mount, "--cache=c2")...)
	u.must(t, weir, "umount", "t")
	if u.mounted(t, mnt) {
		t.Error("it is still mounted")
	}
	u.fails(t, 1, "user_allow_other", append(mount, "--allow-other")...)
	u.fails(t, 1, "/proc/weir", append(mount, "--cache=/proc/weir")...)
	u.fails(t, 1, "mkdir -p", weir, "mount", "missing", "x.torrent")
	u.fails(t, 1, "you may not write there", weir, "mount", "/usr", "x.torrent")

	// Killed: the guard is no more privileged.
	cmd := u.command(mount...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("mounted on"))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	eventually(t, "the mount is gone", func() bool { return !u.mounted(t, mnt) })
}
