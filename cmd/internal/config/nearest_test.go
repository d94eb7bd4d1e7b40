package config

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/weirfs/weir"
)

// edits is the Levenshtein distance as it is defined: the fewest letters put in,
// left out or swapped for others.
func edits(a, b string) int {
	switch {
	case a == "":
		return len(b)
	case b == "":
		return len(a)
	case a[0] == b[0]:
		return edits(a[1:], b[1:])
	}
	return 1 + min(edits(a[1:], b), edits(a, b[1:]), edits(a[1:], b[1:]))
}

func TestDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	word := func() string {
		b := make([]byte, r.IntN(8))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	for range 3000 {
		a, b, limit := word(), word(), 1+r.IntN(10)
		if got, want := distance(a, b, limit), min(limit, edits(a, b)); got != want {
			t.Fatalf("distance of %q and %q, below %d: %d, want %d", a, b, limit, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"cache", "cache-size", "read-timeout", "dht", "peer"}
	for s, want := range map[string]string{
		"cache": "cache", "CACHE_SIZE": "cache-size", "cachesize": "cache-size", "chace": "cache",
		"dth": "dht", "d": "", "dh": "dht", "x": "", "": "", "reed-timout": "read-timeout", "timeout": "",
		"peers": "peer", "pears": "peer", "beers": "peer", "bears": "", "zzzzzzzzzzzz": "",
	} {
		if got := Nearest(s, names); got != want {
			t.Errorf("%q may mean %q, want %q", s, got, want)
		}
	}
}

// TestFileBound: a file of a MiB is read, a byte more is refused before it is parsed.
func TestFileBound(t *testing.T) {
	name := t.TempDir() + "/config.yaml"
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, extra := range []int{0, 1, 1 << 20} {
		text := "mountpoint: /a\n#" + strings.Repeat("x", 1<<20-17+extra) + "\n"
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := readFile(name, flags)
		if extra == 0 {
			if err != nil || f.mountpoint != "/a" {
				t.Errorf("%d bytes: %v", len(text), err)
			}
			continue
		}
		if !errors.Is(err, weir.ErrInvalid) || f != nil {
			t.Errorf("%d bytes: %v, %v", len(text), f, err)
		}
	}
	if f, err := readFile(t.TempDir(), flags); err == nil || f != nil {
		t.Errorf("a folder is read as %v", f)
	}
}

// TestSayNothing: files that say nothing.
func TestSayNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "~\n", "null\n", "---\n", "{}\n", "\xef\xbb\xbf"} {
		f, err := parse("f", []byte(text), nil, "")
		if err != nil || f == nil || f.mountpoint != "" || len(f.entries) > 0 || len(f.torrents) > 0 {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
}

// TestOneWrongOfMany: what is wrong is left out of what is returned, all of it is
// told, and the rest is there.
func TestOneWrongOfMany(t *testing.T) {
	f, err := parse("f", []byte("mountpoint: [a, b]\ncache: {}\npeer: [x, y]\n? [1]\n: z\nlate: 1\ncache: c\n"), []string{"cache", "peer"}, "")
	if err == nil || len(f.entries) != 1 || f.entries[0].key != "peer" || f.entries[0].line != 3 || f.mountpoint != "" {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, want := range []string{"f:1: want one folder", "f:2: want a value", "f:4: no setting", "f:6: no setting \"late\"", "f:7: cache stands in line 2 already"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not told %q: %v", want, err)
		}
	}
	if strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("told more than five things: %v", err)
	}
}

// TestChanged: what was set is marked as set, so that --flag=default can be told
// from no flag at all; what failed is not.
func TestChanged(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.StringArray("peer", nil, "")
	flags.Bool("dht", true, "")
	flags.Bool("lsd", true, "")
	s, err := Settle(flags, Host{Environ: []string{"WEIR_PEER=a", "WEIR_DHT=true"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"peer": true, "dht": true, "lsd": false} {
		if flags.Lookup(name).Changed != want {
			t.Errorf("%s, from %s: changed %v", name, s.From[name], !want)
		}
	}
	if err := set(flags.Lookup("lsd"), []string{"perhaps"}); err == nil || flags.Lookup("lsd").Changed {
		t.Errorf("%v, and the flag counts as set", err)
	}
	if err := set(flags.Lookup("lsd"), nil); err == nil {
		t.Error("no value is taken as one")
	}
}
