package index

import (
	"bytes"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// inChild runs the test in a process of its own, and reports whether this is it:
// what badger leaves behind would count as a leak.
func inChild(t *testing.T) bool {
	const child = "WEIR_TEST_FATAL_CHILD"
	if os.Getenv(child) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("the child ended: %v\n%s", err, out)
	}
	return false
}

// TestBadgerEndsNothing: where badger would end the process, opening fails, and the
// standard logger is as it was.
func TestBadgerEndsNothing(t *testing.T) {
	if !inChild(t) {
		return
	}
	var out bytes.Buffer
	before := log.Writer()
	log.SetOutput(&out)
	defer log.SetOutput(before)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "DISCARD"), 0o700); err != nil { // where badger wants a file
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	if _, err := openDatabase(badger.Open, options(dir, quiet)); err == nil || !strings.Contains(err.Error(), "DISCARD") {
		t.Errorf("Open: %v", err)
	}
	if log.Writer() != &out {
		t.Error("the standard logger has lost its writer")
	}
	db, err := openDatabase(func(o badger.Options) (*badger.DB, error) {
		log.Print("passed on")
		return badger.Open(o)
	}, options(t.TempDir(), quiet))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "passed on\n") {
		t.Errorf("logged %q", got)
	}
}

// TestRemovedWhileMade removes the folder just while a database is made in it.
func TestRemovedWhileMade(t *testing.T) {
	if !inChild(t) {
		return
	}
	root := filepath.Join(t.TempDir(), "cache")
	quiet := slog.New(slog.DiscardHandler)
	var removing sync.WaitGroup
	stop := make(chan struct{})
	removing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.RemoveAll(root)
			}
		}
	})
	failed := 0
	for range 40 {
		d, err := Open(filepath.Join(root, "index"), filepath.Join(root, "ballast"), quiet)
		if err != nil {
			failed++
			continue
		}
		_ = d.Close()
	}
	close(stop)
	removing.Wait()
	t.Logf("%d of 40 failed", failed)
	if failed == 0 {
		t.Error("nothing was removed in time")
	}
}
