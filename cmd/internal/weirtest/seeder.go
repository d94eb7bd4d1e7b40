package weirtest

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Seeder is a running weir that serves files without a mount.
type Seeder struct {
	Addr string // for peers

	cmd            *exec.Cmd
	stdout, stderr *buffer
	ended          chan struct{} // closed when the process has ended
	err            error         // how; valid once ended is closed
}

var seedingOn = regexp.MustCompile(`(?m)^seeding .* on port (\d+);`)

// StartSeeder runs weir with args, which begin with the command, and returns when peers are
// served on loopback.
func StartSeeder(tb testing.TB, args ...string) *Seeder {
	tb.Helper()
	s := &Seeder{stdout: &buffer{}, stderr: &buffer{}, ended: make(chan struct{})}
	s.cmd = exec.Command(binary, append(args, "--dht=false", "--lsd=false", "--listen=127.0.0.1:0")...)
	s.cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+tb.TempDir())
	s.cmd.Stdout, s.cmd.Stderr = s.stdout, s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	tb.Cleanup(func() { s.cleanup(tb) })
	s.Await(tb, "it serves", func() bool {
		m := seedingOn.FindStringSubmatch(s.Log())
		if m != nil {
			s.Addr = "127.0.0.1:" + m[1]
		}
		return m != nil
	})
	return s
}

// Await returns once it is so; what says what is awaited.
func (s *Seeder) Await(tb testing.TB, what string, so func() bool) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(2 * startTimeout); !so(); {
		select {
		case <-tick.C:
		case <-s.ended:
			tb.Fatalf("weir ended before %s: %v\n%s", what, s.err, s.Log())
		case <-end:
			tb.Fatalf("after %v not yet: %s\n%s", 2*startTimeout, what, s.Log())
		}
	}
}

// Log returns what weir wrote to standard error so far.
func (s *Seeder) Log() string { return s.stderr.String() }

// Output returns what weir wrote to standard output so far.
func (s *Seeder) Output() string { return s.stdout.String() }

// Stop ends it as Ctrl-C does.
func (s *Seeder) Stop(tb testing.TB) {
	tb.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	select {
	case <-s.ended:
		if s.err != nil {
			tb.Errorf("weir ended after an interrupt: %v\n%s", s.err, s.Log())
		}
	case <-time.After(endTimeout):
		_ = s.cmd.Process.Kill()
		<-s.ended
		tb.Errorf("weir did not end within %v of an interrupt\n%s", endTimeout, s.Log())
	}
}

func (s *Seeder) cleanup(tb testing.TB) {
	select {
	case <-s.ended:
	default:
		s.Stop(tb)
	}
	if strings.Contains(s.Log(), "DATA RACE") {
		tb.Error("the race detector found something in weir")
	}
	if tb.Failed() {
		tb.Logf("weir said:\n%s", s.Log())
	}
}
