package collections

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Million mounts a torrent of a million files and 250,000 pieces.
func Million() suite.Case {
	return suite.Case{
		Name: "million", About: "a torrent of 1,000,000 files: mounted, listed, one file read over loopback",
		Systems: []string{suite.Weir}, Limit: 90 * time.Second, Once: true,
		Figures: []suite.Figure{
			{Name: "listed", Unit: suite.Seconds, Bar: suite.Bar{Most: 3}},
			{Name: "first read", Unit: suite.Seconds, Bar: suite.Bar{Most: 1}},
			{Name: "memory", Unit: suite.Bytes, Bar: suite.Bar{Most: 400e6}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			spec := many("million", 1_000_000, 4*suite.KiB, 16*suite.KiB)
			spec.Virtual = true
			sw, err := r.Seed(r.Wire("loopback"), testbed.Seeding{Spec: spec, Own: true, Hosts: 1})
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
			n := 0
			if err := filepath.WalkDir(p.Path(), func(_ string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					n++
				}
				return err
			}); err != nil {
				return nil, err
			}
			v := suite.Values{"listed": time.Since(p.Start).Seconds()}
			if n != len(spec.Files) {
				return v, io.ErrUnexpectedEOF
			}
			last := spec.Files[len(spec.Files)-7]
			begin := time.Now()
			b, err := os.ReadFile(p.Path(last.Path...))
			if err != nil {
				return v, err
			}
			v["first read"] = time.Since(begin).Seconds()
			if int64(len(b)) != last.Length {
				return v, io.ErrUnexpectedEOF
			}
			v["memory"] = float64(p.Memory())
			return v, nil
		},
	}
}
