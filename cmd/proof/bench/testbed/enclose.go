// Package testbed is where benchmarks take place: processes, networks and folders
// that exist for one run and leave nothing behind.
//
// As root a run is enclosed: it gets its own namespaces for processes, mounts and the
// network. So all of it ends with its first process, however that ends, and no packet
// leaves the machine. A second network, the far end, is reached over a line with delay
// and rates. Without root a run uses the machine's loopback, and a relay instead of the
// line.
//
// What lives here knows nothing of what is measured.
package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// roleEnv says what a process that this program has started from itself is for.
const roleEnv = "WEIR_BENCH_ROLE"

// The roles.
const (
	roleInside = "inside" // the benchmark proper, enclosed
	roleFar    = "far"    // the remote hosts
	roleLine   = "line"   // carries packets to and fro
)

// CanEnclose reports whether a run can be enclosed: only root may.
func CanEnclose() bool { return os.Geteuid() == 0 }

// Inside reports whether this process is enclosed.
func Inside() bool { return os.Getenv(roleEnv) == roleInside }

// Enclose runs this program again with the same arguments, enclosed, and returns
// its exit code. When ctx ends it is told so; what it prints goes where ours goes.
func Enclose(ctx context.Context, work *WorkDir, stdout, stderr io.Writer) (int, error) {
	runtime.LockOSThread() // the child is told to die with the thread that made it
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append(os.Environ(), roleEnv+"="+roleInside, workEnv+"="+work.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // a Ctrl-C reaches it through us
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endTimeout
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return 1, fmt.Errorf("enclose the run: %w", err)
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, fmt.Errorf("the enclosed run: %v", cmd.ProcessState)
}

// openInside makes an enclosed process's mounts its own: nothing that is mounted
// from now on is seen outside, /proc tells of the enclosed processes, and weir
// mounts from outside are not here, so that they can be unmounted there meanwhile.
func openInside() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	unmountWhere(func(_, fsType string) bool { return fsType == "fuse.weir" })
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// pipe is a connection to a process over its standard input and output.
type pipe struct {
	io.Reader
	io.WriteCloser
}

// child starts this program in a role. files become its descriptors from 3 on.
func child(role string, stderr io.Writer, files ...*os.File) (*exec.Cmd, io.ReadWriteCloser, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr, cmd.ExtraFiles = stderr, files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start the %s process: %w", role, err), in.Close())
	}
	return cmd, pipe{out, in}, nil
}
