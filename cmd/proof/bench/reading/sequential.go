package reading

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Sequential is a cold file read from its beginning, first byte included and
// mounting not.
type Sequential struct {
	Name, Wire  string
	Hosts       int
	BytesPerSec int64
	Bytes       int64
	Bar         suite.Bar
	Systems     []string
}

const (
	// sequentialSeconds bounds how long a slow program is waited for: its rate is known then.
	sequentialSeconds = 12

	// memoryEvery is after how many reads of a MiB the program's memory is looked at.
	memoryEvery = 16
)

func (q Sequential) Case() suite.Case {
	c := suite.Case{
		Name: q.Name, About: fmt.Sprintf("one file, cold, from the beginning: %s from %d hosts", suite.Bytes.Format(float64(q.Bytes)), q.Hosts),
		Systems: append([]string{suite.Weir}, q.Systems...), Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "rate", Unit: suite.BytesPerSec, Reference: suite.HTTP, Bar: q.Bar},
			{Name: "first MiB", Unit: suite.Seconds},
			{Name: "longest gap", Unit: suite.Seconds},
			{Name: "processor time a GB", Unit: suite.Seconds},
			{Name: "memory", Unit: suite.Bytes, Bar: suite.Bar{Most: 160e6}},
		},
	}
	if q.Bytes == suite.GiB {
		c.Figures = append(c.Figures, suite.Figure{Name: "fetched by read", Unit: suite.Ratio, Bar: suite.Bar{Most: 1.02}})
	}
	c.Run = q.run
	return c
}

func (q Sequential) run(r *suite.Run) (suite.Values, error) {
	sw, err := r.Seed(r.Wire(q.Wire), testbed.Seeding{Spec: r.Gigabyte(), Hosts: q.Hosts, Delay: suite.HalfTrip, BytesPerSec: q.BytesPerSec})
	if err != nil {
		return nil, err
	}
	size := min(q.Bytes, sw.Info().Length)
	switch r.System {
	case suite.HTTP:
		return r.ParallelHTTP(sw, q.Hosts, size)
	case suite.Raw:
		begin := time.Now()
		s, err := raw.DialAll(r.Ctx, sw.Peers, sw.InfoHash())
		if err != nil {
			return nil, err
		}
		defer s.Close()
		err = s.Stream(r.Ctx, sw.Info(), 0, int(size/sw.Info().PieceLength))
		return suite.Values{"rate": float64(size) / time.Since(begin).Seconds()}, err
	}
	p, f, err := r.Open(sw)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cpu, begin := p.CPU(), time.Now()
	var first, gap time.Duration
	var memory int64
	last, calls := begin, 0
	n, err := suite.ReadOn(f, size, func(int) error {
		now := time.Now()
		gap = max(gap, now.Sub(last))
		if calls++; calls%memoryEvery == 0 {
			memory = max(memory, p.Memory())
		}
		if last = now; first == 0 {
			first = now.Sub(begin)
		}
		if now.Sub(begin) > sequentialSeconds*time.Second {
			return suite.ErrEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, suite.ErrEnough) {
		return nil, err
	}
	v := suite.Values{
		"rate": float64(n) / time.Since(begin).Seconds(), "first MiB": first.Seconds(), "longest gap": gap.Seconds(),
		"processor time a GB": (p.CPU() - cpu).Seconds() / float64(n) * 1e9, "memory": float64(memory),
	}
	if n < sw.Info().Length {
		return v, nil // read-ahead counts, and nothing can be said of waste
	}
	sent, err := r.Fetched(sw)
	v["fetched by read"] = sent / float64(n)
	return v, err
}
