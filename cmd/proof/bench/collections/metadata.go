package collections

import (
	"bytes"
	"fmt"
	"os/exec"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Metadata lists a torrent of many files, with nobody to ask for content.
func Metadata() suite.Case {
	return suite.Case{
		Name: "metadata", About: "find and ls -lR of 100,000 files in 1,000 folders, first and again",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "find, first", Unit: suite.Seconds, Bar: suite.Bar{Most: 1.5}},
			{Name: "find, again", Unit: suite.Seconds, Bar: suite.Bar{Most: 0.3}},
			{Name: "ls -lR, first", Unit: suite.Seconds, Bar: suite.Bar{Most: 5}},
			{Name: "ls -lR, again", Unit: suite.Seconds, Bar: suite.Bar{Most: 1}},
			{Name: "memory", Unit: suite.Bytes, Bar: suite.Bar{Most: 60e6}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			spec := many("many", 100_000, 1*suite.KiB, suite.MiB)
			if r.Options.Quick {
				spec = many("quick-many", 2000, 1*suite.KiB, suite.MiB)
			}
			spec.Virtual = true
			sw, err := r.Seed(r.Wire("loopback"), testbed.Seeding{Spec: spec, Own: true})
			if err != nil {
				return nil, err
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
				return nil, err
			}
			v := suite.Values{}
			for _, w := range []struct {
				figure string
				args   []string
			}{
				{"find, first", []string{"find"}}, {"find, again", []string{"find"}},
				{"ls -lR, first", []string{"ls", "-lR"}}, {"ls -lR, again", []string{"ls", "-lR"}},
			} {
				begin := time.Now()
				out, err := exec.CommandContext(r.Ctx, w.args[0], append(w.args[1:], p.Path())...).Output()
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
