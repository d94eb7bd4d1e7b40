package main

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// corrupt reads a file of which three of four hosts send each block with a
// flipped byte.
func corrupt() Case {
	return Case{
		Name: "corrupt", About: "three corrupt hosts and a good one, 12.5 MB/s each, 50 ms; 64 MiB read, every byte checked",
		Systems: []string{weirSystem}, Limit: 60 * time.Second,
		Figures: []Figure{
			{Name: "first read", Unit: Seconds, Bar: Bar{Most: 2}},
			{Name: "fetched by needed", Unit: Ratio, Bar: Bar{Most: 3}},
			{Name: "rate", Unit: BytesPerSec},
		},
		Run: func(r *Run) (Values, error) {
			spec := remotehosts.One("corrupt.bin", 4*mib, 64*mib, 3)
			if r.o.Quick {
				spec = remotehosts.One("quick-corrupt.bin", 256*kib, 4*mib, 3)
			}
			sw, err := r.seed(r.wire("rtt50"), testbed.Seeding{Spec: spec, Hosts: 4, Own: true, Corrupt: 3, Delay: halfTrip, BytesPerSec: rate12})
			if err != nil {
				return nil, err
			}
			_, f, err := r.open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			begin := time.Now()
			if err := r.check(sw, f, 0, make([]byte, 64*kib)); err != nil {
				return nil, err
			}
			first := time.Since(begin)
			truth := sw.FileReader(0)
			buf := make([]byte, mib)
			for {
				got, err := io.ReadFull(f, buf)
				want := make([]byte, got)
				if _, err := io.ReadFull(truth, want); err != nil {
					return nil, err
				}
				if !bytes.Equal(buf[:got], want) {
					return nil, errors.New("wrong bytes")
				}
				if err == io.EOF || err == io.ErrUnexpectedEOF {
					break
				}
				if err != nil {
					return nil, err
				}
			}
			rate := float64(sw.Info().Length) / time.Since(begin).Seconds()
			sent, err := r.fetched(sw)
			return Values{"first read": first.Seconds(), "fetched by needed": sent / float64(sw.Info().Length), "rate": rate}, err
		},
	}
}
