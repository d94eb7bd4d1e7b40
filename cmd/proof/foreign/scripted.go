package foreign

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// python is Debian's, which is the one that python3-libtorrent serves; another
// that comes first in the path would not find the module.
const python = "/usr/bin/python3"

var (
	//go:embed peer.py
	peerScript string
	//go:embed testdata/webtorrent/peer.mjs
	webTorrentScript string
)

// scripted starts a peer that is a small program around a library: it takes a
// job in JSON as its last argument, and answers each line of its input with its
// State in JSON.
func scripted(tb testing.TB, job Job, program string, args ...string) *Peer {
	tb.Helper()
	port := freePort(tb)
	arg, err := json.Marshal(struct {
		Job
		Port int
	}{job, port})
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(program, append(args, string(arg))...)
	questions, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	// An own pipe: the one of StdoutPipe is closed by Wait, which is called early.
	r, w := io.Pipe()
	cmd.Stdout = w
	// anacrolix's files in memory can't be empty.
	cmd.Env = append(os.Environ(), "TORRENT_STORAGE_DEFAULT_FILE_IO=classic")
	p := start(tb, cmd)
	tb.Cleanup(func() { w.Close() })
	answers := make(chan string)
	go func() {
		defer close(answers)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			select {
			case answers <- lines.Text():
			case <-p.exited:
				return
			}
		}
	}()
	var mu sync.Mutex // one question at a time
	peer := &Peer{Addr: hostPort(job.IP, port), process: p}
	peer.state = func() (s State, err error) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := io.WriteString(questions, "\n"); err != nil {
			return s, err
		}
		select {
		case line := <-answers:
			return s, json.Unmarshal([]byte(line), &s)
		case <-p.exited:
			return s, fmt.Errorf("the peer ended: %s", p.out.String())
		case <-time.After(startTimeout):
			return s, fmt.Errorf("no answer within %v", startTimeout)
		}
	}
	p.poll(tb, program, func() error { return accepts(peer.Addr) })
	return peer
}

// Libtorrent runs libtorrent, the engine of qBittorrent and Deluge.
func Libtorrent(tb testing.TB, job Job) *Peer {
	tb.Helper()
	return scripted(tb, job, python, "-c", peerScript)
}

func libtorrentVersion(tb testing.TB) string {
	tb.Helper()
	return run(tb, python, "-c", "import libtorrent; print(libtorrent.__version__)")
}

// webTorrent runs webtorrent from the folder where .ci/need installed it, over
// TCP: it has no WebRTC and no µTP there.
func webTorrent(tb testing.TB, job Job) *Peer {
	tb.Helper()
	// Modules are looked for from the script's folder upwards.
	script := filepath.Join(nodeDir(tb), fmt.Sprintf("peer-%d.mjs", os.Getpid()))
	nodeOnce.Do(func() {
		if err := os.WriteFile(script, []byte(webTorrentScript), 0o600); err != nil {
			tb.Fatalf("write a script beside webtorrent (make test installs it): %v", err)
		}
	})
	return scripted(tb, job, "node", script)
}

var nodeOnce sync.Once

// nodeDir is where .ci/need installs webtorrent.
func nodeDir(tb testing.TB) string {
	tb.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(base, "weir-test", "webtorrent")
}

func webTorrentVersion(tb testing.TB) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(nodeDir(tb), "node_modules", "webtorrent", "package.json"))
	if err != nil {
		tb.Fatalf("webtorrent is not there (make test installs it): %v", err)
	}
	var p struct{ Version string }
	if err := json.Unmarshal(b, &p); err != nil {
		tb.Fatal(err)
	}
	return p.Version
}

// anacrolixEnv names the program that BuildAnacrolix made, for a process that
// runs the tests on behalf of another.
const anacrolixEnv = "WEIR_TEST_ANACROLIX"

// BuildAnacrolix builds the peer around anacrolix's Client into dir. It is a
// module of its own, in testdata/anacrolix.
func BuildAnacrolix(dir string) error {
	program := filepath.Join(dir, "anacrolix")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".")
	cmd.Dir = filepath.Join("testdata", "anacrolix")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the anacrolix peer: %w\n%s", err, out)
	}
	return os.Setenv(anacrolixEnv, program)
}

func anacrolix(tb testing.TB, job Job) *Peer {
	tb.Helper()
	return scripted(tb, job, os.Getenv(anacrolixEnv))
}

// Measured is what a program took to read a torrent.
type Measured struct {
	Seconds float64 `json:"seconds"` // of wall time
	CPU     float64 `json:"cpu"`     // seconds of the program alone
}

// MeasureAnacrolix has anacrolix's Client read a whole torrent into memory, from
// its begin to its end and from peers (host:port) alone, in a process of its own.
func MeasureAnacrolix(tb testing.TB, torrent string, peers []string) (m Measured) {
	tb.Helper()
	arg, err := json.Marshal(struct {
		Job
		Peers []string
	}{Job{Source: torrent, IP: NextIP(), Encryption: Off}, peers})
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal([]byte(run(tb, os.Getenv(anacrolixEnv), string(arg))), &m); err != nil {
		tb.Fatal(err)
	}
	return m
}

func anacrolixVersion(tb testing.TB) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "anacrolix", "go.mod"))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "github.com/anacrolix/torrent v")
	version, _, ok := strings.Cut(rest, "\n")
	if !ok {
		tb.Fatal("no version of the library in testdata/anacrolix/go.mod")
	}
	return version
}
