package hostile

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/remotehosts"
	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// Corrupt reads a file of which three of four hosts send each block with a
// flipped byte.
func Corrupt() suite.Case {
	return suite.Case{
		Name: "corrupt", About: "three corrupt hosts and a good one, 12.5 MB/s each, 50 ms; 64 MiB read, every byte checked",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "first read", Unit: suite.Seconds, Bar: suite.Bar{Most: 2}},
			{Name: "fetched by needed", Unit: suite.Ratio, Bar: suite.Bar{Most: 3}},
			{Name: "rate", Unit: suite.BytesPerSec},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			spec := remotehosts.One("corrupt.bin", 4*suite.MiB, 64*suite.MiB, 3)
			if r.Options.Quick {
				spec = remotehosts.One("quick-corrupt.bin", 256*suite.KiB, 4*suite.MiB, 3)
			}
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: spec, Hosts: 4, Own: true, Corrupt: 3, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
			if err != nil {
				return nil, err
			}
			_, f, err := r.Open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			begin := time.Now()
			if err := r.Check(sw, f, 0, make([]byte, 64*suite.KiB)); err != nil {
				return nil, err
			}
			first := time.Since(begin)
			truth := sw.FileReader(0)
			buf := make([]byte, suite.MiB)
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
			sent, err := r.Fetched(sw)
			return suite.Values{"first read": first.Seconds(), "fetched by needed": sent / float64(sw.Info().Length), "rate": rate}, err
		},
	}
}
