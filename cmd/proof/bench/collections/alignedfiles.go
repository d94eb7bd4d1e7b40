package collections

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// AlignedFiles copies a folder of files that are much smaller than a piece, each of
// which begins with a piece, as in every hybrid torrent: what lies between them is
// padding. weir fetch of the same says what the swarm allows.
func AlignedFiles(wire string) suite.Case {
	return suite.Case{
		Name: "aligned-files/" + wire, About: "5,000 files of 1.6 KB, padded to pieces of 32 KiB, with cp -r and with weir fetch",
		Systems: []string{suite.Weir}, Limit: 90 * time.Second,
		Figures: []suite.Figure{
			{Name: "fetched by content", Unit: suite.Ratio, Bar: suite.Bar{Most: 1.05}},
			{Name: "cp", Unit: suite.BytesPerSec},
			{Name: "weir fetch", Unit: suite.BytesPerSec},
			{Name: "cp / weir fetch", Unit: suite.Ratio, Bar: suite.Bar{Least: 0.9}},
			{Name: "cp, all held", Unit: suite.BytesPerSec},
			{Name: "processor time of cp, all held", Unit: suite.Seconds},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			spec := AlignedSpec()
			s := testbed.Seeding{Spec: spec, Hosts: 4, Delay: suite.HalfTrip, BytesPerSec: suite.Rate5}
			sw, err := r.Seed(r.Wire(wire), s)
			if err != nil {
				return nil, err
			}
			content := float64(len(spec.Files)) * 1600
			took := map[string]time.Duration{}
			v := suite.Values{}
			for i, how := range turns(r.Repeat) {
				before, err := sw.Wire.Hosts().Uploaded(r.Ctx)
				if err != nil {
					return nil, err
				}
				p, err := r.Start(sw, "", "--cache="+filepath.Join(r.Dir, fmt.Sprint("cache", i)))
				if err != nil {
					return nil, err
				}
				if err := p.Visible(r.Ctx); err != nil {
					return nil, err
				}
				begin := time.Now()
				if how == "cp" {
					err = CopyFolder(r, p.Path(), filepath.Join(r.Dir, "copy"), len(spec.Files))
				} else {
					_, err = r.Output(r.Paths[suite.Weir], "fetch", p.Path())
				}
				took[how] = time.Since(begin)
				if err != nil {
					return nil, err
				}
				if how == "cp" {
					sent, err := r.Fetched(sw)
					if err != nil {
						return nil, err
					}
					v["fetched by content"] = (sent - float64(before)) / content
				} else {
					cpu := p.CPU()
					begin = time.Now()
					if err := CopyFolder(r, p.Path(), filepath.Join(r.Dir, "again"), len(spec.Files)); err != nil {
						return nil, err
					}
					v["cp, all held"] = content / time.Since(begin).Seconds()
					v["processor time of cp, all held"] = (p.CPU() - cpu).Seconds()
				}
				if err := r.StopAll(); err != nil {
					return nil, err
				}
			}
			v["cp"], v["weir fetch"] = content/took["cp"].Seconds(), content/took["fetch"].Seconds()
			v["cp / weir fetch"] = v["cp"] / v["weir fetch"]
			return v, nil
		},
	}
}

// AlignedSpec is such a folder.
func AlignedSpec() remotehosts.Spec {
	spec := many("aligned", 5000, 1600, 32*suite.KiB)
	spec.Hybrid = true
	return spec
}

// turns is in which order cp and weir fetch have their turns.
func turns(repeat int) []string {
	if repeat%2 == 0 {
		return []string{"fetch", "cp"}
	}
	return []string{"cp", "fetch"}
}

// CopyFolder lets cp copy a folder of so many files, into memory where the contents
// are kept there, and removes the copy.
func CopyFolder(r *suite.Run, from, to string, files int) error {
	to = filepath.Join(r.Testbed.Data, filepath.Base(r.Dir)+"-"+filepath.Base(to))
	if _, err := r.Output("cp", "-r", from, to); err != nil {
		return err
	}
	n := 0
	err := filepath.WalkDir(to, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	if err == nil && n != files {
		err = fmt.Errorf("cp made %d files of %d", n, files)
	}
	if gone := os.RemoveAll(to); err == nil {
		err = gone
	}
	return err
}
