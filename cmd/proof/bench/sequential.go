package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// sequentialCase is a cold file read from its beginning, first byte included and
// mounting not.
type sequentialCase struct {
	name, wire  string
	hosts       int
	bytesPerSec int64
	bytes       int64
	bar         Bar
	systems     []string
}

// sequentialSeconds bounds how long a slow program is waited for: its rate is known then.
const sequentialSeconds = 12

func (q sequentialCase) Case() Case {
	c := Case{
		Name: q.name, About: fmt.Sprintf("one file, cold, from the beginning: %s from %d hosts", Bytes.Format(float64(q.bytes)), q.hosts),
		Systems: append([]string{weirSystem}, q.systems...), Limit: 60 * time.Second,
		Figures: []Figure{
			{Name: "rate", Unit: BytesPerSec, Reference: httpSystem, Bar: q.bar},
			{Name: "first MiB", Unit: Seconds},
			{Name: "longest gap", Unit: Seconds},
			{Name: "processor time a GB", Unit: Seconds},
		},
	}
	if q.bytes == gib {
		c.Figures = append(c.Figures, Figure{Name: "fetched by read", Unit: Ratio, Bar: Bar{Most: 1.02}})
	}
	c.Run = q.run
	return c
}

func (q sequentialCase) run(r *Run) (Values, error) {
	sw, err := r.seed(r.wire(q.wire), testbed.Seeding{Spec: r.gigabyte(), Hosts: q.hosts, Delay: halfTrip, BytesPerSec: q.bytesPerSec})
	if err != nil {
		return nil, err
	}
	size := min(q.bytes, sw.Info().Length)
	switch r.system {
	case httpSystem:
		return r.parallelHTTP(sw, q.hosts, size)
	case rawSystem:
		begin := time.Now()
		s, err := raw.DialAll(r.ctx, sw.Peers, sw.InfoHash())
		if err != nil {
			return nil, err
		}
		defer s.Close()
		err = s.Stream(r.ctx, sw.Info(), 0, int(size/sw.Info().PieceLength))
		return Values{"rate": float64(size) / time.Since(begin).Seconds()}, err
	}
	p, f, err := r.open(sw)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cpu, begin := p.CPU(), time.Now()
	var first, gap time.Duration
	last := begin
	n, err := readOn(f, size, func(int) error {
		now := time.Now()
		gap = max(gap, now.Sub(last))
		if last = now; first == 0 {
			first = now.Sub(begin)
		}
		if now.Sub(begin) > sequentialSeconds*time.Second {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	v := Values{
		"rate": float64(n) / time.Since(begin).Seconds(), "first MiB": first.Seconds(), "longest gap": gap.Seconds(),
		"processor time a GB": (p.CPU() - cpu).Seconds() / float64(n) * 1e9,
	}
	if n < sw.Info().Length {
		return v, nil // read-ahead counts, and nothing can be said of waste
	}
	sent, err := r.fetched(sw)
	v["fetched by read"] = sent / float64(n)
	return v, err
}

// parallelHTTP reads the beginning of a swarm's single file from its hosts' web
// servers, through the same line.
func (r *Run) parallelHTTP(sw *Swarm, hosts int, size int64) (Values, error) {
	var urls []string
	for i := range hosts {
		urls = append(urls, sw.Wire.FileURL(i, sw.Spec.Name))
	}
	begin := time.Now()
	err := raw.HTTP(r.ctx, urls, size)
	return Values{"rate": float64(size) / time.Since(begin).Seconds()}, err
}
