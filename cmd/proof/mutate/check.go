package main

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Checker tells which mutants of a package compile. It does so in memory: half of
// all mutants don't, and a compiler run for each would cost more than the tests.
type Checker struct {
	path   string // import path
	set    *token.FileSet
	source map[string]*source // by the file's name from the root of the module
	names  []string           // in order
	types  types.Importer
}

// source is one file, as it is.
type source struct {
	src    []byte
	parsed *ast.File
}

// NewChecker reads the package in a folder of the module at root.
func NewChecker(ctx context.Context, root, dir string) (*Checker, error) {
	list := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
		cmd.Dir = root
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("go list %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
		}
		return string(out), nil
	}
	own, err := list("-f", `{{.ImportPath}}{{range .GoFiles}}{{"\n"}}{{.}}{{end}}`, "./"+dir)
	if err != nil {
		return nil, err
	}
	deps, err := list("-deps", "-export", "-f", "{{.ImportPath}}\t{{.Export}}", "./"+dir)
	if err != nil {
		return nil, err
	}
	export := make(map[string]string)
	for line := range strings.Lines(deps) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		export[path] = file
	}
	names := strings.Fields(own)
	c := &Checker{path: names[0], set: token.NewFileSet(), source: make(map[string]*source)}
	c.types = importer.ForCompiler(c.set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(export[path]) })
	for _, base := range names[1:] {
		name := filepath.Join(dir, base)
		src, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(c.set, name, src, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		c.source[name] = &source{src, parsed}
		c.names = append(c.names, name)
	}
	if err := c.check("", nil); err != nil {
		return nil, fmt.Errorf("%s as it is: %w", dir, err)
	}
	return c, nil
}

// Mutants returns the mutants of the files that keep says, in the order of the
// source.
func (c *Checker) Mutants(keep func(base string) bool) ([]*Mutant, error) {
	var all []*Mutant
	for _, name := range c.names {
		if !keep(filepath.Base(name)) {
			continue
		}
		found, err := Mutants(name, c.source[name].src)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// original returns a file as it is.
func (c *Checker) original(name string) []byte { return c.source[name].src }

// Source returns a file with a mutant's change.
func (c *Checker) Source(m *Mutant) []byte { return m.Apply(c.original(m.File)) }

// Compiles reports whether the package with a mutant in it does.
func (c *Checker) Compiles(m *Mutant) bool {
	parsed, err := parser.ParseFile(c.set, m.File, c.Source(m), parser.SkipObjectResolution)
	return err == nil && c.check(m.File, parsed) == nil
}

// check checks the types of the package with one file in the place of its own.
func (c *Checker) check(name string, other *ast.File) error {
	var files []*ast.File
	for _, n := range c.names {
		if n == name {
			files = append(files, other)
		} else {
			files = append(files, c.source[n].parsed)
		}
	}
	_, err := (&types.Config{Importer: c.types}).Check(c.path, c.set, files, nil)
	return err
}
