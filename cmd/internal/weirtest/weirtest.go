// Package weirtest runs the real weir for tests: it builds the command once,
// with the race detector when the test has it, starts mounts as processes of
// their own and makes sure that neither a process nor a mount outlives the test.
//
// Only tests use it. It knows weir by its command line alone.
package weirtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// How long a weir may take to say that it has mounted, and to end when told to,
// on a machine that has other work too.
const (
	startTimeout = 30 * time.Second
	endTimeout   = 20 * time.Second
)

const (
	module  = "github.com/weirfs/weir"
	command = module + "/cmd/weir"
)

// binary is the path of the built command; Main sets it.
var binary string

// Main builds weir, runs the tests of m and returns their exit code.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "weir")
	if err := errors.Join(os.Setenv("WEIR_DHT", "false"), os.Setenv("WEIR_LSD", "false"), os.Setenv("WEIR_CONFIG", os.DevNull)); err != nil { // no test talks to the world, or knows its user
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	args := []string{"build", "-buildvcs=false", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	if err := Go(append(args, command)...); err != nil {
		fmt.Fprintf(os.Stderr, "build weir: %v\n", err)
		return 1
	}
	return m.Run()
}

// Go runs the go command in the folder of weir's module, whichever module is tested:
// weir is built of the versions that its own go.mod names.
func Go(args ...string) error {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return fmt.Errorf("find the module %s: %w", module, err)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = strings.TrimSpace(string(dir))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// Binary returns the path of the built command.
func Binary() string { return binary }

// Mount is a running weir mount.
type Mount struct {
	Dir   string        // the mountpoint
	Names []string      // the torrents' folders, as weir printed them
	Ready time.Duration // from the start of the process until it said that it has mounted

	cmd    *exec.Cmd
	stderr *buffer
	ended  chan struct{} // closed when the process has ended
	err    error         // how; valid once ended is closed
	killed bool
}

// Start runs weir mount with args and sources on dir, which is made if need be,
// and returns when it has mounted.
func Start(tb testing.TB, dir string, args ...string) *Mount {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, syscall.ENOTCONN) {
		tb.Fatal(err)
	}
	m := &Mount{Dir: dir, stderr: &buffer{}, ended: make(chan struct{})}
	// Flags may stand after arguments; a test gives both in args.
	m.cmd = exec.Command(binary, slices.Concat([]string{"mount", "--log-level", "debug", dir}, args)...)
	m.cmd.Stderr = m.stderr
	// Killed when the test is: nobody would unmount then, but nothing would run on.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r, w := io.Pipe()
	m.cmd.Stdout = w
	begin := time.Now()
	if err := m.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		m.err = m.cmd.Wait()
		w.Close()
		close(m.ended)
	}()
	tb.Cleanup(func() { m.cleanup(tb) })

	first := make(chan string, 1)
	lines := bufio.NewReader(r)
	go func() {
		line, err := lines.ReadString('\n')
		if err != nil {
			close(first)
			return
		}
		first <- line
	}()
	select {
	case line, ok := <-first:
		m.Ready = time.Since(begin)
		if !ok {
			<-m.ended
			tb.Fatalf("weir mount ended: %v\n%s", m.err, m.stderr)
		}
		if !strings.HasPrefix(line, "mounted on ") {
			tb.Fatalf("weir mount said %q", line)
		}
	case <-time.After(startTimeout):
		tb.Fatalf("weir mount says nothing after %v\n%s", startTimeout, m.stderr)
	}
	for _, arg := range args {
		if isSource(arg) {
			line, err := lines.ReadString('\n')
			if err != nil {
				tb.Fatalf("read the torrents' names: %v", err)
			}
			m.Names = append(m.Names, strings.TrimSpace(line))
		}
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
	return m
}

// isSource tells sources from flags and their values, as far as tests use them:
// flags are given as --name=value.
func isSource(arg string) bool { return !strings.HasPrefix(arg, "--") }

// Path returns a path in the mount.
func (m *Mount) Path(elem ...string) string {
	return filepath.Join(append([]string{m.Dir}, elem...)...)
}

// Log returns what weir wrote to standard error so far.
func (m *Mount) Log() string { return m.stderr.String() }

// PID returns the process id.
func (m *Mount) PID() int { return m.cmd.Process.Pid }

// Signal sends the process a signal.
func (m *Mount) Signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		tb.Fatal(err)
	}
}

// Wait returns how the process ended.
func (m *Mount) Wait(tb testing.TB) error {
	tb.Helper()
	select {
	case <-m.ended:
		return m.err
	case <-time.After(endTimeout):
		tb.Fatalf("weir has not ended after %v\n%s", endTimeout, m.stderr)
		return nil
	}
}

// Kill ends the process with kill -9, which leaves a stale mount.
func (m *Mount) Kill(tb testing.TB) {
	tb.Helper()
	m.killed = true
	m.Signal(tb, syscall.SIGKILL)
	<-m.ended
}

// Unmount ends the mount as a user would, and fails the test if that doesn't
// end weir cleanly.
func (m *Mount) Unmount(tb testing.TB) {
	tb.Helper()
	if out, err := exec.Command(binary, "umount", m.Dir).CombinedOutput(); err != nil {
		tb.Errorf("weir umount: %v\n%s", err, out)
		return
	}
	if err := m.Wait(tb); err != nil {
		tb.Errorf("weir mount ended after weir umount: %v\n%s", err, m.stderr)
	}
}

// cleanup ends the process and the mount, escalating: plain, forced, lazy.
func (m *Mount) cleanup(tb testing.TB) {
	select {
	case <-m.ended:
	default:
		_ = m.cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-m.ended:
			if m.err != nil {
				tb.Errorf("weir mount ended after an interrupt: %v", m.err)
			}
		case <-time.After(endTimeout):
			m.killed = true
			_ = syscall.Kill(-m.PID(), syscall.SIGKILL)
			<-m.ended
			tb.Errorf("weir mount did not end within %v of an interrupt", endTimeout)
		}
	}
	if m.killed {
		// Another weir may have cleaned up, or be mounted there, in which case this
		// one's own cleanup is still to come or has run.
		_ = exec.Command("fusermount3", "-u", "-z", "-q", m.Dir).Run()
	}
	if strings.Contains(m.Log(), "DATA RACE") {
		tb.Error("the race detector found something in weir")
	}
	if tb.Failed() {
		tb.Logf("weir mount %s said:\n%s", m.Dir, m.Log())
	}
}

// buffer collects output, safe for concurrent use.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
