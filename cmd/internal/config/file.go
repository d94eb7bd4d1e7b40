package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/weirfs/weir"
)

// maxFileBytes bounds a settings file: nobody writes more by hand.
const maxFileBytes = 1 << 20

// Keys of a file beside the flags' names.
const (
	keyMountpoint = "mountpoint"
	keyTorrents   = "torrents"
)

// entry is one key of a file.
type entry struct {
	key    string
	values []string
	line   int
}

// file is a settings file that has been read.
type file struct {
	path       string
	mountpoint string
	torrents   []string
	entries    []entry // settings, each once
}

func readFile(path string, flags *pflag.FlagSet) (*file, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	var known []string
	flags.VisitAll(func(f *pflag.Flag) {
		if IsSetting(f) {
			known = append(known, f.Name)
		}
	})
	home, _ := os.UserHomeDir() // without one, ~ stays as it is
	return parse(path, b, known, home)
}

// parse reads YAML: one mapping of keys to a value, or to a list of values. The
// error wraps weir.ErrInvalid and has the line.
func parse(path string, b []byte, known []string, home string) (*file, error) {
	f := &file{path: path}
	if len(b) > maxFileBytes {
		return nil, weir.Errorf(weir.ErrInvalid, "%s: over 1 MiB: this is no settings file", path)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return f, nil
	} else if err != nil {
		return nil, weir.Errorf(weir.ErrInvalid, "%s: %w", path, err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, weir.Errorf(weir.ErrInvalid, "%s: more than one YAML document, or something behind the first", path)
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return f, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, weir.Errorf(weir.ErrInvalid, "%s:%d: want lines such as \"cache-size: 20GiB\"", path, root.Line)
	}
	known = append([]string{keyMountpoint, keyTorrents}, known...)
	seen := map[string]int{}
	var errs []error
	for i := 0; i+1 < len(root.Content); i += 2 {
		e := entry{key: root.Content[i].Value, line: root.Content[i].Line}
		err := e.check(root.Content[i], known, seen)
		if err == nil {
			e.values, err = scalars(root.Content[i+1], home)
		}
		if err != nil {
			errs = append(errs, weir.Errorf(weir.ErrInvalid, "%s:%d: %w", path, e.line, err))
			continue
		}
		switch e.key {
		case keyTorrents:
			f.torrents = e.values
		case keyMountpoint:
			if len(e.values) != 1 {
				errs = append(errs, weir.Errorf(weir.ErrInvalid, "%s:%d: want one folder", path, e.line))
				continue
			}
			f.mountpoint = e.values[0]
		default:
			f.entries = append(f.entries, e)
		}
	}
	return f, errors.Join(errs...)
}

// check refuses keys that are unknown or come twice.
func (e *entry) check(n *yaml.Node, known []string, seen map[string]int) error {
	if n.Kind != yaml.ScalarNode || !contains(known, e.key) {
		if near := Nearest(e.key, known); near != "" {
			return fmt.Errorf("no setting %q, did you mean %q?", e.key, near)
		}
		return fmt.Errorf("no setting %q; \"weir config\" lists them", e.key)
	}
	if line := seen[e.key]; line != 0 {
		return fmt.Errorf("%s stands in line %d already", e.key, line)
	}
	seen[e.key] = e.line
	return nil
}

// scalars returns the values beside a key, none for an empty list. A "~/" at the beginning is the home folder, as it would be in a shell.
func scalars(n *yaml.Node, home string) ([]string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	values := []string{}
	for _, item := range items {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		if item.Kind != yaml.ScalarNode {
			return nil, errors.New("want a value or a list of values")
		}
		if item.Tag == "!!null" {
			return nil, errors.New("there is no value")
		}
		v := item.Value
		if rest, ok := strings.CutPrefix(v, "~/"); ok && home != "" {
			v = filepath.Join(home, rest)
		}
		values = append(values, v)
	}
	return values, nil
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// Nearest returns the name that s may have been meant to be, "" if none is
// near: about a third of its letters may be wrong, "-" and "_" being the
// same.
func Nearest(s string, names []string) string {
	s = strings.ToLower(strings.ReplaceAll(s, "_", "-"))
	best, least := "", len(s)/3+2
	for _, name := range names {
		if d := distance(s, strings.ToLower(strings.ReplaceAll(name, "_", "-")), least); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two strings, or limit if it is not
// below that.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0] // of the row above
		row[0] = i + 1
		for j := range len(b) {
			cost := left
			if a[i] != b[j] {
				cost++
			}
			left = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(limit, row[len(b)])
}
