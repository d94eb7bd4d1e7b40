// Package reading measures how soon and how fast one file is read over a network: from
// its beginning, at random, by many, and with what comes in between.
package reading

import (
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// FirstByte is the time from the start of the process to the first 4 KiB of a
// file, from one host. The limit is the piece by bare block requests, address
// known and nothing started.
func FirstByte(name, wire string, magnet bool, bar float64, beside ...string) suite.Case {
	return suite.Case{
		Name: name, About: "start of the process to the first 4 KiB, one host, pieces of 4 MiB",
		Systems: append([]string{suite.Weir}, beside...), Limit: 30 * time.Second,
		Figures: []suite.Figure{
			{Name: "first 4 KiB", Unit: suite.Seconds, Reference: suite.Raw, Bar: suite.Bar{Most: bar}},
			{Name: "visible", Unit: suite.Seconds},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			sw, err := r.Seed(r.Wire(wire), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 1, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
			if err != nil {
				return nil, err
			}
			if r.System == suite.Raw {
				begin := time.Now()
				s, err := raw.DialAll(r.Ctx, sw.Peers, sw.InfoHash())
				if err != nil {
					return nil, err
				}
				defer s.Close()
				err = s.Piece(r.Ctx, sw.Info(), 0)
				return suite.Values{"first 4 KiB": time.Since(begin).Seconds()}, err
			}
			source := sw.Torrent
			if magnet {
				source = sw.Magnet
			}
			p, err := r.Start(sw, source)
			if err != nil {
				return nil, err
			}
			f, err := p.Open(r.Ctx)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			visible := time.Since(p.Start)
			if err := r.Check(sw, f, 0, make([]byte, 4*suite.KiB)); err != nil {
				return nil, err
			}
			return suite.Values{"first 4 KiB": time.Since(p.Start).Seconds(), "visible": visible.Seconds()}, nil
		},
	}
}
