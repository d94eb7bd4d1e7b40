package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

const pieceBytes = 256 << 10

// seededSample is a torrent with its swarm.
type seededSample struct {
	content *swarmtest.Content
	seeder  *swarmtest.Seeder
	torrent string // path of a .torrent that names no peer
	magnet  string // that names no peer
}

// seedSample makes a torrent of a big and two small files, and one seeder.
func seedSample(tb testing.TB, bigBytes int64, link simnet.Link) *seededSample {
	tb.Helper()
	c, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name:        "sample",
		PieceLength: pieceBytes,
		Files: []swarmtest.File{
			{Path: []string{"big.bin"}, Length: bigBytes, Seed: 1},
			{Path: []string{"sub", "one.bin"}, Length: 3*pieceBytes + 5, Seed: 2},
			{Path: []string{"sub", "two.bin"}, Length: 10 * pieceBytes, Seed: 3},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := swarmtest.OpenSeeder(swarmtest.SeederOptions{Contents: []*swarmtest.Content{c}, Link: link})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	torrent := filepath.Join(tb.TempDir(), "sample.torrent")
	if err := os.WriteFile(torrent, c.Torrent(swarmtest.Hints{}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return &seededSample{content: c, seeder: s, torrent: torrent, magnet: c.Magnet(swarmtest.Hints{})}
}

// sum returns the true SHA-256 of file index.
func (p *seededSample) sum(tb testing.TB, index int) string {
	tb.Helper()
	sum, err := p.content.FileSHA256(index)
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("%x", sum)
}

func wantSum(tb testing.TB, path, want string) {
	tb.Helper()
	if got := weirtest.Sum(tb, path); got != want {
		tb.Errorf("%s has another content than what was published", path)
	}
}

// flags are those of a mount that stays on this machine.
func flags(dir string, more ...string) []string {
	return append([]string{"--cache=" + filepath.Join(dir, "cache"), "--listen=127.0.0.1:0", "--read-timeout=30s"}, more...)
}

// TestKilledWhileReading kills weir in the middle of a sequential read and
// mounts again on the same folder with the same cache.
func TestKilledWhileReading(t *testing.T) {
	p := seedSample(t, 48<<20, simnet.Link{})
	dir := t.TempDir()
	mnt := filepath.Join(dir, "mnt")
	args := flags(dir, "--auto-unmount=false", "--peer="+p.seeder.Addr(), p.torrent)

	m := weirtest.Start(t, mnt, args...)
	f, err := os.Open(m.Path("sample", "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	half := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		if _, err := io.CopyN(io.Discard, f, 16<<20); err != nil {
			ended <- err
			return
		}
		close(half)
		_, err := io.Copy(io.Discard, f)
		ended <- err
	}()
	select {
	case <-half:
	case err := <-ended:
		t.Fatalf("read before the kill: %v", err)
	}
	path := m.Path("sample", "big.bin")
	held := have(t, path) // put, so what is read of it after the kill is there
	m.Kill(t)
	if err := <-ended; err != nil && !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) && !errors.Is(err, syscall.EIO) {
		t.Errorf("the read that was under way: %v", err)
	}
	f.Close()
	before := p.seeder.Counters().PayloadBytes

	if held < 8<<20 {
		t.Fatalf("%d bytes are held after 16 MiB were read", held)
	}
	m = weirtest.Start(t, mnt, args...)
	if got := have(t, path); got < held {
		t.Errorf("%d bytes were held before the kill, %d are after it", held, got)
	}
	wantSum(t, path, p.sum(t, 0))
	// Blocks of pieces that were begun are fetched again.
	if again, most := p.seeder.Counters().PayloadBytes-before, 48<<20-held+4<<20; again > most {
		t.Errorf("fetched %d bytes again, with %d held", again, held)
	}
	m.Unmount(t)
}

// TestWithoutPeers reads a part, and then mounts again where nobody has the
// torrent: what was read is there, the rest fails in time.
func TestWithoutPeers(t *testing.T) {
	for name, of := range map[string]func(p *seededSample) string{
		"Torrent": func(p *seededSample) string { return p.torrent },
		"Magnet":  func(p *seededSample) string { return p.magnet },
	} {
		t.Run(name, func(t *testing.T) {
			p := seedSample(t, 4<<20, simnet.Link{})
			source := of(p)
			dir := t.TempDir()
			m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--peer="+p.seeder.Addr(), source)...)
			wantSum(t, m.Path("sample", "sub", "one.bin"), p.sum(t, 1))
			m.Unmount(t)

			if err := p.seeder.Close(); err != nil { // weir remembers where it was
				t.Fatal(err)
			}
			m = weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--read-timeout=500ms", source)...)
			wantSum(t, m.Path("sample", "sub", "one.bin"), p.sum(t, 1))
			begin := time.Now()
			if _, err := os.ReadFile(m.Path("sample", "big.bin")); !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("read what nobody has: %v, want ETIMEDOUT", err)
			}
			if took := time.Since(begin); took < 500*time.Millisecond || took > 10*time.Second {
				t.Errorf("the read failed after %v, want 500ms and not much more", took)
			}
			// The reason is there when the read is gone, too.
			out, err := weirOut(t, "status", m.Path("sample", "big.bin"))
			if err != nil || !regexp.MustCompile(`last timeout +a read, .* ago: (no peer is known|1 peer known|connecting to 1 peer)`).MatchString(out) {
				t.Errorf("weir status: %v\n%s", err, out)
			}
			m.Unmount(t)
		})
	}
}

// TestInterrupt ends programs that hang in a read, and in a magnet's folder.
func TestInterrupt(t *testing.T) {
	p := seedSample(t, 4<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
	other := weirtest.Start(t, filepath.Join(dir, "other"), "--cache="+filepath.Join(dir, "cache2"), "--listen=127.0.0.1:0", p.magnet)
	for name, program := range map[string][]string{
		"Read":   {"cat", m.Path("sample", "big.bin")},
		"Direct": {"dd", "if=" + m.Path("sample", "big.bin"), "iflag=direct", "of=/dev/null", "bs=64k"},
		"Folder": {"ls", other.Path("sample")},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program[0], program[1:]...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			waitBlocked(t, cmd.Process.Pid, ended)
			begin := time.Now()
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				took := time.Since(begin)
				t.Logf("ended after %v", took)
				if took > time.Second {
					t.Errorf("ended %v after the interrupt, want at once", took)
				}
			case <-time.After(20 * time.Second):
				_ = cmd.Process.Kill()
				t.Fatal("the program hangs, though it was interrupted")
			}
		})
	}
	m.Unmount(t)
	other.Unmount(t)
}

// waitBlocked returns when a process waits for the mount's answer.
func waitBlocked(tb testing.TB, pid int, ended <-chan error) {
	tb.Helper()
	const calm = 5 // looks in a row that found it in the same system call
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last, same := "", 0
	for timeout := time.After(20 * time.Second); same < calm; {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid)) // "running", or the call and its arguments
		if call := string(b); call == last && call != "" && call != "running\n" {
			same++
		} else {
			last, same = call, 0
		}
		select {
		case err := <-ended:
			tb.Fatalf("the program ended by itself: %v", err)
		case <-timeout:
			tb.Fatalf("the program does not wait in a system call: %q", last)
		case <-tick.C:
		}
	}
}

// TestSignals ends a mount in the ways that a user, a supervisor and a closed
// terminal do, with a program reading.
func TestSignals(t *testing.T) {
	p := seedSample(t, 4<<20, simnet.Link{})
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
			cmd := exec.Command("cat", m.Path("sample", "big.bin"))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			waitBlocked(t, cmd.Process.Pid, ended)
			m.Signal(t, sig)
			if err := m.Wait(t); err != nil {
				t.Errorf("weir ended with %v", err)
			}
			if err := <-ended; err == nil {
				t.Error("a read that nobody could answer succeeded")
			}
		})
	}
}

// TestBusy is told who uses the mount.
func TestBusy(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
	cmd := exec.Command("cat") // waits for its input
	cmd.Dir = m.Path("sample")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = run(t.Context(), []string{"umount", m.Dir}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cat (process %d)", cmd.Process.Pid)) {
		t.Errorf("umount of a mount in use: %v, want it to name cat", err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if os.Geteuid() == 0 { // elsewhere too: nobody waits for those who use it there
		to := t.TempDir()
		if err := unix.Mount(m.Dir, to, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		err = run(t.Context(), []string{"umount", m.Dir}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), to) {
			t.Errorf("umount of a mount that is elsewhere too: %v, want it to name %s", err, to)
		}
		if err := unix.Unmount(to, 0); err != nil {
			t.Fatal(err)
		}
	}
	m.Unmount(t)
}

// TestURL mounts a torrent that lies on a web server, while another source is
// there already.
func TestURL(t *testing.T) {
	p := seedSample(t, 1<<20, simnet.Link{})
	other, err := swarmtest.NewContent(swarmtest.ContentOptions{
		Name: "here", Single: true, Files: []swarmtest.File{{Bytes: []byte("here\n")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	here := filepath.Join(dir, "here.torrent")
	if err := os.WriteFile(here, other.Torrent(swarmtest.Hints{}), 0o600); err != nil {
		t.Fatal(err)
	}
	mnt := filepath.Join(dir, "mnt")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// It answers once the other torrent is there, which so doesn't wait for it.
		waitPath(r.Context(), filepath.Join(mnt, "here"))
		b, err := os.ReadFile(p.torrent)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(b)
	}))
	defer srv.Close()

	m := weirtest.Start(t, mnt, flags(dir, "--peer="+p.seeder.Addr(), srv.URL+"/x.torrent", here)...)
	wantSum(t, m.Path("sample", "sub", "one.bin"), p.sum(t, 1))
	m.Unmount(t)
}

// waitPath returns when there is something at path, or ctx ends.
func waitPath(ctx context.Context, path string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
