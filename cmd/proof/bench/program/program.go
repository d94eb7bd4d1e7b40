// Package program runs what is measured: weir, and btfs where it is installed.
// Both are processes that mount a torrent. They are started, observed and ended here,
// and known only by their command lines.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The programs.
const (
	Weir = "weir"
	BTFS = "btfs"
)

// Options say what to start.
type Options struct {
	Name   string   // Weir or BTFS
	Path   string   // of the program
	Source string   // a .torrent or a magnet; btfs takes one
	More   []string // sources beside it, for weir
	Cache  string   // folder, made if need be
	Mount  string   // folder, made if need be
	Args   []string // more flags
	// Torrent and Single are the torrent's name and whether it has the single-file
	// form, for which the programs show different paths.
	Torrent string
	Single  bool
}

// endTimeout bounds how long a program may take to end when told to.
const endTimeout = 15 * time.Second

// Process is a running program.
type Process struct {
	o      Options
	Start  time.Time // when the process was started
	cmd    *exec.Cmd
	log    buffer
	exited chan struct{} // closed when it has ended
	stop   func() bool
}

// Start starts the program and returns at once. If ctx ends before Stop, it is
// killed.
func Start(ctx context.Context, o Options) (*Process, error) {
	for _, dir := range []string{o.Cache, o.Mount} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	var args []string
	switch o.Name {
	case Weir:
		args = append([]string{"mount", "--dht=false", "--lsd=false", "--cache=" + o.Cache}, o.Args...)
		args = append(args, o.Mount)
		if o.Source != "" {
			args = append(args, o.Source)
		}
		args = append(args, o.More...)
	case BTFS:
		args = append([]string{"-f", "--data-directory=" + o.Cache}, o.Args...)
		args = append(args, o.Source, o.Mount)
	default:
		return nil, fmt.Errorf("no program %q", o.Name)
	}
	if err := readAll(o.Path); err != nil { // so that its start is not the disk's
		return nil, err
	}
	p := &Process{o: o, cmd: exec.Command(o.Path, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	// Its own group, out of reach of a Ctrl-C that is meant for us; killed when we are.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Env = p.Env()
	p.Start = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // Stop looks at how it ended
		close(p.exited)
	}()
	p.stop = context.AfterFunc(ctx, p.kill)
	return p, nil
}

// readAll brings a file into the page cache.
func readAll(name string) error {
	_, err := os.ReadFile(name)
	return err
}

// Env returns the environment of the program: the user's, but without what the user
// has set up for weir.
func (p *Process) Env() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WEIR_") && !strings.HasPrefix(v, "XDG_") && !strings.HasPrefix(v, "HOME=") {
			env = append(env, v)
		}
	}
	home := filepath.Dir(p.o.Mount)
	return append(env, "HOME="+home, "XDG_RUNTIME_DIR="+home)
}

// Path returns where the program shows a file of its torrent.
func (p *Process) Path(elem ...string) string {
	switch {
	case !p.o.Single:
		elem = append([]string{p.o.Torrent}, elem...)
	case p.o.Name == Weir:
		elem = []string{p.o.Torrent, p.o.Torrent}
	default:
		elem = []string{p.o.Torrent}
	}
	return filepath.Join(append([]string{p.o.Mount}, elem...)...)
}

// Mount returns the mountpoint.
func (p *Process) Mount() string { return p.o.Mount }

// Cache returns the folder of the program's cache.
func (p *Process) Cache() string { return p.o.Cache }

// Open opens a file of the mount, waiting until it is there.
func (p *Process) Open(ctx context.Context, elem ...string) (*os.File, error) {
	if err := p.Visible(ctx, elem...); err != nil {
		return nil, err
	}
	return os.Open(p.Path(elem...))
}

// Visible returns when a file or folder of the torrent is there.
func (p *Process) Visible(ctx context.Context, elem ...string) error {
	return p.VisibleAt(ctx, p.Path(elem...))
}

// VisibleAt returns when something is at a path.
func (p *Process) VisibleAt(ctx context.Context, path string) error {
	every := time.Millisecond
	if p.o.Name == BTFS {
		every = 20 * time.Millisecond // it aborts when somebody looks before it has read the torrent
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		// Until it is mounted, looking costs the program nothing.
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("%s shows no files: %w", p.o.Name, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Log returns what the program said so far.
func (p *Process) Log() string { return p.log.String() }

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// CPU returns the processor time that the program has used so far.
func (p *Process) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	var ticks int64
	for _, s := range f[11:13] { // user and system time, in hundredths of a second
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Memory returns the anonymous memory that the program holds, in bytes.
func (p *Process) Memory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			var kib int64
			if _, err := fmt.Sscan(value, &kib); err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// kill ends the program at once; reads in its mount fail.
func (p *Process) kill() { p.cmd.Process.Kill() }

// Stop ends the program as a user would, and by force if that takes too long,
// which is an error.
func (p *Process) Stop() error {
	defer unmount(p.o.Mount)
	defer p.stop()
	p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.exited:
	case <-time.After(endTimeout):
		p.kill()
		<-p.exited
		return fmt.Errorf("%s did not end within %v of an interrupt", p.o.Name, endTimeout)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && p.o.Name == Weir {
		return p.ended()
	}
	return nil
}

// Terminate ends the program with SIGTERM and returns how long that took.
func (p *Process) Terminate() (time.Duration, error) {
	begin := time.Now()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return time.Since(begin), nil
	case <-time.After(endTimeout):
		return time.Since(begin), fmt.Errorf("%s did not end within %v of SIGTERM", p.o.Name, endTimeout)
	}
}

// ended says how the program ended, with its last words.
func (p *Process) ended() error {
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	return fmt.Errorf("%s ended: %v: %s", p.o.Name, p.cmd.ProcessState, lines[len(lines)-1])
}

// unmount takes away what a killed program has left.
func unmount(dir string) {
	if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); errors.Is(err, unix.EPERM) {
		_ = exec.Command("fusermount3", "-u", "-z", "-q", dir).Run() // not mounted, most of the time
	}
}

// buffer collects output, safe for concurrent use. It keeps the beginning.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

const maxLogBytes = 64 << 10

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p[:min(len(p), max(0, maxLogBytes-b.buf.Len()))])
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
