package reading

import (
	"io"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Playback reads as a player does that shows 25 Mbit/s, while every ten seconds
// one host leaves and another one joins.
func Playback() suite.Case {
	const (
		bytesPerSec = 25_000_000 / 8
		chunk       = 128 * suite.KiB
		length      = 22 * time.Second
	)
	// When hosts come and go.
	churn := []time.Duration{4 * time.Second, 14 * time.Second}
	return suite.Case{
		Name: "playback", About: "25 Mbit/s over 4 hosts × 5 MB/s, 50 ms, one leaves and one joins per 10 s",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second, Once: true,
		Figures: []suite.Figure{
			{Name: "longest read after the first second", Unit: suite.Seconds, Bar: suite.Bar{Most: 1}},
			{Name: "first read", Unit: suite.Seconds},
			{Name: "reads that came late", Unit: suite.Count},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 4, Delay: suite.HalfTrip, BytesPerSec: suite.Rate5})
			if err != nil {
				return nil, err
			}
			_, f, err := r.Open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			v := suite.Values{}
			buf := make([]byte, chunk)
			begin := time.Now()
			timer := time.NewTimer(0)
			defer timer.Stop()
			changes := 0
			for n := int64(0); n < sw.Info().Length; n += chunk {
				due := time.Duration(n) * time.Second / bytesPerSec
				timer.Reset(due - time.Since(begin))
				select {
				case <-timer.C:
				case <-r.Ctx.Done():
					return nil, r.Ctx.Err()
				}
				start := time.Now()
				if start.Sub(begin) > length {
					break
				}
				if changes < len(churn) && start.Sub(begin) > churn[changes] {
					if err := sw.Wire.Hosts().Leave(r.Ctx, sw.Wire.Host(changes)); err != nil {
						return nil, err
					}
					if err := sw.Wire.Hosts().Join(r.Ctx, sw.Wire.Host(4+changes)); err != nil {
						return nil, err
					}
					changes++
					start = time.Now()
				}
				if _, err := f.ReadAt(buf, n); err != nil && err != io.EOF {
					return nil, err
				}
				took := time.Since(start).Seconds()
				if n == 0 {
					v["first read"] = took
				}
				if start.Sub(begin) > time.Second {
					v["longest read after the first second"] = max(v["longest read after the first second"], took)
				}
				if took > 0.1 {
					v["reads that came late"]++
				}
			}
			return v, nil
		},
	}
}
