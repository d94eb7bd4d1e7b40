package foreign_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirfs/weir/cmd/proof/foreign"
)

var update = flag.Bool("update", false, "write the table of docs/interop.md instead of comparing it")

const tableFile = "../../../docs/interop.md"

// The lines between which the tables stand.
const (
	tableBegin = "<!-- made by make interop: don't edit the tables by hand -->\n"
	tableEnd   = "<!-- end -->\n"
)

// direction is who downloads from whom.
type direction string

const (
	weirDownloads direction = "weir downloads from"
	weirUploads   direction = "weir uploads to"
)

// seen is what has gone well so far.
type seen struct {
	mu    sync.Mutex
	yes   map[string]bool // by client, direction and property
	begun int             // tests
}

func newSeen() *seen { return &seen{yes: map[string]bool{}} }

func key(client string, d direction, p foreign.Property) string {
	return client + "|" + string(d) + "|" + string(p)
}

func (s *seen) add(c foreign.Client, d direction, properties ...foreign.Property) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range properties {
		s.yes[key(c.Name, d, p)] = true
	}
}

func (s *seen) began() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
}

func (s *seen) has(c string, d direction, p foreign.Property) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.yes[key(c, d, p)]
}

// checkTable compares the file with what was seen, or writes it. A run of some
// of the tests only says nothing about the rest.
func checkTable(t *testing.T, clients []foreign.Client, skipped []string, seen *seen) {
	t.Helper()
	want := 0
	for _, c := range clients {
		for _, m := range meetings {
			if _, ok := m.of(c); ok {
				want++
			}
		}
		if c.Cannot[foreign.ByPEX] == "" {
			want++
			if c.NeverTells == "" {
				want++
			}
		}
	}
	if seen.begun < want {
		t.Logf("%d of %d tests were run: the table is not compared", seen.begun, want)
		return
	}
	for _, c := range clients {
		for _, d := range []direction{weirDownloads, weirUploads} {
			for _, p := range foreign.Properties {
				if !seen.has(c.Name, d, p) && cannot(c, d, p) == "" {
					t.Errorf("%s: no test of %q where %s it", c.Name, p, d)
				}
			}
		}
	}
	b, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(b), tableBegin)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no lines %q and %q", tableFile, tableBegin, tableEnd)
	}
	versions := versionLine(t, clients)
	if *update {
		if len(skipped) > 0 {
			t.Fatalf("all clients are needed to write %s", tableFile)
		}
		text := before + tableBegin + versions + tables(clients, seen) + tableEnd + after
		if err := os.WriteFile(tableFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !strings.Contains(old, versions) {
		t.Logf("%s was made with other versions than %s", filepath.Base(tableFile), versions)
	}
	if len(skipped) > 0 {
		t.Logf("%s is not compared: not all clients were run", filepath.Base(tableFile))
		return
	}
	if got := tables(clients, seen); !strings.HasSuffix(old, got) {
		t.Errorf("%s says something else than this run, make interop writes it:\n%s", filepath.Base(tableFile), got)
	}
}

// cannot says why a cell of the table can't be, if so.
func cannot(c foreign.Client, d direction, p foreign.Property) string {
	if p == foreign.ByPEX && d == weirDownloads && c.NeverTells != "" {
		return c.NeverTells
	}
	return c.Cannot[p]
}

func versionLine(t *testing.T, clients []foreign.Client) string {
	t.Helper()
	var words []string
	for _, c := range clients {
		words = append(words, c.Name+" "+c.Version(t))
	}
	return "Run with " + strings.Join(words, ", ") + ".\n"
}

// tables writes one table a direction, and the reasons of what can't be.
func tables(clients []foreign.Client, seen *seen) string {
	var b strings.Builder
	var notes []string
	for _, d := range []direction{weirDownloads, weirUploads} {
		fmt.Fprintf(&b, "\n| %s |", d)
		for _, c := range clients {
			fmt.Fprintf(&b, " %s |", c.Name)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(clients)) + "\n")
		for _, p := range foreign.Properties {
			fmt.Fprintf(&b, "| %s |", p)
			for _, c := range clients {
				cell := "—"
				if why := cannot(c, d, p); why != "" {
					if !slices.Contains(notes, why) {
						notes = append(notes, why)
					}
					cell = fmt.Sprintf("not possible (%d)", 1+slices.Index(notes, why))
				} else if seen.has(c.Name, d, p) {
					cell = "yes"
				}
				fmt.Fprintf(&b, " %s |", cell)
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n")
	for i, why := range notes {
		fmt.Fprintf(&b, "%d. %s.\n", i+1, why)
	}
	return b.String()
}
