package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"github.com/weirfs/weir/engine/swarmtest"
)

// addTorrent adds a torrent to a mount that is in use.
func addTorrent() Case {
	return Case{
		Name: "add", About: "weir add on a live mount, to the new folder and to its first 4 KiB, loopback",
		Systems: []string{weirSystem}, Limit: 30 * time.Second,
		Figures: []Figure{
			{Name: "visible", Unit: Seconds, Bar: Bar{Most: 0.050}},
			{Name: "first 4 KiB", Unit: Seconds, Bar: Bar{Most: 0.300}},
		},
		Run: func(r *Run) (Values, error) {
			if exec.Command(r.paths[weirSystem], "add", "--help").Run() != nil {
				return nil, errAbsent("this weir has no add")
			}
			other, err := remotehosts.One("other.bin", 256*kib, mib, 7).Content()
			if err != nil {
				return nil, err
			}
			first := filepath.Join(r.dir, "other.torrent")
			if err := os.WriteFile(first, other.Torrent(swarmtest.Hints{}), 0o644); err != nil {
				return nil, err
			}
			sw, err := r.seed(r.wire("loopback"), testbed.Seeding{Spec: r.gigabyte(), Hosts: 1})
			if err != nil {
				return nil, err
			}
			p, err := r.start(sw, first)
			if err != nil {
				return nil, err
			}
			if err := p.VisibleAt(r.ctx, filepath.Join(p.Mount(), "other.bin")); err != nil {
				return nil, err
			}
			cmd := exec.CommandContext(r.ctx, r.paths[weirSystem], "add", p.Mount(), sw.Torrent)
			cmd.Env = p.Env()
			begin := time.Now()
			if err := cmd.Start(); err != nil {
				return nil, err
			}
			f, err := p.Open(r.ctx)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			v := Values{"visible": time.Since(begin).Seconds()}
			if err := r.check(sw, f, 0, make([]byte, 4*kib)); err != nil {
				return nil, err
			}
			v["first 4 KiB"] = time.Since(begin).Seconds()
			return v, cmd.Wait()
		},
	}
}

// catalogue starts weir on many torrents that an earlier mount was given.
func catalogue() Case {
	return Case{
		Name: "catalogue", About: "10,000 torrents of an earlier mount: start of the process to ls, and memory",
		Systems: []string{weirSystem}, Limit: 120 * time.Second, Once: true,
		Figures: []Figure{
			{Name: "start to ls", Unit: Seconds, Bar: Bar{Most: 2}},
			{Name: "memory", Unit: Bytes, Bar: Bar{Most: 200e6}},
		},
		Run: func(r *Run) (Values, error) {
			if !r.knows["--ephemeral"] {
				return nil, errAbsent("this weir has no catalogue")
			}
			count := 10_000
			if r.o.Quick {
				count = 100
			}
			var sources []string
			var last *swarmtest.Content
			for i := range count {
				c, err := remotehosts.One(fmt.Sprintf("torrent-%05d.bin", i), 16*kib, 16*kib, uint64(i)).Content()
				if err != nil {
					return nil, err
				}
				name := filepath.Join(r.dir, fmt.Sprintf("%d.torrent", i))
				if err := os.WriteFile(name, c.Torrent(swarmtest.Hints{}), 0o644); err != nil {
					return nil, err
				}
				sources, last = append(sources, name), c
			}
			sw := &Swarm{Content: last, own: true}
			p, err := r.startWith(sw, sources[0], sources[1:])
			if err != nil {
				return nil, err
			}
			if err := p.Visible(r.ctx); err != nil {
				return nil, err
			}
			if err := r.stopAll(); err != nil {
				return nil, err
			}
			if p, err = r.startWith(sw, "", nil); err != nil {
				return nil, err
			}
			if err := p.Visible(r.ctx); err != nil {
				return nil, err
			}
			list, err := os.ReadDir(p.Mount())
			took := time.Since(p.Start).Seconds()
			if err == nil && len(list) < count {
				err = fmt.Errorf("%d folders of %d", len(list), count)
			}
			return Values{"start to ls": took, "memory": float64(p.Memory())}, err
		},
	}
}
