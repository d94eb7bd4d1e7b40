package reading

import (
	"errors"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Freeze streams from four hosts, of which one stops for good after three
// seconds, as it stands: its connections stay open and nothing comes any more.
// The limit is what the other three give by HTTP.
func Freeze() suite.Case {
	const before, after = 3 * time.Second, 7 * time.Second
	return suite.Case{
		Name: "freeze", About: "one of 4 hosts × 12.5 MB/s, 50 ms, freezes for good in mid-stream",
		Systems: []string{suite.Weir, suite.HTTP}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "longest gap", Unit: suite.Seconds, Bar: suite.Bar{Most: 0.5}},
			{Name: "rate", Unit: suite.BytesPerSec, Reference: suite.HTTP, Bar: suite.Bar{LeastOf: 0.9}},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			hosts := 4
			if r.System == suite.HTTP {
				hosts = 3
			}
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: hosts, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
			if err != nil {
				return nil, err
			}
			if r.System == suite.HTTP {
				return r.ParallelHTTP(sw, hosts, min(256*suite.MiB, sw.Info().Length))
			}
			_, f, err := r.Open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			var gap time.Duration
			var sum int64
			var frozen, last time.Time
			begin := time.Now()
			_, err = suite.ReadOn(f, sw.Info().Length, func(n int) error {
				now := time.Now()
				switch {
				case !frozen.IsZero():
					gap, sum = max(gap, now.Sub(last)), sum+int64(n)
					if now.Sub(frozen) > after {
						last = now
						return suite.ErrEnough
					}
				case now.Sub(begin) > before:
					if err := sw.Wire.Hosts().Freeze(r.Ctx, sw.Wire.Host(0)); err != nil {
						return err
					}
					frozen = now
				}
				last = now
				return nil
			})
			if err != nil && !errors.Is(err, suite.ErrEnough) {
				return nil, err
			}
			if frozen.IsZero() {
				return nil, errors.New("all was read before a host could freeze")
			}
			return suite.Values{"longest gap": gap.Seconds(), "rate": float64(sum) / last.Sub(frozen).Seconds()}, nil
		},
	}
}
