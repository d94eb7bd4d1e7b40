package main

import (
	"errors"
	"os"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// stopReading streams for a while and then stops, once with the file left open
// and once closing it, and looks how long the seeders are still asked for more.
func stopReading(name string, closing bool) Case {
	const settle = 1500 * time.Millisecond
	return Case{
		Name: name, About: "a stream stops: how long is more requested? 4 hosts × 12.5 MB/s, 50 ms",
		Systems: []string{weirSystem}, Limit: 40 * time.Second,
		Figures: []Figure{
			{Name: "requested for", Unit: Seconds, Bar: Bar{Most: 0.1}},
			{Name: "requested after the stop", Unit: Bytes},
		},
		Run: func(r *Run) (Values, error) {
			spec := remotehosts.One("stop.bin", mib, 256*mib, 4)
			if r.o.Quick {
				spec = remotehosts.One("quick-stop.bin", 256*kib, 64*mib, 4)
			}
			sw, err := r.seed(r.wire("rtt50"), testbed.Seeding{Spec: spec, Hosts: 4, Own: true, Delay: halfTrip, BytesPerSec: rate12})
			if err != nil {
				return nil, err
			}
			_, f, err := r.open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			begin := time.Now()
			if _, err := readOn(f, sw.Info().Length/4, func(int) error {
				if time.Since(begin) > 2500*time.Millisecond {
					return errEnough
				}
				return nil
			}); err != nil && !errors.Is(err, errEnough) {
				return nil, err
			}
			return r.afterStop(sw, f, closing, settle)
		},
	}
}

// afterStop measures what is requested from now on.
func (r *Run) afterStop(sw *Swarm, f *os.File, closing bool, settle time.Duration) (Values, error) {
	if closing {
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	stopped := time.Now()
	before, err := sw.Wire.Hosts().Requests(r.ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(settle):
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	}
	after, err := sw.Wire.Hosts().Requests(r.ctx)
	if err != nil {
		return nil, err
	}
	// What reaches a seeder was sent half a round trip earlier.
	lasted := time.Since(stopped) - after.Last - halfTrip
	return Values{"requested for": max(0, lasted.Seconds()), "requested after the stop": float64(after.Bytes - before.Bytes)}, nil
}
