package main

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/cmd/internal/api"
	"github.com/weirfs/weir/cmd/internal/weirtest"
	"github.com/weirfs/weir/engine/swarmtest/simnet"
)

// weirOut runs a command line as its user would, and returns what it printed.
func weirOut(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), args, &stdout, &stderr)
	return stdout.String() + stderr.String(), err
}

// TestKeeping fetches, pins and evicts on a mount that is in use.
func TestKeeping(t *testing.T) {
	p := seedSample(t, 2<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, "--peer="+p.seeder.Addr(), p.torrent)...)
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"fetch", m.Path("sample", "sub", "one.bin")}, "one.bin: all 768 KiB are cached"},
		{[]string{"ls", m.Dir}, "sample"},
		{[]string{"status", m.Path("sample", "sub", "one.bin")}, "768 KiB of 768 KiB (100%), 4 of 4 pieces"},
		{[]string{"pin", m.Path("sample", "big.bin")}, "big.bin: pinned 2.0 MiB"},
		{[]string{"fetch", "--json", m.Path("sample")}, `"done":true`},
		{[]string{"ls", m.Dir}, "complete, partly pinned"},
		{[]string{"evict", m.Path("sample", "sub")}, "dropped 3.3 MiB"},
		{[]string{"unpin", m.Path("sample")}, "unpinned 2.0 MiB"},
		{[]string{"top", "--count", "1", m.Dir}, "1 torrents"},
	} {
		out, err := weirOut(t, step.args...)
		if err != nil || !strings.Contains(out, step.want) {
			t.Errorf("weir %s: %v, and %q lacks %q", strings.Join(step.args, " "), err, out, step.want)
		}
	}
	wantSum(t, m.Path("sample", "sub", "one.bin"), p.sum(t, 1))
	m.Unmount(t)
}

// TestFetchInterrupted ends with the signal, and says that it was not all.
func TestFetchInterrupted(t *testing.T) {
	p := seedSample(t, 2<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
	cmd := exec.Command(weirtest.Binary(), "fetch", m.Path("sample"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has begun
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailure {
		t.Errorf("weir fetch ended with %v, want exit code %d", err, exitFailure)
	}
	m.Unmount(t)
}

// TestStatusSaysWhy has a read that nobody can answer, and asks about it.
func TestStatusSaysWhy(t *testing.T) {
	p := seedSample(t, 2<<20, simnet.Link{})
	dir := t.TempDir()
	m := weirtest.Start(t, filepath.Join(dir, "mnt"), flags(dir, p.torrent)...)
	cmd := exec.Command("cat", m.Path("sample", "big.bin"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	waitBlocked(t, cmd.Process.Pid, ended)
	for _, args := range [][]string{{"status", m.Path("sample", "big.bin")}, {"top", "-n", "1", m.Dir}} {
		out, err := weirOut(t, args...)
		for _, want := range []string{"cat (process ", "sample/big.bin"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("weir %s: %v, and it lacks %q:\n%s", args[0], err, want, out)
			}
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-ended
	m.Unmount(t)
}

func TestTexts(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{shareText(0, 0), "-"},
		{shareText(0, 9), "0%"},
		{shareText(999, 1000), "99%"},
		{shareText(1000, 1000), "100%"},
		{rateText(0), "-"},
		{rateText(2 << 20), "2.0 MiB/s"},
		{cut("abcdef", 4), "abc…"},
		{cut("äöüß", 4), "äöüß"},
		{cut("abc", 0), "abc"},
		{weir.Printable("a\x1b[2Jb\nc\u0085"), `a\x1b[2Jb\nc\u0085`},
		{weir.Printable("ü 字"), "ü 字"},
		{programText("", 7), "an unknown program (process 7)"},
		{programText("", 0), "the kernel"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// TestWaitTexts has a line for each program that waits, whatever the kernel makes of
// its reads.
func TestWaitTexts(t *testing.T) {
	got := waitTexts([]api.Wait{
		{Path: "film/a.mkv", Off: 2 << 20, Bytes: 128 << 10, PID: 7, Program: "mpv", Seconds: 2.04, For: "no peers"},
		{Path: "later", PID: 9, Program: "ls", Seconds: 1, For: "its metadata"},
		{Path: "film/a.mkv", Off: 1 << 20, Bytes: 128 << 10, PID: 7, Program: "mpv", Seconds: 1, For: "no peers"},
		{Path: "film/a.mkv", Off: 0, Bytes: 4096, PID: 8, Program: "mpv", Seconds: 1, For: "no peers"},
	})
	want := []string{
		"mpv (process 7), for 2s: 2 requests, 256 KiB at 1.0 MiB of film/a.mkv: no peers",
		"ls (process 9), for 1s: lookup in later: its metadata",
		"mpv (process 8), for 1s: 4.0 KiB at 0 B of film/a.mkv: no peers",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := waitTexts(nil); len(got) > 0 {
		t.Errorf("nobody waits: %q", got)
	}
}

// TestLineProgress says now and then how far it is, and at the end that all came.
func TestLineProgress(t *testing.T) {
	var b bytes.Buffer
	show, end := lineProgress(&b, "x")
	show(api.Progress{TotalBytes: 4 << 20, HaveBytes: 1 << 20, Rate: 1 << 20})
	show(api.Progress{TotalBytes: 4 << 20, HaveBytes: 2 << 20}) // too soon
	show(api.Progress{TotalBytes: 4 << 20, HaveBytes: 4 << 20})
	end(true)
	want := "x: 1.0 MiB of 4.0 MiB (25%), 1.0 MiB/s, 3s left\nx: all 4.0 MiB are cached\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// TestBarProgress draws without a terminal's help, also when there is nothing to do.
func TestBarProgress(t *testing.T) {
	var b bytes.Buffer
	show, end := barProgress(&b, func() int { return 0 }, "film.mkv")
	show(api.Progress{Wait: "waiting for the metadata of x"})
	show(api.Progress{TotalBytes: 4 << 20, HaveBytes: 1 << 20, Wait: "no peer is connected"})
	show(api.Progress{TotalBytes: 4 << 20, HaveBytes: 4 << 20, Rate: 5})
	end(true)
	for _, want := range []string{"waiting for the metadata", "no peer is connected", "film.mkv", "100%"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q lacks %q", b.String(), want)
		}
	}

	// What ends in the middle leaves the bar as it is, and its line: an error follows.
	b.Reset()
	show, end = barProgress(&b, func() int { return 0 }, "film.mkv")
	show(api.Progress{TotalBytes: 4 << 20, HaveBytes: 1 << 20})
	end(false)
	if got := b.String(); strings.Contains(got, "100%") || !strings.HasSuffix(got, "\n") {
		t.Errorf("interrupted: %q", got)
	}
	b.Reset()
	if _, end = barProgress(&b, func() int { return 0 }, "film.mkv"); b.Len() > 0 {
		t.Error("there is a bar before there is progress")
	}
	if end(false); b.Len() > 0 {
		t.Errorf("an error before there is progress follows %q", b.String())
	}
}

// TestBarLine: the line fits, whatever the width, and the bar shows the share.
func TestBarLine(t *testing.T) {
	half := api.Progress{TotalBytes: 4 << 20, HaveBytes: 2 << 20, Rate: 1 << 20}
	for _, c := range []struct {
		title string
		p     api.Progress
		width int
		want  string
	}{
		{"film.mkv", half, 64, "film.mkv  50% |████    | 2.0 MiB of 4.0 MiB, 1.0 MiB/s, 2s left"},
		{"film.mkv", half, 40, "film.mkv  50% 2.0 MiB of 4.0 MiB, 1.0 …"},
		{"film.mkv", api.Progress{TotalBytes: 4 << 20, HaveBytes: 4 << 20}, 50, "film.mkv 100% |██████████████| 4.0 MiB of 4.0 MiB"},
		{"waiting for the metadata of x", api.Progress{}, 20, "waiting for the me…"},
		{strings.Repeat("ü", 50), api.Progress{TotalBytes: 10, HaveBytes: 0}, 80, strings.Repeat("ü", 29) + "…   0% |                             | 0 B of 10 B"},
	} {
		got := barLine(c.title, c.p, c.width)
		if got != c.want || utf8.RuneCountInString(got) >= c.width {
			t.Errorf("%d characters: %q of %d, want %q", c.width, got, utf8.RuneCountInString(got), c.want)
		}
	}
}

// TestReportEscapes: names in errors are those of strangers.
func TestReportEscapes(t *testing.T) {
	var out strings.Builder
	report(&out, errors.Join(errors.New("add x\x1b]0;T\x07y"), errors.New("move a\u202egpj.exe")))
	if want := "weir: add x\\x1b]0;T\\x07y\nmove a\\u202egpj.exe\n"; out.String() != want {
		t.Errorf("prints %q, want %q", out.String(), want)
	}
}

// TestPrintStatusOfOddTorrents: what can't be shown in the mount is said.
func TestPrintStatusOfOddTorrents(t *testing.T) {
	var out strings.Builder
	err := printStatus(&out, &live{}, api.PathStatus{
		Path: "a", Torrent: api.Torrent{State: api.StateRefused, Wait: "its metadata can't be used: \x1b[2J"},
		HiddenLinks: []string{"x\u202ey"}, HiddenLinkCount: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`state    refused: its metadata can't be used: \x1b[2J`, `hidden   x\u202ey, a link that points outside of the torrent`, "hidden   and 2 more"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
