package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// Mutant is one small change of a source file.
type Mutant struct {
	File string // from the root of the module
	Line int
	Func string // that it is in, as Type.Name; "" outside of functions
	Old  string // the lines that change, white space folded
	New  string

	from, to int    // the bytes that are replaced
	with     string // by this
}

// Key names a mutant in a way that other changes of the file don't touch.
func (m *Mutant) Key() string { return strings.TrimSpace(m.Func + ": " + m.Old + " → " + m.New) }

// Apply returns the source with the change.
func (m *Mutant) Apply(src []byte) []byte {
	return bytes.Join([][]byte{src[:m.from], []byte(m.with), src[m.to:]}, nil)
}

// operators are the changes of a binary operator.
var operators = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL},
	token.REM: {token.MUL}, token.SHL: {token.SHR}, token.SHR: {token.SHL},
	token.AND: {token.OR}, token.OR: {token.AND}, token.AND_NOT: {token.AND},
}

// finder collects the mutants of one file.
type finder struct {
	name string
	src  []byte
	file *token.File
	fn   *ast.FuncDecl
	all  []*Mutant
}

// Mutants returns all changes of a file that the sampler draws from, in the order
// of the source. Some of them don't compile; Checker knows which.
func Mutants(name string, src []byte) ([]*Mutant, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	f := &finder{name: name, src: src, file: set.File(parsed.FileStart)}
	for _, d := range parsed.Decls {
		f.fn, _ = d.(*ast.FuncDecl)
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			continue
		}
		f.walk(d, nil)
	}
	return f.all, nil
}

// walk visits a node and those beneath it. results are those of the innermost
// function.
func (f *finder) walk(root ast.Node, results *ast.FieldList) {
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Body != nil {
				f.walk(n.Body, n.Type.Results)
			}
			return false
		case *ast.FuncLit:
			f.walk(n.Body, n.Type.Results)
			return false
		case *ast.ExprStmt:
			if isLog(n.X) {
				return false // what is logged is not tested
			}
		case *ast.ReturnStmt:
			f.results(n, results)
		}
		f.node(n)
		return true
	})
}

// node adds the mutants of one node.
func (f *finder) node(n ast.Node) {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		for _, op := range operators[n.Op] {
			at := f.file.Offset(n.OpPos)
			f.add(at, at+len(n.Op.String()), op.String())
		}
		if n.Op == token.LAND || n.Op == token.LOR {
			f.negate(n.X)
			f.negate(n.Y)
		}
	case *ast.IfStmt:
		f.negate(n.Cond)
	case *ast.ForStmt:
		f.negate(n.Cond)
	case *ast.BasicLit:
		f.constant(n)
	case *ast.Ident:
		switch n.Name {
		case "true":
			f.replace(n, "false")
		case "false":
			f.replace(n, "true")
		}
	case *ast.CallExpr:
		if fun, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 1 {
			switch fun.Name {
			case "min":
				f.replace(fun, "max")
			case "max":
				f.replace(fun, "min")
			}
		}
	case *ast.BlockStmt:
		f.drop(n.List)
	case *ast.CaseClause:
		f.drop(n.Body)
	case *ast.CommClause:
		f.drop(n.Body)
	}
}

// negate negates a condition, unless a change of its operator does that.
func (f *finder) negate(cond ast.Expr) {
	switch c := cond.(type) {
	case nil:
	case *ast.BinaryExpr:
		if c.Op == token.LAND || c.Op == token.LOR {
			f.replace(c, "!("+f.text(c)+")")
		}
	case *ast.UnaryExpr:
		if c.Op == token.NOT {
			f.replace(c, f.text(c.X))
		}
	default:
		f.replace(c, "!"+f.text(c))
	}
}

// constant changes a number.
func (f *finder) constant(n *ast.BasicLit) {
	switch n.Kind {
	case token.INT:
		v, err := strconv.ParseInt(n.Value, 0, 64)
		if err != nil {
			return
		}
		f.replace(n, strconv.FormatInt(v+1, 10))
		if v == 1 {
			f.replace(n, "0")
		}
	case token.FLOAT:
		f.replace(n, "("+n.Value+"*2)")
		f.replace(n, "("+n.Value+"/2)")
	}
}

// drop leaves out statements, one at a time.
func (f *finder) drop(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			if !isLog(s.X) {
				f.replace(s, "")
			}
		case *ast.AssignStmt:
			f.dropAssign(s)
		case *ast.ReturnStmt:
			if len(s.Results) == 0 {
				f.replace(s, "")
			}
		case *ast.IncDecStmt, *ast.BranchStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt:
			f.replace(s, "")
		}
	}
}

// dropAssign leaves out an assignment and computes its right side, so that
// variables that are used nowhere else are still used.
func (f *finder) dropAssign(s *ast.AssignStmt) {
	if s.Tok == token.DEFINE {
		return
	}
	var right []string
	for _, r := range s.Rhs {
		if t := f.text(r); t != "nil" {
			right = append(right, t)
		}
	}
	switch {
	case len(right) == 0:
		f.replace(s, "")
	case len(right) < len(s.Lhs): // a call of several results
		f.replace(s, strings.Repeat("_, ", len(s.Lhs)-1)+"_ = "+strings.Join(right, ", "))
	default:
		f.replace(s, strings.Repeat("_, ", len(right)-1)+"_ = "+strings.Join(right, ", "))
	}
}

// results changes what a function returns, one result at a time.
func (f *finder) results(s *ast.ReturnStmt, types *ast.FieldList) {
	if types == nil {
		return
	}
	var kinds []string
	for _, field := range types.List {
		for range max(1, len(field.Names)) {
			kinds = append(kinds, f.text(field.Type))
		}
	}
	if len(kinds) != len(s.Results) {
		return
	}
	for i, r := range s.Results {
		switch kinds[i] {
		case "bool":
			if t := f.text(r); t != "true" && t != "false" {
				f.negate(r)
			}
		case "int", "int64", "uint64", "time.Duration":
			f.replace(r, f.text(r)+" + 1")
		case "float64":
			f.replace(r, "2*("+f.text(r)+")")
		case "error":
			if f.text(r) != "nil" {
				f.replace(r, "nil")
			}
		}
	}
}

// isLog reports whether an expression is a call of a logger.
func isLog(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch x := sel.X.(type) {
	case *ast.Ident:
		return x.Name == "log" || x.Name == "slog"
	case *ast.SelectorExpr:
		return x.Sel.Name == "log"
	}
	return false
}

func (f *finder) text(n ast.Node) string {
	return string(f.src[f.file.Offset(n.Pos()):f.file.Offset(n.End())])
}

func (f *finder) replace(n ast.Node, with string) {
	f.add(f.file.Offset(n.Pos()), f.file.Offset(n.End()), with)
}

// add adds the replacement of some bytes.
func (f *finder) add(from, to int, with string) {
	begin := bytes.LastIndexByte(f.src[:from], '\n') + 1
	end := len(f.src)
	if i := bytes.IndexByte(f.src[to:], '\n'); i >= 0 {
		end = to + i
	}
	m := &Mutant{
		File: f.name, Line: f.file.Line(f.file.Pos(from)), Func: funcName(f.fn), from: from, to: to, with: with,
		Old: fold(string(f.src[begin:end])),
		New: fold(string(f.src[begin:from]) + with + string(f.src[to:end])),
	}
	if m.Old != m.New {
		f.all = append(f.all, m)
	}
}

// funcName names a function with the type that it is a method of.
func funcName(fn *ast.FuncDecl) string {
	if fn == nil {
		return ""
	}
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// fold leaves out comments at the end of lines and puts all on one line.
func fold(s string) string {
	var words []string
	for line := range strings.Lines(s) {
		code, _, _ := strings.Cut(line, " // ")
		words = append(words, strings.Fields(code)...)
	}
	s = strings.Join(words, " ")
	const most = 160
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
