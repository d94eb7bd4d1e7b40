package main

import (
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/raw"
	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// The lines that cases are measured on.
const (
	halfTrip = 25 * time.Millisecond // 50 ms there and back
	rate5    = 5_000_000             // bytes a second of each host
	rate12   = 12_500_000
	rate20   = 20_000_000
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// gigabyte is what most cases read, as one file in pieces of 4 MiB.
func (b *Bench) gigabyte() remotehosts.Spec {
	if b.o.Quick {
		return remotehosts.One("quick.bin", 256*kib, 16*mib, 1)
	}
	return remotehosts.One("gigabyte.bin", 4*mib, gib, 1)
}

// wire returns a wire by its name.
func (r *Run) wire(name string) *testbed.Wire {
	switch name {
	case "lan":
		return r.testbed.LAN
	case "rtt50":
		return r.testbed.Far
	}
	return r.testbed.Loopback
}

// firstByte is the time from the start of the process to the first 4 KiB of a
// file, from one host. The limit is the piece by bare block requests, address
// known and nothing started.
func firstByte(name, wire string, magnet bool, bar float64, beside ...string) Case {
	return Case{
		Name: name, About: "start of the process to the first 4 KiB, one host, pieces of 4 MiB",
		Systems: append([]string{weirSystem}, beside...), Limit: 30 * time.Second,
		Figures: []Figure{
			{Name: "first 4 KiB", Unit: Seconds, Reference: rawSystem, Bar: Bar{Most: bar}},
			{Name: "visible", Unit: Seconds},
		},
		Run: func(r *Run) (Values, error) {
			sw, err := r.seed(r.wire(wire), testbed.Seeding{Spec: r.gigabyte(), Hosts: 1, Delay: halfTrip, BytesPerSec: rate12})
			if err != nil {
				return nil, err
			}
			if r.system == rawSystem {
				begin := time.Now()
				s, err := raw.DialAll(r.ctx, sw.Peers, sw.InfoHash())
				if err != nil {
					return nil, err
				}
				defer s.Close()
				err = s.Piece(r.ctx, sw.Info(), 0)
				return Values{"first 4 KiB": time.Since(begin).Seconds()}, err
			}
			source := sw.Torrent
			if magnet {
				source = sw.Magnet
			}
			p, err := r.start(sw, source)
			if err != nil {
				return nil, err
			}
			f, err := p.Open(r.ctx)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			visible := time.Since(p.Start)
			if err := r.check(sw, f, 0, make([]byte, 4*kib)); err != nil {
				return nil, err
			}
			return Values{"first 4 KiB": time.Since(p.Start).Seconds(), "visible": visible.Seconds()}, nil
		},
	}
}
