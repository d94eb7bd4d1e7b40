package main

import (
	"errors"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// freeze streams from four hosts, of which one stops for good after three
// seconds, as it stands: its connections stay open and nothing comes any more.
// The limit is what the other three give by HTTP.
func freeze() Case {
	const before, after = 3 * time.Second, 7 * time.Second
	return Case{
		Name: "freeze", About: "one of 4 hosts × 12.5 MB/s, 50 ms, freezes for good in mid-stream",
		Systems: []string{weirSystem, httpSystem}, Limit: 60 * time.Second,
		Figures: []Figure{
			{Name: "longest gap", Unit: Seconds, Bar: Bar{Most: 0.5}},
			{Name: "rate", Unit: BytesPerSec, Reference: httpSystem, Bar: Bar{LeastOf: 0.9}},
		},
		Run: func(r *Run) (Values, error) {
			hosts := 4
			if r.system == httpSystem {
				hosts = 3
			}
			sw, err := r.seed(r.wire("rtt50"), testbed.Seeding{Spec: r.gigabyte(), Hosts: hosts, Delay: halfTrip, BytesPerSec: rate12})
			if err != nil {
				return nil, err
			}
			if r.system == httpSystem {
				return r.parallelHTTP(sw, hosts, min(256*mib, sw.Info().Length))
			}
			_, f, err := r.open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			var gap time.Duration
			var sum int64
			var frozen, last time.Time
			begin := time.Now()
			_, err = readOn(f, sw.Info().Length, func(n int) error {
				now := time.Now()
				switch {
				case !frozen.IsZero():
					gap, sum = max(gap, now.Sub(last)), sum+int64(n)
					if now.Sub(frozen) > after {
						last = now
						return errEnough
					}
				case now.Sub(begin) > before:
					if err := sw.Wire.Hosts().Freeze(r.ctx, sw.Wire.Host(0)); err != nil {
						return err
					}
					frozen = now
				}
				last = now
				return nil
			})
			if err != nil && !errors.Is(err, errEnough) {
				return nil, err
			}
			if frozen.IsZero() {
				return nil, errors.New("all was read before a host could freeze")
			}
			return Values{"longest gap": gap.Seconds(), "rate": float64(sum) / last.Sub(frozen).Seconds()}, nil
		},
	}
}
