package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// module is where weir's own module is.
const module = "../../.."

// row is a line of docs/architecture.md about a package that decides.
var row = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*\\| I/O, clocks, goroutines \\|$")

// TestPure: each package that decides is measured, and each file that is named exists.
func TestPure(t *testing.T) {
	var listed []string
	for _, name := range pure {
		target := parseTarget(name)
		listed = append(listed, target.Dir)
		for _, file := range target.Files {
			if _, err := os.Stat(filepath.Join(module, target.Dir, file)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := os.Stat(filepath.Join(module, target.Dir)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(module, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := row.FindAllSubmatch(text, -1)
	if len(rows) < 10 {
		t.Errorf("only %d packages of docs/architecture.md decide", len(rows))
	}
	for _, r := range rows {
		if dir := string(r[1]); !slices.Contains(listed, dir) {
			t.Errorf("%s decides, and its mutants are not measured", dir)
		}
	}
}
