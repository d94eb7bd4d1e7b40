package hostile

import (
	"fmt"
	"os"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// DeadMagnets mounts a magnet that lives, alone and among fifty that nobody has
// ever heard of.
func DeadMagnets() suite.Case {
	const dead = 50
	return suite.Case{
		Name: "dead-magnets", About: "start to the first 4 KiB of a magnet, alone and beside 50 dead ones, one host, 50 ms",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "alone", Unit: suite.Seconds},
			{Name: "beside 50 dead", Unit: suite.Seconds},
			{Name: "beside / alone", Unit: suite.Ratio, Bar: suite.Bar{Most: 1.25}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			var took [2]float64
			for i := range took {
				sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 1, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
				if err != nil {
					return nil, err
				}
				var others []string
				for k := range i * dead {
					others = append(others, fmt.Sprintf("magnet:?xt=urn:btih:%040x&dn=dead%d&tr=%s", 0xdead0000+k, k, "http://127.0.0.1:1/announce"))
				}
				p, err := r.StartWith(sw, sw.Magnet, others)
				if err != nil {
					return nil, err
				}
				f, err := p.Open(r.Ctx)
				if err != nil {
					return nil, err
				}
				err = r.Check(sw, f, 0, make([]byte, 4*suite.KiB))
				took[i] = time.Since(p.Start).Seconds()
				f.Close()
				if err != nil {
					return nil, err
				}
				if err := r.StopAll(); err != nil {
					return nil, err
				}
				if err := os.RemoveAll(p.Cache()); err != nil {
					return nil, err
				}
			}
			return suite.Values{"alone": took[0], "beside 50 dead": took[1], "beside / alone": took[1] / took[0]}, nil
		},
	}
}
