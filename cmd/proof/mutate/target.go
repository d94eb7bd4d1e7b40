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
// the others write gigabytes, mount, or wait for the network. TestPure sees to it that
// none is missing.
var pure = []string{
	"engine/internal/bitfield", "engine/internal/blockproof", "engine/internal/choker", "engine/internal/connlimit",
	"engine/internal/connector:slots.go,twins.go", "engine/internal/metadata", "engine/internal/peerbook",
	"engine/internal/picker", "engine/internal/subnet", "engine/internal/throttle", "engine/internal/verify",
	"engine/internal/bencode", "engine/internal/netrule:netrule.go",
	"engine/internal/wire:wire.go,read.go,extension.go,handshake.go,plan.go",
	"engine/internal/upload:allowedfast.go",
	"engine/internal/webseed:answer.go,choice.go,locate.go,queue.go,schedule.go,site.go,width.go:Judge|Choice|Locate|Schedule|Site|Width|Runs",
	"engine/internal/discover/peeraddr", "engine/internal/discover/pex", "engine/internal/discover/schedule",
	"engine/internal/discover/tracker:tier.go:Tier|Intervals|Backoff",
	"engine/internal/discover/dht:lookup.go,nodebook.go:FindsClosest|LookupEnds$|NodeBook",
	"engine/internal/discover/lsd:message.go,schedule.go:Message|Schedule",
	"engine/source", "engine/source/merkle", "engine/publish/metainfo",
	"reader:budget.go,restricted.go,protect.go,window.go", "reader/internal/policy",
	"cache/internal/policy", "fs/internal/tree", "cmd/internal/config",
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
