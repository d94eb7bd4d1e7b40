package weir_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// clockNames are what package time has for asking the clock or waiting for it.
// time.Time and time.Duration are values like any others.
var clockNames = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// clocksAndGoroutines returns a sentence for each use of the clock and each
// goroutine in a file. Whoever decides without them can be tested without a wait.
func clocksAndGoroutines(name string, src any) ([]string, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, 0)
	if err != nil {
		return nil, err
	}
	clock := ""
	var bad []string
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err != nil || path != "time" {
			continue
		}
		clock = "time"
		if spec.Name != nil {
			clock = spec.Name.Name
		}
		if clock == "." {
			bad = append(bad, fmt.Sprintf("%s: a dot import of time hides its clock", set.Position(spec.Pos())))
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			bad = append(bad, fmt.Sprintf("%s: a goroutine", set.Position(n.Pos())))
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && clock != "" && x.Name == clock && slices.Contains(clockNames, n.Sel.Name) {
				bad = append(bad, fmt.Sprintf("%s: the clock, by %s.%s", set.Position(n.Pos()), clock, n.Sel.Name))
			}
		}
		return true
	})
	return bad, nil
}

// TestDecisionsHaveNoClock looks into every package whose layer is pure or decides.
// What such a package imports is TestLayers' part.
func TestDecisionsHaveNoClock(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipFolder(".", name, d.Name())
		}
		l, ok := layerOf(filepath.ToSlash(filepath.Dir(name)))
		if !ok || !l.pure && !l.decides || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		seen[l.dir] = true
		bad, err := clocksAndGoroutines(name, nil)
		for _, b := range bad {
			t.Errorf("%s; %s decides, so its caller tells it the time and calls it again", b, l.dir)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if (l.pure || l.decides) && !seen[l.dir] {
			t.Errorf("%s has a rule and no file", l.dir)
		}
	}
}

func TestClocksAndGoroutinesDetect(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"Values":    {"package p\nimport \"time\"\nvar d = time.Second\nfunc f(t time.Time) time.Duration { return t.Sub(t) }\n", 0},
		"Now":       {"package p\nimport \"time\"\nvar t = time.Now()\n", 1},
		"AsValue":   {"package p\nimport \"time\"\nvar now = time.Now\n", 1},
		"Renamed":   {"package p\nimport clock \"time\"\nvar t = clock.NewTimer(1)\n", 1},
		"Dot":       {"package p\nimport . \"time\"\nvar t = Now()\n", 1},
		"Goroutine": {"package p\nfunc f() { go f(); for { go func() {}() } }\n", 2},
		"Otherwise": {"package p\ntype clock struct{}\nfunc (clock) Now() int { return 0 }\nvar time clock\nvar t = time.Now()\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bad, err := clocksAndGoroutines("p.go", c.text)
			if err != nil || len(bad) != c.want {
				t.Errorf("found %q, %v, want %d", bad, err, c.want)
			}
		})
	}
}
