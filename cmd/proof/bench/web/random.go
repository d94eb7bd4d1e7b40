package web

import (
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
)

// Random reads ten times at random, each in a piece of its own. A read costs two
// round trips and its piece, and a tenth more.
func Random() suite.Case {
	const reads = 10
	piece := 4 * suite.MiB / float64(suite.Rate20)
	return suite.Case{
		Name: "web/random", About: "10 reads of 64 KiB at random, a web seed of 20 MB/s alone, 50 ms, pieces of 4 MiB",
		Systems: []string{suite.Weir, suite.Curl}, Limit: 40 * time.Second,
		Figures: []suite.Figure{
			{Name: "p50", Unit: suite.Seconds, Reference: suite.Curl, Bar: suite.Bar{Most: 1.1 * (4*suite.HalfTrip.Seconds() + piece)}},
			{Name: "longest", Unit: suite.Seconds, Reference: suite.Curl},
			{Name: "pieces fetched", Unit: suite.Count, Bar: suite.Bar{Most: reads}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			s := alone()
			s.Spec = r.Gigabyte()
			sw, err := r.Seed(r.Wire("rtt50"), s)
			if err != nil {
				return nil, err
			}
			length := sw.Info().PieceLength
			at := suite.Offsets(11, sw.Info().NumPieces(), length, 64*suite.KiB, reads)
			read := func(off int64) error {
				_, err := ranged(r, sw.Web+sw.Spec.Name, off/length*length, length)
				return err
			}
			if r.System == suite.Weir {
				_, f, err := r.Open(sw)
				if err != nil {
					return nil, err
				}
				defer f.Close()
				read = r.Reads(sw, f, 64*suite.KiB)
			}
			took, err := suite.Timed(at, 0, time.Minute, read)
			if err != nil {
				return nil, err
			}
			v := suite.Latencies(took)
			if r.System == suite.Weir {
				n, err := sw.Wire.Hosts().Web(r.Ctx)
				if err != nil {
					return nil, err
				}
				v["pieces fetched"] = float64(n.Bytes) / float64(length)
			}
			return v, nil
		},
	}
}
