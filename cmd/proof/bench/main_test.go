package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirfs/weir/cmd/internal/weirtest"
)

// bench is the path of the built program.
var bench string

func TestMain(m *testing.M) { os.Exit(built(m)) }

func built(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bench = filepath.Join(dir, "bench")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bench, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the benchmark: %v\n%s", err, out)
		return 1
	}
	return weirtest.Main(m)
}

type report struct {
	Rows []struct {
		Case, Figure string
		Verdict      string
		Weir, Limit  *struct {
			Median float64
			Values []float64
		}
		Errors []string
	}
}

// quickBytes is what a file of a gigabyte has in a quick run.
const quickBytes = 16 << 20

// quickly runs some of the small cases and returns the table, the report and how long
// it took.
func quickly(t *testing.T, args ...string) (table string, r report, took time.Duration) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "report.json")
	cmd := exec.Command(bench, append([]string{"--quick", "--systems", "weir,raw,http,zeros,disk", "--weir", weirtest.Binary(), "--json", file}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var progress strings.Builder
	cmd.Stderr = &progress
	begin := time.Now()
	out, err := cmd.Output()
	took = time.Since(begin)
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, progress.String(), out)
		return "", r, took
	}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "weir-bench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	return string(out), r, took
}

// TestQuick runs the small cases for real and looks at what must be so on any
// machine: that everything was read, rightly, and nothing fetched in vain. Most of
// them have our own seeders, which start sooner than libtorrent's.
func TestQuick(t *testing.T) {
	t.Parallel()
	var table string
	var r, other report
	var took, tookOther time.Duration
	var wg sync.WaitGroup
	wg.Go(func() { _, other, tookOther = quickly(t, "--only", "first-byte,warm") })
	table, r, took = quickly(t, "--own", "--only", "sequential,random,corrupt,metadata,program")
	wg.Wait()
	r.Rows = append(r.Rows, other.Rows...)
	value := map[string]float64{}
	limit := map[string]float64{}
	for _, row := range r.Rows {
		name := row.Case + ", " + row.Figure
		if row.Weir == nil || len(row.Errors) > 0 {
			t.Errorf("%s: %+v", name, row)
			continue
		}
		value[name] = row.Weir.Median
		if row.Limit != nil {
			limit[name] = row.Limit.Median
		}
		if row.Verdict != "" {
			t.Errorf("%s is judged %s in a quick run", name, row.Verdict)
		}
	}
	for _, c := range []struct {
		name        string
		least, most float64
	}{
		// Two round trips at least, and the piece's time on the line.
		{"first-byte/rtt50/torrent, first 4 KiB", 0.1, 20},
		{"random/64k, p50", 0.05, 10},
		{"random/64k, fetched by pieces touched", 0.99, 1.2},
		{"sequential/loopback/4, fetched by read", 0.99, 1.2},
		{"corrupt, fetched by needed", 1, 4},
		{"metadata, find, first", 0.0001, 10},
	} {
		if v, ok := value[c.name]; !ok || v < c.least || v > c.most {
			t.Errorf("%s is %v, want %v … %v", c.name, v, c.least, c.most)
		}
	}
	// A rate is bytes in a time: that is no shorter than its parts, nor longer than the
	// whole run, whatever the machine.
	for _, c := range []struct {
		rate  string
		parts []string
		whole time.Duration
	}{
		{"sequential/loopback/4, rate", []string{"sequential/loopback/4, first MiB", "sequential/loopback/4, longest gap"}, took},
		{"warm, rate", nil, tookOther},
		{"warm, rate without the disk", nil, tookOther},
	} {
		seconds := float64(quickBytes) / value[c.rate]
		if seconds > c.whole.Seconds() {
			t.Errorf("%s is %v: %d bytes would have taken %.3g s of %v", c.rate, value[c.rate], quickBytes, seconds, c.whole)
		}
		for _, part := range c.parts {
			if v, ok := value[part]; !ok || v > seconds {
				t.Errorf("%s is %v: %d bytes would have taken %.3g s, and %s is %v", c.rate, value[c.rate], quickBytes, seconds, part, v)
			}
		}
	}
	for _, name := range []string{"first-byte/rtt50/torrent, first 4 KiB", "random/64k, p50", "sequential/loopback/4, rate", "warm, rate"} {
		if limit[name] <= 0 {
			t.Errorf("%s has no limit beside it", name)
		}
	}
	if !strings.Contains(table, "| random/64k") {
		t.Errorf("the table lacks a case:\n%s", table)
	}
}

// TestUsage looks at exit codes, and at the list of cases.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--list", 0, "many-readers "},
		{"--list --only video", 0, "video/mkv "},
		{"--only nothing-of-the-kind", 2, "nothing to run"},
		{"--repeat -1", 2, "nothing to run"},
		{"--nonsense", 2, "not defined"},
		{"--weir /nowhere --only metadata --own", 1, "make builds one"},
	} {
		cmd := exec.Command(bench, strings.Fields(c.args)...)
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("bench %s: exit code %d, %v\n%s", c.args, code, err, out)
		}
	}
	if out, err := exec.Command(bench, "--list", "--only", "sequential").Output(); err != nil || strings.Contains(string(out), "random") {
		t.Error(fmt.Sprint(err), string(out))
	}
}

// TestKilled kills a run as it stands, and looks for what it has left: no
// process, no mount, and a folder that the next run removes.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(bench, "--only", "hanging", "--own", "--weir", weirtest.Binary())
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(progress)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "made ") {
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Whoever is left has the other end of this pipe.
	for lines.Scan() {
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it had ended before it was killed")
	}
	old, err := filepath.Glob(filepath.Join(dir, "weir-bench-*"))
	if err != nil || len(old) != 1 {
		t.Fatalf("folders %v, %v", old, err)
	}
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(b), dir) {
		t.Errorf("a mount is left in %s, %v", dir, err)
	}
	again := exec.Command(bench, "--quick", "--only", "metadata", "--own", "--weir", weirtest.Binary())
	again.Env = cmd.Env
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(old[0]); err == nil {
		t.Errorf("%s is still there", old[0])
	}
}
