// Package collections measures many files and many torrents: trees that are listed and
// copied, files that share pieces, catalogues.
package collections

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/engine/swarmtest"
)

// AddTorrent adds a torrent to a mount that is in use.
func AddTorrent() suite.Case {
	return suite.Case{
		Name: "add", About: "weir add on a live mount, to the new folder and to its first 4 KiB, loopback",
		Systems: []string{suite.Weir}, Limit: 30 * time.Second,
		Figures: []suite.Figure{
			{Name: "visible", Unit: suite.Seconds, Bar: suite.Bar{Most: 0.050}},
			{Name: "first 4 KiB", Unit: suite.Seconds, Bar: suite.Bar{Most: 0.300}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			if exec.Command(r.Paths[suite.Weir], "add", "--help").Run() != nil {
				return nil, suite.Absent("this weir has no add")
			}
			other, err := remotehosts.One("other.bin", 256*suite.KiB, suite.MiB, 7).Content()
			if err != nil {
				return nil, err
			}
			first := filepath.Join(r.Dir, "other.torrent")
			if err := os.WriteFile(first, other.Torrent(swarmtest.Hints{}), 0o644); err != nil {
				return nil, err
			}
			sw, err := r.Seed(r.Wire("loopback"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 1})
			if err != nil {
				return nil, err
			}
			p, err := r.Start(sw, first)
			if err != nil {
				return nil, err
			}
			if err := p.VisibleAt(r.Ctx, filepath.Join(p.Mount(), "other.bin")); err != nil {
				return nil, err
			}
			cmd := exec.CommandContext(r.Ctx, r.Paths[suite.Weir], "add", p.Mount(), sw.Torrent)
			cmd.Env = p.Env()
			begin := time.Now()
			if err := cmd.Start(); err != nil {
				return nil, err
			}
			f, err := p.Open(r.Ctx)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			v := suite.Values{"visible": time.Since(begin).Seconds()}
			if err := r.Check(sw, f, 0, make([]byte, 4*suite.KiB)); err != nil {
				return nil, err
			}
			v["first 4 KiB"] = time.Since(begin).Seconds()
			return v, cmd.Wait()
		},
	}
}

// Catalogue starts weir on many torrents that an earlier mount was given.
func Catalogue() suite.Case {
	return suite.Case{
		Name: "catalogue", About: "10,000 torrents of an earlier mount: start of the process to ls, and memory",
		Systems: []string{suite.Weir}, Limit: 120 * time.Second, Once: true,
		Figures: []suite.Figure{
			{Name: "start to ls", Unit: suite.Seconds, Bar: suite.Bar{Most: 2}},
			{Name: "memory", Unit: suite.Bytes, Bar: suite.Bar{Most: 200e6}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			if !r.Knows["--ephemeral"] {
				return nil, suite.Absent("this weir has no catalogue")
			}
			count := 10_000
			if r.Options.Quick {
				count = 100
			}
			var sources []string
			var last *swarmtest.Content
			for i := range count {
				c, err := remotehosts.One(fmt.Sprintf("torrent-%05d.bin", i), 16*suite.KiB, 16*suite.KiB, uint64(i)).Content()
				if err != nil {
					return nil, err
				}
				name := filepath.Join(r.Dir, fmt.Sprintf("%d.torrent", i))
				if err := os.WriteFile(name, c.Torrent(swarmtest.Hints{}), 0o644); err != nil {
					return nil, err
				}
				sources, last = append(sources, name), c
			}
			sw := &suite.Swarm{Content: last, Own: true}
			p, err := r.StartWith(sw, sources[0], sources[1:])
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
				return nil, err
			}
			if err := r.StopAll(); err != nil {
				return nil, err
			}
			if p, err = r.StartWith(sw, "", nil); err != nil {
				return nil, err
			}
			if err := p.Visible(r.Ctx); err != nil {
				return nil, err
			}
			list, err := os.ReadDir(p.Mount())
			took := time.Since(p.Start).Seconds()
			if err == nil && len(list) < count {
				err = fmt.Errorf("%d folders of %d", len(list), count)
			}
			return suite.Values{"start to ls": took, "memory": float64(p.Memory())}, err
		},
	}
}
