package background_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/weirfs/weir/cmd/internal/background"
)

// patience is for what happens at once on a machine that has nothing else to do.
const patience = 20 * time.Second

// TestMain also is the process in the background, and a guard, which are this
// program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "act" {
		act(os.Args[2])
		return
	}
	if len(os.Args) == 3 && os.Args[1] == background.GuardCommand {
		beGuard(os.Args[2])
		return
	}
	goleak.VerifyTestMain(m)
}

// act plays a weir in the background.
func act(part string) {
	h := background.NewReadyNotifier(background.ReadyFD, "/mnt/x", slog.New(slog.NewTextHandler(os.Stderr, nil)))
	switch part {
	case "ready":
		sid, _ := unix.Getsid(0)
		h.Ready([]string{"a b", strconv.Itoa(sid)})
	case "failed":
		h.Failed(errors.New("no such torrent"), false)
	case "usage":
		h.Failed(errors.New("unknown flag"), true)
	case "dies":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	case "listens":
		l, err := net.Listen("unix", os.Getenv("SOCKET"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer l.Close()
		fmt.Println("up")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "waits":
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		fmt.Println("waiting")
		<-ended
		fmt.Println("ended in order")
	}
}

func detach(t *testing.T, ctx context.Context, part string) (*background.Detached, string, error) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "new", "log")
	d, err := background.Detach(ctx, background.DetachOptions{Args: []string{"act", part}, LogFile: log})
	return d, log, err
}

func TestDetach(t *testing.T) {
	t.Run("Ready", func(t *testing.T) {
		d, _, err := detach(t, t.Context(), "ready")
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"a b", strconv.Itoa(d.PID)}; !slices.Equal(d.Names, want) {
			t.Errorf("got %q, want %q, the second being its session", d.Names, want)
		}
	})
	t.Run("Failed", func(t *testing.T) {
		_, _, err := detach(t, t.Context(), "failed")
		if err == nil || err.Error() != "no such torrent" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("Usage", func(t *testing.T) {
		_, _, err := detach(t, t.Context(), "usage")
		var usage background.UsageError
		if !errors.As(err, &usage) || err.Error() != "unknown flag" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("Dies", func(t *testing.T) {
		_, log, err := detach(t, t.Context(), "dies")
		if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), log) {
			t.Errorf("got %v, want it to name the exit code and %s", err, log)
		}
		if text := read(t, log); !strings.Contains(text, "last words") {
			t.Errorf("the log has %q", text)
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		log := filepath.Join(t.TempDir(), "log")
		ended := make(chan error, 1)
		go func() {
			_, err := background.Detach(ctx, background.DetachOptions{Args: []string{"act", "waits"}, LogFile: log})
			ended <- err
		}()
		until(t, "it waits", func() bool { return strings.Contains(read(t, log), "waiting") })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if text := read(t, log); !strings.Contains(text, "ended in order") {
			t.Errorf("it did not end in order: %q", text)
		}
	})
}

func TestLogIsTurned(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := background.Detach(t.Context(), background.DetachOptions{Args: []string{"act", "dies"}, LogFile: log})
	if err == nil {
		t.Fatal("it should have died")
	}
	if got := read(t, log); got != "last words\n" {
		t.Errorf("the new log has %d bytes", len(got))
	}
	if got := read(t, log+".old"); len(got) != 2<<20 {
		t.Errorf("the old log has %d bytes", len(got))
	}
}

func TestPointName(t *testing.T) {
	for in, want := range map[string]string{"/mnt/linux": "mnt-linux", "/mnt//x/": "mnt-x", "/": "root"} {
		if got := background.PointName(in); got != want {
			t.Errorf("PointName(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestNotify plays systemd.
func TestNotify(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	next := func() string {
		if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	want := func(texts ...string) {
		t.Helper()
		got := next()
		for _, text := range texts {
			if !slices.Contains(strings.Split(got, "\n"), text) {
				t.Errorf("systemd was told %q, want %q", got, text)
			}
		}
	}
	dir := t.TempDir()
	h := background.NewReadyNotifier(0, dir, slog.New(slog.DiscardHandler))
	want("STATUS=mounting on " + dir)
	h.Ready([]string{"one"})
	want("READY=1", "STATUS=mounted on "+dir+", 1 torrent")
	want("WATCHDOG=1")
	want("WATCHDOG=1")
	h.Close() // no beat begins after that
	h.Stopping()
	for {
		if got := next(); got != "WATCHDOG=1" {
			if !strings.HasPrefix(got, "STOPPING=1\nSTATUS=unmounting "+dir) {
				t.Errorf("systemd was told %q", got)
			}
			break
		}
	}
	h.Failed(errors.New("one\ntwo"), false)
	want("STATUS=one; two")
}

// TestRunGuard is about a guard that has nothing to guard.
func TestRunGuard(t *testing.T) {
	dir := t.TempDir()
	under, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer under.Close()
	for name, pipe := range map[string]io.Reader{
		"Goodbye": strings.NewReader("."),
		"Dead":    strings.NewReader(""), // but unmounted before
	} {
		t.Run(name, func(t *testing.T) {
			if err := background.RunGuard(pipe, io.Discard, under, dir); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := background.FindServer(t.Context(), socket); err == nil {
		t.Error("found a process behind nothing")
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := background.FindServer(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.PID != os.Getpid() {
		t.Errorf("process %d, want %d", s.PID, os.Getpid())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a process that lives: %v", err)
	}

	other := exec.Command(os.Args[0], "act", "listens")
	other.Env = append(os.Environ(), "SOCKET="+socket+"2")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	o, err := background.FindServer(t.Context(), socket+"2")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	in.Close()
	if err := o.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}
