package reading

import (
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// SmallReads reads 4 KiB at a time from one host without delay: what a read costs
// when the line costs nothing. One block a read shows what the peers' TCP does with
// a lone segment.
func SmallReads(encryption string) suite.Case {
	sizes := []struct {
		name string
		spec remotehosts.Spec
	}{
		{"pieces of 16 KiB", remotehosts.One("blocks.bin", 16*suite.KiB, 64*suite.MiB, 3)},
		{"pieces of 1 MiB", remotehosts.One("pieces.bin", suite.MiB, 256*suite.MiB, 4)},
	}
	systems, reference := []string{suite.Weir}, ""
	if encryption == "off" { // bare requests are in the clear
		systems, reference = append(systems, suite.Raw), suite.Raw
	}
	return suite.Case{
		Name: "small-reads/" + encryption, About: "reads of 4 KiB at random, each in a new piece, one host, loopback",
		Systems: systems, Limit: 40 * time.Second,
		Figures: []suite.Figure{
			{Name: "p50, " + sizes[0].name, Unit: suite.Seconds, Reference: reference, Bar: suite.Bar{Most: 0.002}},
			{Name: "p95, " + sizes[0].name, Unit: suite.Seconds, Reference: reference},
			{Name: "p50, " + sizes[1].name, Unit: suite.Seconds, Reference: reference},
			{Name: "p95, " + sizes[1].name, Unit: suite.Seconds, Reference: reference, Bar: suite.Bar{Most: 0.015}},
			{Name: "processor time of a read, " + sizes[1].name, Unit: suite.Seconds},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			v := suite.Values{}
			for _, s := range sizes {
				took, err := readSmall(r, s.spec, encryption)
				if err != nil {
					return nil, err
				}
				v["p50, "+s.name], v["p95, "+s.name] = took["p50"], took["p95"]
				if r.System == suite.Weir {
					v["processor time of a read, "+s.name] = took["processor"]
				}
			}
			return v, nil
		},
	}
}

func readSmall(r *suite.Run, spec remotehosts.Spec, encryption string) (suite.Values, error) {
	sw, err := r.Seed(r.Wire("loopback"), testbed.Seeding{Spec: spec, Hosts: 1})
	if err != nil {
		return nil, err
	}
	at := suite.Offsets(7, sw.Info().NumPieces(), sw.Info().PieceLength, 4*suite.KiB, suite.WarmReads+200)
	if r.System == suite.Raw {
		s, err := raw.DialAll(r.Ctx, sw.Peers, sw.InfoHash())
		if err != nil {
			return nil, err
		}
		defer s.Close()
		took, err := suite.Timed(at, suite.WarmReads, 15*time.Second, func(off int64) error {
			return s.Piece(r.Ctx, sw.Info(), int(off/sw.Info().PieceLength))
		})
		if err != nil {
			return nil, err
		}
		return suite.Latencies(took), r.StopAll()
	}
	p, err := r.Start(sw, "", "--encryption="+encryption)
	if err != nil {
		return nil, err
	}
	f, err := p.Open(r.Ctx)
	if err != nil {
		return nil, err
	}
	before, reads := p.CPU(), 0
	read := r.Reads(sw, f, 4*suite.KiB)
	took, err := suite.Timed(at, suite.WarmReads, 15*time.Second, func(off int64) error {
		reads++
		return read(off)
	})
	_ = f.Close() // was only read
	if err != nil {
		return nil, err
	}
	v := suite.Latencies(took)
	v["processor"] = (p.CPU() - before).Seconds() / float64(reads)
	return v, r.StopAll()
}
