package reading

import (
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// ManyReaders lets sixteen handles read at random at the same time, each read in
// a piece that nobody has touched. The limit is what the line gives by HTTP.
func ManyReaders() suite.Case {
	const readers = 16
	return suite.Case{
		Name: "many-readers", About: "16 handles read 64 KiB at random at once, 4 hosts × 12.5 MB/s, 50 ms",
		Systems: []string{suite.Weir, suite.HTTP}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "rate in pieces", Unit: suite.BytesPerSec, Reference: suite.HTTP, Bar: suite.Bar{LeastOf: 0.9}},
			{Name: "p50", Unit: suite.Seconds},
			{Name: "longest by median read", Unit: suite.Ratio, Bar: suite.Bar{Most: 4}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 4, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
			if err != nil {
				return nil, err
			}
			info := sw.Info()
			if r.System == suite.HTTP {
				v, err := r.ParallelHTTP(sw, 4, min(384*suite.MiB, info.Length))
				return suite.Values{"rate in pieces": v["rate"]}, err
			}
			p, err := r.Start(sw, "")
			if err != nil {
				return nil, err
			}
			// The first one finds the peers.
			f, err := p.Open(r.Ctx)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			at := suite.Offsets(16, info.NumPieces(), info.PieceLength, 64*suite.KiB, suite.WarmReads+112)
			warm := min(suite.WarmReads, len(at)/4)
			if _, err := suite.Timed(at[:warm], 0, 10*time.Second, r.Reads(sw, f, 64*suite.KiB)); err != nil {
				return nil, err
			}
			at = at[warm:]

			var mu sync.Mutex
			next, took := 0, make([]float64, 0, len(at))
			take := func() (int64, bool) {
				mu.Lock()
				defer mu.Unlock()
				next++
				if next > len(at) {
					return 0, false
				}
				return at[next-1], true
			}
			begin := time.Now()
			var g errgroup.Group
			for range readers {
				g.Go(func() error {
					f, err := p.Open(r.Ctx)
					if err != nil {
						return err
					}
					defer f.Close()
					read := r.Reads(sw, f, 64*suite.KiB)
					for off, ok := take(); ok; off, ok = take() {
						t := time.Now()
						if err := read(off); err != nil {
							return err
						}
						mu.Lock()
						took = append(took, time.Since(t).Seconds())
						mu.Unlock()
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				return nil, err
			}
			seconds := time.Since(begin).Seconds()
			return suite.Values{
				"rate in pieces": float64(int64(len(at))*info.PieceLength) / seconds,
				"p50":            suite.Quantile(took, 0.5), "longest by median read": suite.Quantile(took, 1) / suite.Quantile(took, 0.5),
			}, nil
		},
	}
}
