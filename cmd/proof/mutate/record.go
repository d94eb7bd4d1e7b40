package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Record stores verdicts in a file, so that an interrupted run can be continued. Remove the
// file when tests were removed. The zero Record stores nothing.
type Record struct {
	name string
	seen map[string]Verdict // by package, tab, key
}

// readRecord reads what a file has, if there is one.
func readRecord(name string) (*Record, error) {
	r := &Record{name: name, seen: make(map[string]Verdict)}
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if v, key, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			r.seen[key] = Verdict(v) // the latest counts
		}
	}
	return r, nil
}

func (r *Record) get(dir string, m *Mutant) (Verdict, bool) {
	v, ok := r.seen[dir+"\t"+m.Key()]
	return v, ok
}

func (r *Record) add(dir string, m *Mutant, v Verdict) error {
	if r.name == "" {
		return nil
	}
	f, err := os.OpenFile(r.name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\t%s\t%s\n", v, dir, m.Key())
	return errors.Join(err, f.Close())
}
