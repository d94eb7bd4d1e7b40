package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// event is what go test -json says (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of what was not built
	Test       string
	Output     string
}

// name is the name of a test with its package.
func (e *event) name() string { return path.Base(e.Package) + "." + e.Test }

// test is one test, or, without a name, what a package says of itself.
type test struct{ pkg, name string }

// report turns events into what is printed, as they come.
type report struct {
	out     io.Writer
	verbose bool

	output  map[test][]string // of tests that have not ended
	passed  int
	failed  []string
	skipped []string
	broken  []string // packages that failed without a test that did
}

func newReport(out io.Writer, verbose bool) *report {
	return &report{out: out, verbose: verbose, output: map[test][]string{}}
}

// line takes a line of output. What is no event is printed as it is.
func (r *report) line(b []byte) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil || e.Action == "" {
		_, _ = r.out.Write(b)
		return
	}
	key := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		r.print(e.Output)
	case "output":
		switch {
		case e.Test != "":
			switch {
			case r.verbose:
				r.print(e.Output)
			case !strings.HasPrefix(e.Output, "=== "): // RUN, PAUSE, CONT, NAME
				r.output[key] = append(r.output[key], e.Output)
			}
		case e.Output != "PASS\n" && e.Output != "FAIL\n":
			r.print(e.Output) // ok, FAIL, no test files, a panic, what main says
		}
	case "pass", "bench":
		if e.Test != "" {
			r.passed++
		}
		delete(r.output, key)
	case "skip":
		if e.Test != "" {
			r.skipped = append(r.skipped, e.name())
		}
		delete(r.output, key)
	case "fail":
		r.fail(&e, key)
	}
}

func (r *report) fail(e *event, key test) {
	if e.Test != "" {
		r.failed = append(r.failed, e.name())
		r.print(r.output[key]...)
		delete(r.output, key)
		return
	}
	// The end of a package: what its tests were about to do, when it crashed.
	crashed := r.unfinished(e.Package)
	for _, t := range crashed {
		r.print(r.output[t]...)
		r.failed = append(r.failed, path.Base(t.pkg)+"."+t.name)
		delete(r.output, t)
	}
	if base := path.Base(e.Package) + "."; !slices.ContainsFunc(r.failed, func(name string) bool { return strings.HasPrefix(name, base) }) {
		r.broken = append(r.broken, e.Package)
	}
}

// unfinished returns the tests of a package, or of all, that have not ended.
func (r *report) unfinished(pkg string) (all []test) {
	for t := range r.output {
		if pkg == "" || t.pkg == pkg {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b test) int { return strings.Compare(a.pkg+"."+a.name, b.pkg+"."+b.name) })
	return all
}

func (r *report) print(lines ...string) {
	for _, l := range lines {
		_, _ = io.WriteString(r.out, l)
	}
}

// end prints what is left and the last line.
func (r *report) end(code int) {
	for _, t := range r.unfinished("") {
		r.print(fmt.Sprintf("--- not finished: %s %s\n", t.pkg, t.name))
		r.print(r.output[t]...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d passed, %d failed", r.passed, len(r.failed)+len(r.broken))
	list(&b, append(slices.Clone(r.failed), r.broken...))
	fmt.Fprintf(&b, ", %d skipped", len(r.skipped))
	list(&b, r.skipped)
	if left := os.Getenv("WEIR_SKIP_PEERS"); left != "" {
		fmt.Fprintf(&b, ", left out: %s", left)
	}
	if code != 0 && len(r.failed)+len(r.broken) == 0 {
		fmt.Fprintf(&b, ", ended with code %d", code)
	}
	r.print(b.String() + "\n")
}

// list appends names. A test's name says those of the tests above it.
func list(b *strings.Builder, names []string) {
	slices.Sort(names)
	sep := ": "
	for i, n := range names {
		if i+1 < len(names) && strings.HasPrefix(names[i+1], n+"/") {
			continue
		}
		b.WriteString(sep + n)
		sep = ", "
	}
}
