package remotehosts

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

//go:embed seeder.py
var seederScript string

// python is Debian's, for which python3-libtorrent is a package; another one in
// front of it on the path may not have the module.
const python = "/usr/bin/python3"

// LibtorrentVersion returns the version of the libtorrent that python3-libtorrent
// brings, and false where it isn't installed.
func LibtorrentVersion() (string, bool) {
	out, err := exec.Command(python, "-c", "import libtorrent; print(libtorrent.__version__, end='')").Output()
	return string(out), err == nil
}

// process is a libtorrent seeder.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	mu     sync.Mutex // one job at a time
	frozen bool       // guarded by mu
}

// startProcess starts a seeder that listens on ip, and returns once it does.
func startProcess(ip string) (*process, error) {
	addr := net.JoinHostPort(ip, SeederPort)
	p := &process{cmd: exec.Command(python, "-c", seederScript, addr)}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := p.do(job{Op: "ping"}); err != nil {
		p.close()
		return nil, fmt.Errorf("start a libtorrent seeder: %w", err)
	}
	if err := waitFor(addr); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// waitFor returns when somebody listens at addr.
func waitFor(addr string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("a seeder doesn't listen: %w", err)
		}
	}
}

type job struct {
	Op      string `json:"op"`
	Torrent string `json:"torrent"`
	Dir     string `json:"dir"`
}

type answer struct {
	Uploaded int64 `json:"uploaded"`
}

var errFrozen = errors.New("the seeder is frozen")

// do gives the seeder a job and waits for its answer.
func (p *process) do(j job) (a answer, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen {
		return a, errFrozen
	}
	b, err := json.Marshal(j)
	if err != nil {
		return a, err
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		return a, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("libtorrent seeder, job %s: %w", j.Op, err)
	}
	return a, json.Unmarshal(line, &a)
}

func (p *process) load(torrent, dir string) error {
	_, err := p.do(job{Op: "add", Torrent: torrent, Dir: dir})
	return err
}

func (p *process) unload() error {
	_, err := p.do(job{Op: "remove"})
	return err
}

// uploaded returns bytes of content sent, in libtorrent's count, which is renewed
// once a second. A frozen seeder tells nothing.
func (p *process) uploaded() (int64, error) {
	a, err := p.do(job{Op: "uploaded"})
	if errors.Is(err, errFrozen) {
		return 0, nil
	}
	return a.Uploaded, err
}

// freeze stops the process as it stands: its connections stay open, and nothing
// comes out of them but what the kernel has already.
func (p *process) freeze() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
	return p.cmd.Process.Signal(syscall.SIGSTOP)
}

func (p *process) isFrozen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frozen
}

// close kills the process and waits for it.
func (p *process) close() {
	p.cmd.Process.Kill()
	_ = p.cmd.Wait() // killed, always an error
}
