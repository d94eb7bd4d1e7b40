package reading

import (
	"math/rand/v2"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Amplification reads a little at many places, on a fast network so that there
// is every temptation to fetch more, and compares what came with the pieces that
// had to come.
func Amplification() suite.Case {
	return suite.Case{
		Name: "amplification", About: "200 reads of 4 KiB at random in 4 GiB, 4 hosts in the same network",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second, Once: true,
		Figures: []suite.Figure{
			{Name: "fetched by pieces touched", Unit: suite.Ratio, Bar: suite.Bar{Most: 1.02}},
			{Name: "fetched by read", Unit: suite.Ratio},
			{Name: "p50", Unit: suite.Seconds},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			sw, err := r.Seed(r.Wire("lan"), testbed.Seeding{Spec: r.Big(), Hosts: 4})
			if err != nil {
				return nil, err
			}
			_, f, err := r.Open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			info := sw.Info()
			rnd := rand.New(rand.NewPCG(42, 0))
			at := make([]int64, 200)
			touched := map[int64]bool{}
			for i := range at {
				at[i] = rnd.Int64N(info.Length/4096) * 4096
				touched[at[i]/info.PieceLength] = true
			}
			took, err := suite.Timed(at, 0, time.Minute, r.Reads(sw, f, 4*suite.KiB))
			if err != nil {
				return nil, err
			}
			sent, err := r.Fetched(sw)
			return suite.Values{
				"fetched by pieces touched": sent / float64(int64(len(touched))*info.PieceLength),
				"fetched by read":           sent / float64(len(at)*4*suite.KiB), "p50": suite.Latencies(took)["p50"],
			}, err
		},
	}
}
