package main

import (
	_ "embed"
	"fmt"
	"strings"
)

// equivalentText names the mutants that no test can kill, because what they do is
// the same, or differs in nothing that anybody promises.
//
//go:embed equivalent.txt
var equivalentText string

// equivalents are the reasons by package and key.
type equivalents map[string]map[string]string

// parseEquivalents parses blocks of three lines, with empty lines and comments
// (#) between them: the package, the mutant's key, the reason.
func parseEquivalents(text string) (equivalents, error) {
	list := make(equivalents)
	var block []string
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case line != "":
			block = append(block, line)
		case len(block) == 3:
			if list[block[0]] == nil {
				list[block[0]] = make(map[string]string)
			}
			list[block[0]][block[1]] = block[2]
			block = nil
		case len(block) != 0:
			return nil, fmt.Errorf("equivalent.txt: %d lines from %q, want package, mutant and reason", len(block), block[0])
		}
	}
	return list, nil
}

// stale returns the keys of a package that name none of its mutants any more.
func (e equivalents) stale(dir string, all []*Mutant) (keys []string) {
	made := make(map[string]bool)
	for _, m := range all {
		made[m.Key()] = true
	}
	for key := range e[dir] {
		if !made[key] {
			keys = append(keys, key)
		}
	}
	return keys
}
