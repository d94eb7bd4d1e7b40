package reading

import (
	"errors"
	"os"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// StopReading streams for a while and then stops, once with the file left open
// and once closing it, and looks how long the seeders are still asked for more.
func StopReading(name string, closing bool) suite.Case {
	const settle = 1500 * time.Millisecond
	return suite.Case{
		Name: name, About: "a stream stops: how long is more requested? 4 hosts × 12.5 MB/s, 50 ms",
		Systems: []string{suite.Weir}, Limit: 40 * time.Second,
		Figures: []suite.Figure{
			{Name: "requested for", Unit: suite.Seconds, Bar: suite.Bar{Most: 0.1}},
			{Name: "requested after the stop", Unit: suite.Bytes},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			spec := remotehosts.One("stop.bin", suite.MiB, 256*suite.MiB, 4)
			if r.Options.Quick {
				spec = remotehosts.One("quick-stop.bin", 256*suite.KiB, 64*suite.MiB, 4)
			}
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: spec, Hosts: 4, Own: true, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
			if err != nil {
				return nil, err
			}
			_, f, err := r.Open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			begin := time.Now()
			if _, err := suite.ReadOn(f, sw.Info().Length/4, func(int) error {
				if time.Since(begin) > 2500*time.Millisecond {
					return suite.ErrEnough
				}
				return nil
			}); err != nil && !errors.Is(err, suite.ErrEnough) {
				return nil, err
			}
			return afterStop(r, sw, f, closing, settle)
		},
	}
}

// afterStop measures what is requested from now on.
func afterStop(r *suite.Run, sw *suite.Swarm, f *os.File, closing bool, settle time.Duration) (suite.Values, error) {
	if closing {
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	stopped := time.Now()
	before, err := sw.Wire.Hosts().Requests(r.Ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(settle):
	case <-r.Ctx.Done():
		return nil, r.Ctx.Err()
	}
	after, err := sw.Wire.Hosts().Requests(r.Ctx)
	if err != nil {
		return nil, err
	}
	// What reaches a seeder was sent half a round trip earlier.
	lasted := time.Since(stopped) - after.Last - suite.HalfTrip
	return suite.Values{"requested for": max(0, lasted.Seconds()), "requested after the stop": float64(after.Bytes - before.Bytes)}, nil
}
