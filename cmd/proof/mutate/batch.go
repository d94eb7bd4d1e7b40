package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// mutantEnv selects a mutant of a test binary that has many, by its number, from 1.
const mutantEnv = "WEIR_MUTANT"

// switchSource is a file that joins the package in such a binary.
const switchSource = `package %s

import (
	mutantOS "os"
	mutantNumber "strconv"
)

var mutantOn, _ = mutantNumber.Atoi(mutantOS.Getenv("` + mutantEnv + `"))
`

// Batch is a package that contains many mutants: each has a copy of its function, and the
// function first looks which one is selected. So the compiler and the linker, which take
// longer than most tests, run once.
type Batch struct {
	Replace map[string][]byte // sources by name from the root of the module
	number  map[*Mutant]int
}

// Number returns what mutantEnv has to be for a mutant, 0 if it is not in the
// batch: what lies outside of functions can't be there twice.
func (b *Batch) Number(m *Mutant) int { return b.number[m] }

// edit is a replacement of some bytes of a source.
type edit struct {
	from, to int
	with     string
}

// newBatch makes one package of many mutants of it.
func newBatch(dir string, mutants []*Mutant, source func(name string) []byte) (*Batch, error) {
	b := &Batch{Replace: make(map[string][]byte), number: make(map[*Mutant]int)}
	byFile := make(map[string][]*Mutant)
	for i, m := range mutants {
		byFile[m.File] = append(byFile[m.File], m)
		b.number[m] = i + 1
	}
	for name, some := range byFile {
		src := source(name)
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		w := cloner{src: src, file: set.File(parsed.FileStart)}
		placed := make(map[*Mutant]bool)
		for _, d := range parsed.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil && fn.Type.TypeParams == nil {
				w.function(fn, some, b.number, placed)
			}
		}
		for _, m := range some {
			if !placed[m] {
				delete(b.number, m)
			}
		}
		b.Replace[name] = w.result()
		b.Replace[filepath.Join(dir, "zz_mutant_switch.go")] = fmt.Appendf(nil, switchSource, parsed.Name.Name)
	}
	return b, nil
}

// cloner rewrites one file.
type cloner struct {
	src    []byte
	file   *token.File
	edits  []edit
	clones strings.Builder
}

// function adds a copy of fn for each of the mutants within it, and has fn call
// the one that is on.
func (w *cloner) function(fn *ast.FuncDecl, mutants []*Mutant, number map[*Mutant]int, placed map[*Mutant]bool) {
	begin, body, end := w.file.Offset(fn.Pos()), w.file.Offset(fn.Body.Lbrace)+1, w.file.Offset(fn.End())
	name := w.file.Offset(fn.Name.Pos())
	var cases strings.Builder
	call := ""
	for _, m := range mutants {
		if m.from < body || m.to > end {
			continue
		}
		if call == "" {
			call = w.call(fn)
		}
		clone := fmt.Sprintf("%sMutant%d", fn.Name.Name, number[m])
		fmt.Fprintf(&w.clones, "\n%s%s%s%s%s\n", w.src[begin:name], clone, w.src[name+len(fn.Name.Name):m.from], m.with, w.src[m.to:end])
		if fn.Type.Results.NumFields() > 0 {
			fmt.Fprintf(&cases, "case %d: return "+call+"; ", number[m], clone)
		} else {
			fmt.Fprintf(&cases, "case %d: "+call+"; return; ", number[m], clone)
		}
		placed[m] = true
	}
	if call != "" {
		w.edits = append(w.edits, edit{body, body, " switch mutantOn { " + cases.String() + "};"})
	}
}

// call returns a call with fn's own receiver and arguments, with %s for the name
// of what is called. What has no name gets one.
func (w *cloner) call(fn *ast.FuncDecl) string {
	n := 0
	names := func(list *ast.FieldList) (all []string) {
		if list == nil {
			return nil
		}
		for _, f := range list.List {
			dots := ""
			if _, ok := f.Type.(*ast.Ellipsis); ok {
				dots = "..."
			}
			if len(f.Names) == 0 {
				n++
				made := fmt.Sprintf("mutantArg%d", n)
				at := w.file.Offset(f.Type.Pos())
				w.edits = append(w.edits, edit{at, at, made + " "})
				all = append(all, made+dots)
			}
			for _, id := range f.Names {
				made := id.Name
				if made == "_" {
					n++
					made = fmt.Sprintf("mutantArg%d", n)
					at := w.file.Offset(id.Pos())
					w.edits = append(w.edits, edit{at, at + 1, made})
				}
				all = append(all, made+dots)
			}
		}
		return all
	}
	call := "%s(" + strings.Join(names(fn.Type.Params), ", ") + ")"
	if r := names(fn.Recv); len(r) == 1 {
		return r[0] + "." + call
	}
	return call
}

// result returns the file with the copies at its end.
func (w *cloner) result() []byte {
	slices.SortFunc(w.edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var out []byte
	at := 0
	for _, e := range w.edits {
		out = append(out, w.src[at:e.from]...)
		out = append(out, e.with...)
		at = e.to
	}
	out = append(out, w.src[at:]...)
	return append(out, w.clones.String()...)
}
