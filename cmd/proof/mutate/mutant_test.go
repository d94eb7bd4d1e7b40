package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `package sample

const limit = 8

type T struct{ n int }

func (t *T) Add(n int, _ string) (total int, ok bool) {
	if n > limit && !(n == 9) {
		return t.n, false // why
	}
	t.n += n
	return max(t.n, 1), true
}
`

// TestMutants: every kind of change, at its place and nowhere else.
func TestMutants(t *testing.T) {
	all, err := Mutants("sample.go", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, m := range all {
		got[m.Key()] = m.Line
		changed := string(m.Apply([]byte(sample)))
		if changed == sample {
			t.Errorf("%s changes nothing", m.Key())
		}
		lines, old := strings.Split(changed, "\n"), strings.Split(sample, "\n")
		for i := range old {
			if i != m.Line-1 && lines[i] != old[i] {
				t.Errorf("%s changes line %d, too", m.Key(), i+1)
			}
		}
	}
	for key, line := range map[string]int{
		": const limit = 8 → const limit = 9":                                 3,
		"T.Add: if n > limit && !(n == 9) { → if n >= limit && !(n == 9) {":   8,
		"T.Add: if n > limit && !(n == 9) { → if n <= limit && !(n == 9) {":   8,
		"T.Add: if n > limit && !(n == 9) { → if n > limit || !(n == 9) {":    8,
		"T.Add: if n > limit && !(n == 9) { → if n > limit && (n == 9) {":     8,
		"T.Add: if n > limit && !(n == 9) { → if n > limit && !(n != 9) {":    8,
		"T.Add: if n > limit && !(n == 9) { → if n > limit && !(n == 10) {":   8,
		"T.Add: if n > limit && !(n == 9) { → if !(n > limit && !(n == 9)) {": 8,
		"T.Add: return t.n, false → return t.n, true":                         9,
		"T.Add: return t.n, false → return t.n + 1, false":                    9,
		"T.Add: t.n += n → _ = n":                                             11,
		"T.Add: return max(t.n, 1), true → return min(t.n, 1), true":          12,
		"T.Add: return max(t.n, 1), true → return max(t.n, 0), true":          12,
		"T.Add: return max(t.n, 1), true → return max(t.n, 2), true":          12,
		"T.Add: return max(t.n, 1), true → return max(t.n, 1), false":         12,
		"T.Add: return max(t.n, 1), true → return max(t.n, 1) + 1, true":      12,
	} {
		if got[key] != line {
			t.Errorf("no mutant in line %d: %s", line, key)
		}
		delete(got, key)
	}
	for key := range got {
		t.Errorf("an unexpected mutant: %s", key)
	}
}

// TestWholeRun measures a module of its own, whose tests see one half of its function.
func TestWholeRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/sample\n\ngo 1.25\n",
		"p/p.go": sample,
		"p/p_test.go": `package sample

import "testing"

func TestAdd(t *testing.T) {
	var v T
	if n, ok := v.Add(3, ""); n != 3 || !ok {
		t.Error(n, ok)
	}
}
`,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	var out strings.Builder
	code, err := run(t.Context(), []string{"-n", "100", "-record", "verdicts", "p"}, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	text, record := out.String(), read(t, "verdicts")
	if code != 1 || !strings.Contains(text, "below the bar") {
		t.Errorf("exit code %d for tests that see half:\n%s", code, text)
	}
	for verdict, key := range map[string]string{
		"killed\tp\tT.Add: return max(t.n, 1), true → return min(t.n, 1), true": "a wrong result",
		"killed\tp\tT.Add: t.n += n → _ = n":                                    "a statement less",
		"survived\tp\tT.Add: return t.n, false → return t.n, true":              "what no test reaches",
		"survived\tp\t: const limit = 8 → const limit = 9":                      "a constant",
	} {
		if !strings.Contains(record, verdict+"\n") {
			t.Errorf("%s: not %q in:\n%s", key, verdict, record)
		}
	}
	if got := read(t, "p/p.go"); got != sample {
		t.Errorf("the source was changed:\n%s", got)
	}
	out.Reset()
	if _, err := run(t.Context(), []string{"-n", "100", "-record", "verdicts", "p"}, &out, &out); err != nil || out.String() != text {
		t.Errorf("the record says something else (%v):\n%s", err, out.String())
	}
	if again := read(t, "verdicts"); again != record {
		t.Error("what the record knew was tested again")
	}
}

func read(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func TestDrawIsSeeded(t *testing.T) {
	all, err := Mutants("sample.go", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	keys := func(seed uint64) (s string) {
		for _, m := range draw(all, seed) {
			s += m.Key() + "\n"
		}
		return s
	}
	first := keys(1)
	if keys(1) != first || keys(2) == first {
		t.Error("the seed does not decide")
	}
}

func TestEquivalents(t *testing.T) {
	list, err := parseEquivalents(equivalentText)
	if err != nil {
		t.Fatal(err)
	}
	for dir, keys := range list {
		if _, err := os.Stat(filepath.Join("../../..", dir)); err != nil {
			t.Errorf("equivalent.txt: %v", err)
		}
		for key, reason := range keys {
			if !strings.Contains(key, " →") || len(reason) < 20 {
				t.Errorf("equivalent.txt: %s: %q: no mutant, or no reason", dir, key)
			}
		}
	}
	if _, err := parseEquivalents("a\nb\n\n"); err == nil {
		t.Error("a mutant without a reason is taken")
	}
	list, err = parseEquivalents("# why\np\nf: a → b\nbecause\n\np\nT.Add: t.n += n → _ = n\nbecause\n")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Mutants("sample.go", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if got := list.stale("p", all); len(got) != 1 || got[0] != "f: a → b" {
		t.Errorf("stale: %q", got)
	}
}
