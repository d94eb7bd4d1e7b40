package fs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Tests start the test program again as a child for what must be another
// process: a reader to kill, or a weir that crashes.
const childEnv = "WEIR_FS_TEST_CHILD"

// runAsChild does the work of a child process, if this is one.
func runAsChild() bool {
	arg := os.Getenv(childEnv + "_ARG")
	switch os.Getenv(childEnv) {
	case "":
		return false
	case "read":
		fmt.Println("ready")
		b, err := os.ReadFile(arg)
		fmt.Println(len(b), err)
	case "hold":
		file, err := os.Open(arg)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		defer file.Close()
		fmt.Println("ready")
		bufio.NewReader(os.Stdin).ReadByte()
	case "unprivileged":
		if err := becomeNobody(arg); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "serve":
		f := New(Options{Mountpoint: arg})
		if _, err := f.Add("crashed", NewFakeTorrent(FakeInfo("crashed", FakeFile{Path: "f", Length: 5}))); err != nil {
			panic(err)
		}
		if err := f.Mount(); err != nil {
			panic(err)
		}
		fmt.Println("ready")
		if err := f.Serve(context.Background()); err != nil {
			panic(err)
		}
	}
	return true
}

// nobody is a user without rights.
const nobody = 65534

// becomeNobody runs this program's tests that match run again, as a user without
// rights. It is called in a mount namespace of its own, where it sees to it that
// everybody may use /dev/fuse, as on most systems.
func becomeNobody(run string) error {
	self, err := os.Open("/proc/self/exe") // its folder may be closed to nobody
	if err != nil {
		return err
	}
	if info, err := os.Stat("/dev/fuse"); err != nil {
		return err
	} else if info.Mode().Perm() != 0o666 {
		device := filepath.Join(os.Getenv("TMPDIR"), "fuse")
		if err := errors.Join(
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), leaveMounts(),
			unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))), os.Chmod(device, 0o666),
			unix.Mount(device, "/dev/fuse", "", unix.MS_BIND, ""),
		); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Chdir("/"), syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, childEnv) })
	return syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", self.Fd()), []string{os.Args[0], "-test.v", "-test.timeout=100s", "-test.run=" + run}, env)
}

// leaveMounts unmounts this namespace's copies of all weir mounts, so that their owners can
// unmount them everywhere.
func leaveMounts() error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if !slices.Contains(fields, "fuse.weir") {
			continue
		}
		point, quoted := strconv.Unquote(`"` + fields[4] + `"`) // it has \040 for a space, as Go does
		err = errors.Join(err, quoted, unix.Unmount(point, unix.MNT_DETACH))
	}
	return err
}

// StartChild starts a child process and returns when it is ready. It ends at the
// end of the test at the latest.
func StartChild(tb testing.TB, work, arg string) *exec.Cmd {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+work, childEnv+"_ARG="+arg)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		tb.Fatalf("child %s %s: %q, %v", work, arg, line, err)
	}
	return cmd
}

// Mounting, interrupting and changing work for a user without rights as they do
// for root.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("all tests of this run are of a user without rights")
		return
	}
	tmp, err := os.MkdirTemp("", "weir-nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	tests := []string{"TestMountContent", "TestInterrupt", "TestKilledReader", "TestUnmount", "TestCopyIn", "TestRemoveRecursive", "TestByHash"}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=unprivileged", childEnv+"_ARG=^("+strings.Join(tests, "|")+")$", "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range tests {
		if !bytes.Contains(out, []byte("--- PASS: "+name+" ")) {
			t.Errorf("%s did not pass:\n%s", name, out)
		}
	}
}
