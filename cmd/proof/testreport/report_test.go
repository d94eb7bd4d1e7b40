package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// said returns events as lines: "action package test output".
func said(t *testing.T, events ...[4]string) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		if err := enc.Encode(event{Action: e[0], Package: e[1], Test: e[2], Output: e[3]}); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// command prints text and ends with a code.
func command(text, after string) []string {
	return []string{"sh", "-c", "printf '%s' \"$1\"; " + after, "sh", text}
}

func TestReport(t *testing.T) {
	t.Setenv("WEIR_SKIP_PEERS", "")
	events := said(t,
		[4]string{"start", "x/a"},
		[4]string{"output", "x/a", "TestGood", "=== RUN   TestGood\n"},
		[4]string{"output", "x/a", "TestGood", "    a_test.go:1: chatter\n"},
		[4]string{"pass", "x/a", "TestGood"},
		[4]string{"output", "x/a", "TestSkips/One", "    a_test.go:2: no such client\n"},
		[4]string{"skip", "x/a", "TestSkips/One"},
		[4]string{"pass", "x/a", "TestSkips"},
		[4]string{"output", "x/a", "", "PASS\n"},
		[4]string{"output", "x/a", "", "ok  \tx/a\t1.0s\n"},
		[4]string{"pass", "x/a"},
		[4]string{"output", "x/b", "TestBad/Sub", "=== RUN   TestBad/Sub\n"},
		[4]string{"output", "x/b", "TestBad/Sub", "    b_test.go:3: got 1, want 2\n"},
		[4]string{"fail", "x/b", "TestBad/Sub"},
		[4]string{"output", "x/b", "TestBad", "--- FAIL: TestBad\n"},
		[4]string{"fail", "x/b", "TestBad"},
		[4]string{"output", "x/b", "", "FAIL\tx/b\t1.0s\n"},
		[4]string{"fail", "x/b"},
		[4]string{"output", "x/c", "TestCrash", "panic: out of range\n"},
		[4]string{"output", "x/c", "", "FAIL\tx/c\t1.0s\n"},
		[4]string{"fail", "x/c"},
		[4]string{"output", "x/d", "", "FAIL\tx/d [build failed]\n"},
		[4]string{"fail", "x/d"},
	)
	var out, stderr bytes.Buffer
	code := run(command("no event\n"+events, "echo to stderr >&2; exit 3"), &out, &stderr)
	want := `no event
ok  	x/a	1.0s
    b_test.go:3: got 1, want 2
--- FAIL: TestBad
FAIL	x/b	1.0s
FAIL	x/c	1.0s
panic: out of range
FAIL	x/d [build failed]
2 passed, 4 failed: b.TestBad/Sub, c.TestCrash, x/d, 1 skipped: a.TestSkips/One
`
	if code != 3 || out.String() != want || stderr.String() != "to stderr\n" {
		t.Errorf("code %d, stderr %q, stdout\n%s\nwant\n%s", code, stderr.String(), out.String(), want)
	}
}

func TestReportOfSuccess(t *testing.T) {
	t.Setenv("WEIR_SKIP_PEERS", "webtorrent,aria2")
	events := said(t, [4]string{"output", "x/a", "TestGood", "chatter\n"}, [4]string{"pass", "x/a", "TestGood"}, [4]string{"pass", "x/a"})
	for v, want := range map[string]string{"": "", "-v": "chatter\n"} {
		var out bytes.Buffer
		if code := run(append(command(events, "exit 0"), v), &out, io.Discard); code != 0 {
			t.Errorf("code %d", code)
		}
		if want += "1 passed, 0 failed, 0 skipped, left out: webtorrent,aria2\n"; out.String() != want {
			t.Errorf("%q: %q, want %q", v, out.String(), want)
		}
	}
}

// TestReportSaysWhyItFailed: a code that no test explains is named.
func TestReportSaysWhyItFailed(t *testing.T) {
	t.Setenv("WEIR_SKIP_PEERS", "")
	for after, want := range map[string]int{"exit 2": 2, "kill -KILL $$": 128 + int(syscall.SIGKILL)} {
		var out bytes.Buffer
		if code := run(command("", after), &out, io.Discard); code != want || !strings.Contains(out.String(), "0 passed, 0 failed, 0 skipped, ended with code ") {
			t.Errorf("%s: code %d, %q", after, code, out.String())
		}
	}
	var out bytes.Buffer
	if code := run([]string{"/nonexistent"}, io.Discard, &out); code != 2 || !strings.Contains(out.String(), "nonexistent") {
		t.Errorf("code %d, %q", code, out.String())
	}
}

// TestReportWhenKilled: a signal is passed on, and what had come is printed.
func TestReportWhenKilled(t *testing.T) {
	t.Setenv("WEIR_SKIP_PEERS", "")
	events := said(t, [4]string{"pass", "x/a", "TestGood"}, [4]string{"output", "x/a", "TestHangs", "waits for something\n"})
	out := &waiting{text: "ready\n", seen: make(chan struct{})}
	go func() {
		select {
		case <-out.seen:
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		case <-time.After(time.Minute):
		}
	}()
	code := run(command(events, `trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done`), out, io.Discard)
	want := "ready\n--- not finished: x/a TestHangs\nwaits for something\n1 passed, 0 failed, 0 skipped, ended with code 7\n"
	if code != 7 || out.String() != want {
		t.Errorf("code %d, %q, want %q", code, out.String(), want)
	}
}

// waiting closes seen when text is written.
type waiting struct {
	bytes.Buffer
	text string
	seen chan struct{}
}

func (w *waiting) Write(b []byte) (int, error) {
	if string(b) == w.text {
		close(w.seen)
	}
	return w.Buffer.Write(b)
}

// TestReportOfSeveralFolders: the tests of all are counted, whichever fails, and one
// that fails is not made good by the next.
func TestReportOfSeveralFolders(t *testing.T) {
	t.Setenv("WEIR_SKIP_PEERS", "")
	bad := said(t, [4]string{"output", "x/a", "TestBad", "got 1\n"}, [4]string{"fail", "x/a", "TestBad"}, [4]string{"fail", "x/a"})
	good := said(t, [4]string{"pass", "x/b", "TestGood"}, [4]string{"pass", "x/b"})
	one, two := t.TempDir(), t.TempDir()
	for dir, script := range map[string]string{one: "cat <<'E'\n" + bad + "E\nexit 5\n", two: "cat <<'E'\n" + good + "E\n"} {
		if err := os.WriteFile(filepath.Join(dir, "script"), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for folders, want := range map[string]int{one + "," + two: 5, two + "," + one: 5} {
		var out bytes.Buffer
		code := run([]string{"-in", folders, "sh", "./script"}, &out, io.Discard)
		if code != want || !strings.Contains(out.String(), "got 1\n") || !strings.HasSuffix(out.String(), "1 passed, 1 failed: a.TestBad, 0 skipped\n") {
			t.Errorf("%s: code %d, %q", folders, code, out.String())
		}
	}
	// A signal ends the whole: the second folder is not begun.
	if err := os.WriteFile(filepath.Join(one, "script"), []byte("trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.1; done"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := run([]string{"-in", one + "," + two, "sh", "./script"}, &out, io.Discard); code != 7 || !strings.HasPrefix(out.String(), "0 passed") {
		t.Errorf("after a signal: code %d, %q", code, out.String())
	}
	var stderr bytes.Buffer
	if code := run([]string{"-in", one}, io.Discard, &stderr); code != 2 || !strings.Contains(stderr.String(), "usage") {
		t.Errorf("without a command: code %d, %q", code, stderr.String())
	}
}
