package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// commandTimeout is generous: an idle machine needs well below a second.
const commandTimeout = 2 * time.Minute

// endBound is how long weir may take to end.
const endBound = time.Minute

// Mount is the mount that is tested, over all restarts of weir.
type Mount struct {
	opt    Options
	faults *FaultLog
	dir    string // of the mount
	cache  string
	disk   string // a tmpfs of its own for the cache; "" is none
	log    *os.File
	flags  []string

	mu      sync.Mutex
	weir    *process
	starts  int
	lostAt  map[int]func() // starts with a new cache, and what to call when all torrents are there again
	longest time.Duration  // that an end took
}

// process is weir from one start to its end.
type process struct {
	cmd      *exec.Cmd
	listen   string        // address for peers
	ended    chan struct{} // closed when it has ended
	err      error         // how; valid once ended is closed
	read     chan struct{} // closed when its log has been read
	mu       sync.Mutex
	expected bool   // that it ends
	metrics  string // address, "" until it is known
	last     string // line of its log

}

// Start starts weir and returns when it has mounted.
func (m *Mount) Start(ctx context.Context) error {
	var err error
	for range 5 { // somebody else may take the port
		if err = m.start(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (m *Mount) start(ctx context.Context) error {
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	args := append([]string{"mount", "--listen", listen}, m.flags...)
	p := &process{listen: listen, cmd: exec.Command(m.opt.Weir, append(args, m.dir)...), ended: make(chan struct{}), read: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "WEIR_CONFIG="+os.DevNull)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	p.cmd.Stderr = w
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(p.read)
		m.readLog(p, r)
	}()
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(stdout)
		line, _ := lines.ReadString('\n') // what is missing is seen in line
		if line == "" {
			p.expect() // that it ends without having mounted is what start returns
		}
		ready <- line
		_, _ = io.Copy(io.Discard, lines)
		p.err = p.cmd.Wait()
		_ = w.Close()
		close(p.ended)
		<-p.read
		p.mu.Lock()
		expected, last := p.expected, p.last
		p.mu.Unlock()
		if !expected {
			m.faults.Fail("weir ended by itself: %v; last line of its log: %s", p.err, last)
		}
	}()
	select {
	case line := <-ready:
		if strings.HasPrefix(line, "mounted on ") {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.weir, m.starts = p, m.starts+1
			return nil
		}
		err = fmt.Errorf("weir mount printed %q", line)
	case <-time.After(commandTimeout):
		err = fmt.Errorf("weir mount printed nothing within %v", commandTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.expect()
	m.force(p)
	return err
}

// bad is what must not be in a log.
var bad = regexp.MustCompile(`^panic: |^fatal error: |DATA RACE|level=ERROR|^SIG[A-Z]+: |unexpected fault address`)

var metricsAddress = regexp.MustCompile(`metrics are served.* address=(\S+)`)

// readLog copies a log to the file and looks for what must not be in there.
func (m *Mount) readLog(p *process, r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		_, _ = m.log.WriteString(line)
		if line != "" {
			p.mu.Lock()
			p.last = strings.TrimSpace(line)
			p.mu.Unlock()
		}
		if found := metricsAddress.FindStringSubmatch(line); found != nil {
			p.mu.Lock()
			p.metrics = found[1]
			p.mu.Unlock()
		}
		// That the cache is gone is an error by right.
		if bad.MatchString(line) && (!strings.Contains(line, m.cache+" was removed") && !strings.Contains(line, "the cache folder was removed") || !m.faults.InForce(slack, CacheGone)) {
			m.faults.Fail("weir's log: %s", strings.TrimSpace(line))
		}
		if err != nil {
			return
		}
	}
}

func (p *process) expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = true
}

// Process returns the current process, and how often weir was started.
func (m *Mount) Process() (p *process, starts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.weir, m.starts
}

// End ends weir with a signal and waits; it must end, and cleanly unless killed.
func (m *Mount) End(sig syscall.Signal) {
	p, _ := m.Process()
	p.expect()
	begin := time.Now()
	_ = p.cmd.Process.Signal(sig) // it may have ended by itself, which is recorded
	select {
	case <-p.ended:
		<-p.read
		if sig != syscall.SIGKILL && p.err != nil {
			p.mu.Lock()
			m.faults.Fail("weir ended after %v: %v; last line of its log: %s", sig, p.err, p.last)
			p.mu.Unlock()
		}
	case <-time.After(endBound):
		m.faults.Fail("weir has not ended %v after %v", endBound, sig)
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines are in the log
		pause(context.Background(), 5*time.Second)
		m.force(p)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.longest = max(m.longest, time.Since(begin))
}

// force kills a process. While one of its threads waits in the kernel for the mount, that
// takes a forced unmount.
func (m *Mount) force(p *process) {
	_ = p.cmd.Process.Kill() // it may have ended
	for range 5 {
		select {
		case <-p.ended:
			<-p.read
			return
		case <-time.After(5 * time.Second):
			_ = syscall.Unmount(m.dir, syscall.MNT_FORCE) // fails as busy, but ends the requests
		}
	}
	m.faults.Fail("weir can't be killed")
}

// Close kills weir if it runs, and unmounts.
func (m *Mount) Close() error {
	if p, _ := m.Process(); p != nil {
		p.expect()
		m.force(p)
	}
	_ = exec.Command("fusermount3", "-u", "-z", "-q", m.dir).Run() // the guard may have done it
	if m.disk != "" {
		return errors.Join(syscall.Unmount(m.disk, syscall.MNT_DETACH), m.log.Close())
	}
	return m.log.Close()
}

// forget records that the next start will have no torrents.
func (m *Mount) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lostAt[m.starts+1] = m.faults.Begin(Forgotten, "")
}

// remembers records that all torrents were added again after a start.
func (m *Mount) remembers(start int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, end := range m.lostAt {
		if n <= start {
			end()
		}
	}
}

// lost reports whether one of the starts after behind, up to start, had a new cache.
func (m *Mount) lost(behind, start int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := behind + 1; n <= start; n++ {
		if m.lostAt[n] != nil {
			return true
		}
	}
	return false
}

// Command runs another weir command; an error has what it printed.
func (m *Mount) Command(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.opt.Weir, args...)
	cmd.Env = append(os.Environ(), "WEIR_CONFIG="+os.DevNull)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = commandTimeout
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("weir %s: %w: %s", args[0], errors.Join(err, ctx.Err()), strings.TrimSpace(string(out)))
	}
	return nil
}

// Path returns a path in the mount.
func (m *Mount) Path(elem ...string) string {
	return filepath.Join(append([]string{m.dir}, elem...)...)
}

// freeAddress returns an address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
