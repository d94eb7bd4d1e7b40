package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// metadata lists a torrent of many files, with nobody to ask for content.
func metadata() Case {
	return Case{
		Name: "metadata", About: "find and ls -lR of 100,000 files in 1,000 folders, first and again",
		Systems: []string{weirSystem}, Limit: 60 * time.Second,
		Figures: []Figure{
			{Name: "find, first", Unit: Seconds, Bar: Bar{Most: 1.5}},
			{Name: "find, again", Unit: Seconds, Bar: Bar{Most: 0.3}},
			{Name: "ls -lR, first", Unit: Seconds, Bar: Bar{Most: 5}},
			{Name: "ls -lR, again", Unit: Seconds, Bar: Bar{Most: 1}},
			{Name: "memory", Unit: Bytes, Bar: Bar{Most: 60e6}},
		},
		Run: func(r *Run) (Values, error) {
			spec := many("many", 100_000, 1*kib, mib)
			if r.o.Quick {
				spec = many("quick-many", 2000, 1*kib, mib)
			}
			spec.Virtual = true
			sw, err := r.seed(r.wire("loopback"), testbed.Seeding{Spec: spec, Own: true})
			if err != nil {
				return nil, err
			}
			p, err := r.start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.ctx); err != nil {
				return nil, err
			}
			v := Values{}
			for _, w := range []struct {
				figure string
				args   []string
			}{
				{"find, first", []string{"find"}}, {"find, again", []string{"find"}},
				{"ls -lR, first", []string{"ls", "-lR"}}, {"ls -lR, again", []string{"ls", "-lR"}},
			} {
				begin := time.Now()
				out, err := exec.CommandContext(r.ctx, w.args[0], append(w.args[1:], p.Path())...).Output()
				if err != nil {
					return nil, fmt.Errorf("%s: %w", w.args[0], err)
				}
				v[w.figure] = time.Since(begin).Seconds()
				if lines := bytes.Count(out, []byte("\n")); lines < len(spec.Files) {
					return nil, fmt.Errorf("%s lists %d lines for %d files", w.args[0], lines, len(spec.Files))
				}
			}
			v["memory"] = float64(p.Memory())
			return v, nil
		},
	}
}
