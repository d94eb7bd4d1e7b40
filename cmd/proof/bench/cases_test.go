package main

import (
	"slices"
	"testing"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
)

// TestCases looks at the table of cases: names that --only can tell apart, and
// references that run.
func TestCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases() {
		if seen[c.Name] || c.About == "" || c.Limit == 0 || len(c.Systems) == 0 || c.Systems[0] != suite.Weir {
			t.Errorf("case %+v", c.Name)
		}
		seen[c.Name] = true
		for _, f := range c.Figures {
			if f.Reference != "" && !slices.Contains(c.Systems, f.Reference) {
				t.Errorf("%s, %s is held against %s, which does not run", c.Name, f.Name, f.Reference)
			}
			if (f.Bar.LeastOf != 0 || f.Bar.MostOf != 0) && f.Reference == "" {
				t.Errorf("%s, %s has a bar relative to nothing", c.Name, f.Name)
			}
		}
	}
	for _, name := range quick {
		if !seen[name] {
			t.Errorf("--quick names %q, which is no case", name)
		}
	}
	if n := len(chosen(cases(), "video/mkv,hanging")); n != 2 {
		t.Errorf("%d cases chosen", n)
	}
}
