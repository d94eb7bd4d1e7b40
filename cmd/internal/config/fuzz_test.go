package config

import (
	"errors"
	"testing"

	"github.com/weirfs/weir"
)

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "---\n", "cache: /x\n", "peer: [a, b]\ndht: false\n", "torrents:\n- ~/x\n", "mountpoint: []\n", "a: &x b\ncache: *x\n", "? [a]\n: b\n", "cache: !!binary x\n",
	} {
		f.Add([]byte(text))
	}
	known := []string{"cache", "dht", "peer"}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse("x", b, known, "/home")
		if err != nil {
			if !errors.Is(err, weir.ErrInvalid) {
				t.Errorf("error that is not weir.ErrInvalid: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, e := range file.entries {
			if seen[e.key] || !contains(known, e.key) || e.line < 1 {
				t.Errorf("entry %+v is unknown, there twice or has no line", e)
			}
			seen[e.key] = true
		}
	})
}
