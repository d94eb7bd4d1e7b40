package main

import (
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// smallReads reads 4 KiB at a time from one host without delay: what a read costs
// when the line costs nothing. One block a read shows what the peers' TCP does with
// a lone segment.
func smallReads(encryption string) Case {
	sizes := []struct {
		name string
		spec remotehosts.Spec
	}{
		{"pieces of 16 KiB", remotehosts.One("blocks.bin", 16*kib, 64*mib, 3)},
		{"pieces of 1 MiB", remotehosts.One("pieces.bin", mib, 256*mib, 4)},
	}
	systems, reference := []string{weirSystem}, ""
	if encryption == "off" { // bare requests are in the clear
		systems, reference = append(systems, rawSystem), rawSystem
	}
	return Case{
		Name: "small-reads/" + encryption, About: "reads of 4 KiB at random, each in a new piece, one host, loopback",
		Systems: systems, Limit: 40 * time.Second,
		Figures: []Figure{
			{Name: "p50, " + sizes[0].name, Unit: Seconds, Reference: reference, Bar: Bar{Most: 0.002}},
			{Name: "p95, " + sizes[0].name, Unit: Seconds, Reference: reference},
			{Name: "p50, " + sizes[1].name, Unit: Seconds, Reference: reference},
			{Name: "p95, " + sizes[1].name, Unit: Seconds, Reference: reference, Bar: Bar{Most: 0.015}},
			{Name: "processor time of a read, " + sizes[1].name, Unit: Seconds},
		},
		Run: func(r *Run) (Values, error) {
			v := Values{}
			for _, s := range sizes {
				took, err := r.smallReads(s.spec, encryption)
				if err != nil {
					return nil, err
				}
				v["p50, "+s.name], v["p95, "+s.name] = took["p50"], took["p95"]
				if r.system == weirSystem {
					v["processor time of a read, "+s.name] = took["processor"]
				}
			}
			return v, nil
		},
	}
}

func (r *Run) smallReads(spec remotehosts.Spec, encryption string) (Values, error) {
	sw, err := r.seed(r.wire("loopback"), testbed.Seeding{Spec: spec, Hosts: 1})
	if err != nil {
		return nil, err
	}
	at := offsets(7, sw.Info().NumPieces(), sw.Info().PieceLength, 4*kib, warmReads+200)
	if r.system == rawSystem {
		s, err := raw.DialAll(r.ctx, sw.Peers, sw.InfoHash())
		if err != nil {
			return nil, err
		}
		defer s.Close()
		took, err := timed(at, warmReads, 15*time.Second, func(off int64) error {
			return s.Piece(r.ctx, sw.Info(), int(off/sw.Info().PieceLength))
		})
		if err != nil {
			return nil, err
		}
		return latencies(took), r.stopAll()
	}
	p, err := r.start(sw, "", "--encryption="+encryption)
	if err != nil {
		return nil, err
	}
	f, err := p.Open(r.ctx)
	if err != nil {
		return nil, err
	}
	before, reads := p.CPU(), 0
	read := r.reads(sw, f, 4*kib)
	took, err := timed(at, warmReads, 15*time.Second, func(off int64) error {
		reads++
		return read(off)
	})
	_ = f.Close() // was only read
	if err != nil {
		return nil, err
	}
	v := latencies(took)
	v["processor"] = (p.CPU() - before).Seconds() / float64(reads)
	return v, r.stopAll()
}
