package web

import (
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
)

// FirstByte is the time from the start of the process to the first 4 KiB of a file.
// The limit is its first piece with curl.
func FirstByte() suite.Case {
	return suite.Case{
		Name: "web/first-byte", About: "start of the process to the first 4 KiB, a web seed of 20 MB/s alone, 50 ms, pieces of 4 MiB",
		Systems: []string{suite.Weir, suite.Curl}, Limit: 30 * time.Second,
		Figures: []suite.Figure{
			{Name: "first 4 KiB", Unit: suite.Seconds, Reference: suite.Curl, Bar: suite.Bar{MostOf: 1.15}},
			{Name: "visible", Unit: suite.Seconds},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			s := alone()
			s.Spec = r.Gigabyte()
			sw, err := r.Seed(r.Wire("rtt50"), s)
			if err != nil {
				return nil, err
			}
			if r.System == suite.Curl {
				took, err := ranged(r, sw.Web+sw.Spec.Name, 0, sw.Info().PieceLength)
				return suite.Values{"first 4 KiB": took.Seconds()}, err
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			f, err := p.Open(r.Ctx)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			visible := time.Since(p.Start)
			if err := r.Check(sw, f, 0, make([]byte, 4*suite.KiB)); err != nil {
				return nil, err
			}
			return suite.Values{"first 4 KiB": time.Since(p.Start).Seconds(), "visible": visible.Seconds()}, nil
		},
	}
}
