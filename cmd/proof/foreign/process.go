package foreign

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// output collects what a process prints, for the report of a failed test.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is a started program. exited is closed when it has ended.
type process struct {
	cmd    *exec.Cmd
	out    output
	exited chan struct{}
}

// start runs cmd until the test ends, then kills it and whatever it started.
func start(tb testing.TB, cmd *exec.Cmd) *process {
	tb.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	cmd.Stderr = &p.out
	// Its own group, so that all of it can be killed; and killed when we are.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start %s (make test installs it): %v", cmd.Path, err)
	}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // killed in the end, always an error
	}()
	tb.Cleanup(func() {
		p.stop()
		if tb.Failed() {
			tb.Logf("%s said:\n%s", cmd.Path, p.out.String())
		}
	})
	return p
}

// stop kills the process and its children, and waits for it.
func (p *process) stop() {
	select {
	case <-p.exited:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may be gone just now
		<-p.exited
	}
}

// poll calls ready until it returns nil, the process ends or time is up.
func (p *process) poll(tb testing.TB, what string, ready func() error) {
	tb.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(startTimeout)
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-p.exited:
			tb.Fatalf("%s ended before it was ready: %v\n%s", what, err, p.out.String())
		case <-deadline:
			tb.Fatalf("%s is not ready after %v: %v", what, startTimeout, err)
		case <-tick.C:
		}
	}
}

// Ports for clients lie beneath those that the system gives to whoever asks for
// any: between freePort and the client's listening, nobody comes upon one by chance.
const firstPort, portsInAll = 12000, 20000

var lastPort atomic.Int64

func init() { lastPort.Store(rand.Int64N(portsInAll)) }

// freePort returns a port that nobody listens on, at any address, over TCP or UDP.
// It is given once.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range portsInAll {
		port := firstPort + int(lastPort.Add(1)%portsInAll)
		addr := hostPort("", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", addr)
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = u.Close()
		return port
	}
	tb.Fatal("no free port")
	return 0
}

// accepts reports whether somebody listens at addr.
func accepts(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// run runs a program to its end and returns what it printed.
func run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%v (make test installs it): %v\n%s", cmd, err, out)
	}
	return strings.TrimSpace(string(out))
}

func hostPort(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

func isIPv6(ip string) bool { return strings.Contains(ip, ":") }
