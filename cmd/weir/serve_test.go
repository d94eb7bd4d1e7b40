package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// served is a running weir serve.
type served struct {
	url   string // ends with a slash
	cache string
	cmd   *exec.Cmd
	log   bytes.Buffer
}

// startServe starts weir serve with a cache of its own, and waits for its address.
func startServe(t *testing.T, args ...string) *served {
	t.Helper()
	s := &served{cache: filepath.Join(t.TempDir(), "cache")}
	s.cmd = exec.Command(weirtest.Binary(), append([]string{"serve", "--http", "127.0.0.1:0", "--cache", s.cache, "--dht=false", "--lsd=false", "--listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
	s.cmd.Stderr = &s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	_, rest, ok := strings.Cut(line, "serving at ")
	if err != nil || !ok {
		t.Fatalf("weir serve says %q, %v", line, err)
	}
	s.url, _, _ = strings.Cut(rest, ",")
	return s
}

// TestServe reads a torrent over HTTP from a weir without a mount, and uses its control socket
// through the cache folder.
func TestServe(t *testing.T) {
	p := seedSample(t, 3<<20, simnet.Link{})
	s := startServe(t, "--peer="+p.seeder.Addr(), p.torrent)
	get := func(path string) (*http.Response, []byte) {
		t.Helper()
		resp, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, b
	}
	want := make([]byte, 3<<20)
	if _, err := p.content.ReadFileAt(0, want, 0); err != nil {
		t.Fatal(err)
	}
	if resp, b := get("f/sample/big.bin"); resp.StatusCode != 200 || !bytes.Equal(b, want) {
		t.Errorf("big.bin: status %d, %d bytes", resp.StatusCode, len(b))
	}
	for _, download := range [][]string{
		{"curl", "-sSf", "-C", "-", "-o", "FILE", "URL"},
		{"wget", "-q", "-c", "-O", "FILE", "URL"},
		{"aria2c", "-q", "-x16", "-s16", "-k1M", "--allow-overwrite=true", "-d", "/", "-o", "FILE", "URL"},
	} {
		file := filepath.Join(t.TempDir(), "download")
		if download[0] != "aria2c" { // the others resume
			if err := os.WriteFile(file, want[:1<<20], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var args []string
		for _, a := range download[1:] {
			args = append(args, strings.NewReplacer("FILE", file, "URL", s.url+"f/sample/big.bin").Replace(a))
		}
		if out, err := exec.Command(download[0], args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", download[0], err, out)
		}
		if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s has %d bytes, %v", download[0], len(b), err)
		}
	}
	weir := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(weirtest.Binary(), args...).CombinedOutput()
		if err != nil {
			t.Errorf("weir %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	if out := weir("ls", s.cache); !strings.Contains(out, "sample") {
		t.Errorf("weir ls says\n%s", out)
	}
	weir("pin", filepath.Join(s.cache, "sample", "sub"))
	weir("rm", filepath.Join(s.cache, "sample"))
	if resp, _ := get("f/sample/big.bin"); resp.StatusCode != 404 {
		t.Errorf("after weir rm: %d", resp.StatusCode)
	}
	s.end(t)
}

// end asks it to end, as Ctrl-C does, and waits for that.
func (s *served) end(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer stuck.Stop()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("weir serve ended with %v", err)
	}
}

// TestServeToken: with a token in its address weir lets in, and without one it does not.
func TestServeToken(t *testing.T) {
	s := startServe(t, "--http-token")
	at, query, ok := strings.Cut(s.url, "?")
	if !ok {
		t.Fatalf("the address is %q", s.url)
	}
	for url, status := range map[string]int{at: 401, s.url: 200, at + "?" + query + "x": 401} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %d instead of %d", url, resp.StatusCode, status)
		}
	}
	s.end(t)
	if b := s.log.String(); strings.Contains(b, strings.TrimPrefix(query, "token=")) {
		t.Errorf("the token is in the log:\n%s", b)
	}
}

// TestMountHTTP reads the same bytes from a mount and over its HTTP.
func TestMountHTTP(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--http=127.0.0.1:0", "--peer="+p.seeder.Addr(), p.torrent)...)
	_, rest, ok := strings.Cut(m.Log(), "HTTP is served")
	_, rest, _ = strings.Cut(rest, "address=")
	addr := strings.Fields(rest + " -")[0]
	if !ok {
		t.Fatalf("no address of HTTP in the log:\n%s", m.Log())
	}
	resp, err := http.Get("http://" + addr + "/f/sample/big.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(m.Path("sample", "big.bin"))
	if err != nil || !bytes.Equal(got, b) || len(b) != 1<<20 {
		t.Errorf("%d bytes over HTTP, %d in the mount, %v", len(b), len(got), err)
	}
}
