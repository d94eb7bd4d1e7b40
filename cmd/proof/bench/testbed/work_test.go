package testbed_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// TestWork looks at what the next run removes: what killed runs have left, and
// nothing of those that live, nor of others.
func TestWork(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"weir-bench-1", "weir-bench-2", "weir-other"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "cache"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w, err := testbed.Work(dir)
	if err != nil {
		t.Fatal(err)
	}
	if w.Dir != filepath.Join(dir, fmt.Sprint("weir-bench-", os.Getpid())) {
		t.Errorf("folder %s", w.Dir)
	}
	if _, err := testbed.Work(dir); err == nil {
		t.Error("a second run of the same process, whose folder is locked, removed the first one's")
	}
	for name, want := range map[string]bool{"weir-bench-1": false, "weir-bench-2": false, "weir-other": true, filepath.Base(w.Dir): true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	w.Close()
	if _, err := os.Stat(w.Dir); err == nil {
		t.Error("the folder is still there")
	}
}
