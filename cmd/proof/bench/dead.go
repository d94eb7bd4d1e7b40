package main

import (
	"fmt"
	"os"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// deadMagnets mounts a magnet that lives, alone and among fifty that nobody has
// ever heard of.
func deadMagnets() Case {
	const dead = 50
	return Case{
		Name: "dead-magnets", About: "start to the first 4 KiB of a magnet, alone and beside 50 dead ones, one host, 50 ms",
		Systems: []string{weirSystem}, Limit: 60 * time.Second,
		Figures: []Figure{
			{Name: "alone", Unit: Seconds},
			{Name: "beside 50 dead", Unit: Seconds},
			{Name: "beside / alone", Unit: Ratio, Bar: Bar{Most: 1.25}},
		},
		Run: func(r *Run) (Values, error) {
			var took [2]float64
			for i := range took {
				sw, err := r.seed(r.wire("rtt50"), testbed.Seeding{Spec: r.gigabyte(), Hosts: 1, Delay: halfTrip, BytesPerSec: rate12})
				if err != nil {
					return nil, err
				}
				var others []string
				for k := range i * dead {
					others = append(others, fmt.Sprintf("magnet:?xt=urn:btih:%040x&dn=dead%d&tr=%s", 0xdead0000+k, k, "http://127.0.0.1:1/announce"))
				}
				p, err := r.startWith(sw, sw.Magnet, others)
				if err != nil {
					return nil, err
				}
				f, err := p.Open(r.ctx)
				if err != nil {
					return nil, err
				}
				err = r.check(sw, f, 0, make([]byte, 4*kib))
				took[i] = time.Since(p.Start).Seconds()
				f.Close()
				if err != nil {
					return nil, err
				}
				if err := r.stopAll(); err != nil {
					return nil, err
				}
				if err := os.RemoveAll(p.Cache()); err != nil {
					return nil, err
				}
			}
			return Values{"alone": took[0], "beside 50 dead": took[1], "beside / alone": took[1] / took[0]}, nil
		},
	}
}
