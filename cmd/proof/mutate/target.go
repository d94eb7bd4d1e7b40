package main

import (
	"path"
	"slices"
	"strings"
)

// Target is a package to test, or some of its files.
type Target struct {
	Dir   string   // from the root of the module
	Files []string // base names; none for all
	Tests string   // which tests are run, as go test -run has it; "" for all
}

// pure are the packages that decide and do no I/O: what the bar is for. Of some
// only the files that decide count, and of their tests those that are about them:
// the others write gigabytes, mount, or wait for the network.
var pure = []string{
	"engine/internal/choker", "engine/internal/throttle", "engine/internal/verify", "engine/internal/picker",
	"engine/internal/connlimit", "engine/internal/netrule:netrule.go", "engine/internal/bencode",
	"engine/internal/peerbook", "engine/internal/metadata",
	"cmd/internal/config", "reader:budget.go,restricted.go", "reader/internal/policy",
	"cache/internal/policy",
	"engine/internal/wire:wire.go,read.go,extension.go,handshake.go",
	"engine/internal/discover/peeraddr", "engine/internal/discover/pex",
	"engine/internal/discover/tracker:tier.go:Tier|Intervals|Backoff",
	"engine/internal/discover/dht:lookup.go,nodebook.go:FindsClosest|LookupEnds$|NodeBook",
	"engine/internal/discover/lsd:message.go,schedule.go:Message|Schedule",
	"engine/source",
	"fs:names.go,tree.go,trees.go,grow.go,looks.go:Name|Tree|InVain|TestCut|NumbersIn|TestNode$",
}

// parseTarget parses DIR[:FILE,FILE…[:TESTS]].
func parseTarget(s string) Target {
	dir, rest, _ := strings.Cut(s, ":")
	files, tests, _ := strings.Cut(rest, ":")
	t := Target{Dir: path.Clean(dir), Tests: tests}
	if files != "" {
		t.Files = strings.Split(files, ",")
	}
	return t
}

func (t Target) has(base string) bool { return len(t.Files) == 0 || slices.Contains(t.Files, base) }
