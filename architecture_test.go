package weir_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tableRow is a row of the table of packages in docs/architecture.md.
type tableRow struct {
	dir    string
	what   string // lives there
	forbid string // must never be imported
}

var firstCell = regexp.MustCompile("^`([^`]+)`")

// packageTable reads the rows whose first cell is a package.
func packageTable(text string) []tableRow {
	var rows []tableRow
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			continue
		}
		m := firstCell.FindStringSubmatch(strings.TrimSpace(cells[0]))
		if m == nil {
			continue
		}
		dir := strings.TrimSuffix(m[1], "/...")
		if dir == "weir" {
			dir = "."
		}
		rows = append(rows, tableRow{dir, strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])})
	}
	return rows
}

// tableWords are what the third column says and what a rule must then refuse.
var tableWords = map[string][]string{
	"anacrolix":                         {anacrolix + "/dht/v2"},
	"badger":                            {badger + "/badger/v4/y"},
	"bazil":                             {bazil},
	"net":                               {network, "net/http"},
	"the siblings":                      {modulePath + "/fs", modulePath + "/reader", modulePath + "/cache", modulePath + "/engine"},
	"I/O":                               {"os", network, "syscall"},
	"anything but the standard library": {badger + "/badger/v4", modulePath + "/engine"},
	"anything but the root":             {badger + "/badger/v4", modulePath + "/engine"},
}

// TestTableOfPackages holds the table in docs/architecture.md and the rules against
// each other: one row a rule, one rule a row, and nothing in a row that the rule
// doesn't guard where it can.
func TestTableOfPackages(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := packageTable(string(text))
	for _, l := range layers {
		if !slices.ContainsFunc(rows, func(r tableRow) bool { return r.dir == l.dir }) {
			t.Errorf("%s has a rule in layers_test.go and no row in docs/architecture.md", l.dir)
		}
	}
	for i, r := range rows {
		if slices.ContainsFunc(rows[:i], func(o tableRow) bool { return o.dir == r.dir }) {
			t.Errorf("%s has two rows in docs/architecture.md", r.dir)
		}
		at := slices.IndexFunc(layers, func(l layer) bool { return l.dir == r.dir })
		if at < 0 {
			t.Errorf("%s has a row in docs/architecture.md and no rule in layers_test.go", r.dir)
			continue
		}
		l := layers[at]
		if says := strings.Contains(r.what, "pure"); says != l.pure {
			t.Errorf("%s: the row says pure: %v, the rule %v", r.dir, says, l.pure)
		}
		if says := strings.Contains(r.forbid, "clocks, goroutines"); says != (l.pure || l.decides) {
			t.Errorf("%s: the row forbids clocks and goroutines: %v, the rule %v", r.dir, says, l.pure || l.decides)
		}
		for word := range strings.SplitSeq(r.forbid, ",") {
			for _, imp := range tableWords[strings.TrimSpace(word)] {
				own := strings.TrimPrefix(imp, modulePath+"/")
				if own != imp && within(r.dir, own) {
					continue // its own family
				}
				if l.allows(imp, false) {
					t.Errorf("%s: the row forbids %q, the rule lets it import %s", r.dir, strings.TrimSpace(word), imp)
				}
			}
		}
	}
}

// TestEveryPackageHasARow: the library's packages are all in the table. The
// application's share a row, but for those with a rule of their own.
func TestEveryPackageHasARow(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range repositoryFiles(t) {
		dir := path.Dir(f.name)
		if seen[dir] || within(dir, "cmd") || strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		seen[dir] = true
		if l, _ := layerOf(dir); l.dir != dir {
			t.Errorf("%s has no rule of its own: add one, and a row to docs/architecture.md", dir)
		}
	}
}

// step is a function that docs/architecture.md names, as in `engine/swarm.go: swarm.own`.
var step = regexp.MustCompile("`([a-z0-9/]+\\.go): ([A-Za-z0-9_.]+)`")

// TestStepsExist: each function on the ways of a read and of a block is in the file
// that docs/architecture.md says.
func TestStepsExist(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string][]string{}
	found := step.FindAllStringSubmatch(string(text), -1)
	if len(found) < 30 {
		t.Errorf("%d steps were found", len(found))
	}
	for _, m := range found {
		file, name := m[1], m[2]
		if declared[file] == nil {
			if declared[file], err = functionsOf(file); err != nil {
				t.Errorf("step %s: %v", name, err)
				continue
			}
		}
		if !slices.Contains(declared[file], name) {
			t.Errorf("%s has no function %s", file, name)
		}
	}
}

// namedFile is a file of the repository that docs/architecture.md names, or a pattern.
var namedFile = regexp.MustCompile("`([a-z0-9_/*.]+\\.go)[`:]")

// TestFilesExist: each file that docs/architecture.md names is there.
func TestFilesExist(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range namedFile.FindAllStringSubmatch(string(text), -1) {
		if found, err := filepath.Glob(m[1]); err != nil || len(found) == 0 {
			t.Errorf("there is no %s (%v)", m[1], err)
		}
	}
}

// functionsOf returns the functions of a file: "New", and "Type.Method".
func functionsOf(name string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		return nil, err
	}
	names := []string{""}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			name = receiverOf(f) + "." + name
		}
		names = append(names, name)
	}
	return names, nil
}

// What an object, a package and a file may have. A package of commands has a file for
// each command, and tests count nowhere.
const (
	maxMethods = 40
	maxFields  = 20
	maxFiles   = 20
	maxLines   = 400
)

// filesOf are packages that may have fewer files than maxFiles.
var filesOf = map[string]int{"engine": 12}

// tooLarge is what is above its limit, and by how much it may be: a number here only
// shrinks, and an entry goes with the last of it.
var tooLarge = map[string]int{
	"fields of engine/swarmtest.conn": 24,
}

// TestSizes: no object does too much, no package is a hall, and no file is more than a room.
// What is above its limit is in tooLarge with what it has now.
func TestSizes(t *testing.T) {
	sizes := map[string]int{}
	limits := map[string]int{}
	for _, f := range repositoryFiles(t) {
		dir := path.Dir(f.name)
		if strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(f.name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		if file.Name.Name != "main" {
			sizes["files of "+dir]++
			limits["files of "+dir] = maxFiles
			if n, ok := filesOf[dir]; ok {
				limits["files of "+dir] = n
			}
		}
		sizes["lines of "+f.name] = strings.Count(string(src), "\n")
		limits["lines of "+f.name] = maxLines
		for object, n := range methodsIn(file) {
			sizes["methods of "+dir+"."+object] += n
			limits["methods of "+dir+"."+object] = maxMethods
		}
		for object, n := range fieldsIn(file) {
			sizes["fields of "+dir+"."+object] = n
			limits["fields of "+dir+"."+object] = maxFields
		}
	}
	if n := sizes["methods of cache.Cache"]; n < 5 {
		t.Errorf("cache.Cache has %d methods: they are not counted", n)
	}
	for _, what := range slices.Sorted(maps.Keys(sizes)) {
		n, most, known := sizes[what], limits[what], tooLarge[what]
		switch {
		case n > max(most, known):
			t.Errorf("%s: %d, and %d may be", what, n, max(most, known))
		case known > 0 && n < known:
			t.Errorf("%s: %d, and tooLarge says %d: lower it, or drop it at %d", what, n, known, most)
		}
	}
	for what := range tooLarge {
		if sizes[what] == 0 {
			t.Errorf("%s: there is no such thing; drop it from tooLarge", what)
		}
	}
}

// methodsIn counts the methods of a file by their type.
func methodsIn(file *ast.File) map[string]int {
	counts := map[string]int{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
			counts[receiverOf(f)]++
		}
	}
	return counts
}

// receiverOf returns the type of a method.
func receiverOf(f *ast.FuncDecl) string {
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	switch generic := of.(type) {
	case *ast.IndexExpr:
		of = generic.X
	case *ast.IndexListExpr:
		of = generic.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// fieldsIn counts the fields of a file's objects. A struct that hides none of its fields is
// a list (options, an answer), and may be long.
func fieldsIn(file *ast.File) map[string]int {
	counts := map[string]int{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			fields, hidden := 0, false
			for _, f := range st.Fields.List {
				fields += max(1, len(f.Names))
				hidden = hidden || slices.ContainsFunc(f.Names, func(n *ast.Ident) bool { return !n.IsExported() })
			}
			if hidden {
				counts[ts.Name.Name] = fields
			}
		}
	}
	return counts
}

// TestSizesAreCounted: methods are counted whatever their receiver, and fields of a struct
// that hides one.
func TestSizesAreCounted(t *testing.T) {
	const src = `package p
type Object[K any] struct { mu, other int; Name string }
type List struct { A, B, C int }
func (o *Object[K]) One() {}
func (Object[K]) Two() {}
func (l List) Three() {}
func None() {}
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := methodsIn(file), map[string]int{"Object": 2, "List": 1}; !maps.Equal(got, want) {
		t.Errorf("methods %v, want %v", got, want)
	}
	if got, want := fieldsIn(file), map[string]int{"Object": 3}; !maps.Equal(got, want) {
		t.Errorf("fields %v, want %v", got, want)
	}
}
