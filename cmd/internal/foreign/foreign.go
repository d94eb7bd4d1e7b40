// Package foreign starts BitTorrent programs that weir's authors did not write,
// so that tests meet the protocol as others understand it: libtorrent (through
// Debian's Python), transmission-daemon and aria2c as seeders on loopback, and
// mktorrent and transmission-create as makers of torrents.
//
// Only tests use it. It knows nothing of weir's engine; a seeder is a process,
// an address and some content on disk. Every process ends with the test that
// started it, also when the test itself is killed.
package foreign

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds how long a client may take from its start to its first
// accepted connection, hash check of the content included.
const startTimeout = 60 * time.Second

// Seed is a torrent with the content that a seeder serves.
type Seed struct {
	Torrent string // path of the .torrent file
	Dir     string // the folder that holds the torrent's file or folder
}

// Seeder is a running client that has all of a torrent.
type Seeder struct {
	Addr string // host:port, on 127.0.0.0/8

	uploaded func() (int64, error) // nil where the client can't say
}

// Uploaded returns how many bytes of content the seeder has sent to peers, in
// payload, without the protocol around it. Only libtorrent says.
func (s *Seeder) Uploaded(tb testing.TB) int64 {
	tb.Helper()
	if s.uploaded == nil {
		tb.Fatal("this client doesn't count what it uploads")
	}
	n, err := s.uploaded()
	if err != nil {
		tb.Fatalf("ask the seeder for its counter: %v", err)
	}
	return n
}

// Client starts seeders of one kind.
type Client struct {
	Name string
	// Start seeds on the loopback address ip and returns once the seeder accepts
	// peers; it ends with tb.
	Start func(tb testing.TB, ip string, seed Seed) *Seeder
}

// Clients are all that weir is tested against.
var Clients = []Client{
	{"libtorrent", Libtorrent},
	{"transmission", Transmission},
	{"aria2", Aria2},
}

// output collects what a process says, for the report of a failed test.
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
	out    output
	exited chan struct{}
}

// start runs cmd until the test ends, then kills it and whatever it started.
func start(tb testing.TB, cmd *exec.Cmd) *process {
	tb.Helper()
	p := &process{exited: make(chan struct{})}
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
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may be gone already
		<-p.exited
		if tb.Failed() {
			tb.Logf("%s said:\n%s", cmd.Path, p.out.String())
		}
	})
	return p
}

// freePort returns a port that nobody listens on at ip. Somebody else may take
// it before it is used; on an address that only one client uses that does not
// happen in practice.
func freePort(tb testing.TB, ip string) int {
	tb.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// poll calls ready until it returns nil, the process ends or time is up.
func (p *process) poll(tb testing.TB, what string, ready func() error) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
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
			tb.Fatalf("%s is not ready after %v: %v\n%s", what, startTimeout, err, p.out.String())
		case <-tick.C:
		}
	}
}

// accepts reports whether somebody listens at addr.
func accepts(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// run runs a program to its end and returns what it said.
func run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%v (make test installs it): %v\n%s", cmd, err, out)
	}
	return string(out)
}

func hostPort(ip string, port int) string { return net.JoinHostPort(ip, fmt.Sprint(port)) }
