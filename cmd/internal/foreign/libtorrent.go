package foreign

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// python is Debian's, which is the one that python3-libtorrent serves; another
// that comes first in the path would not find the module.
const python = "/usr/bin/python3"

//go:embed seed.py
var seedScript string

// Libtorrent seeds with libtorrent, the engine of qBittorrent and Deluge. It is
// the one seeder here that counts what it uploads.
func Libtorrent(tb testing.TB, ip string, seed Seed) *Seeder {
	tb.Helper()
	cmd := exec.Command(python, "-c", seedScript, seed.Torrent, seed.Dir, ip)
	questions, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	// An own pipe: the one of StdoutPipe is closed by Wait, which is called early.
	r, w := io.Pipe()
	cmd.Stdout = w
	p := start(tb, cmd)
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
	tb.Cleanup(func() { w.Close() })

	number := func() (int64, error) {
		select {
		case line := <-answers:
			return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		case <-p.exited:
			return 0, fmt.Errorf("the seeder ended: %s", p.out.String())
		case <-time.After(startTimeout):
			return 0, fmt.Errorf("no answer within %v", startTimeout)
		}
	}
	port, err := number()
	if err != nil {
		tb.Fatalf("start a libtorrent seeder: %v\n%s", err, p.out.String())
	}
	var mu sync.Mutex // one question at a time
	return &Seeder{
		Addr: hostPort(ip, int(port)),
		uploaded: func() (int64, error) {
			mu.Lock()
			defer mu.Unlock()
			if _, err := io.WriteString(questions, "\n"); err != nil {
				return 0, err
			}
			return number()
		},
	}
}
