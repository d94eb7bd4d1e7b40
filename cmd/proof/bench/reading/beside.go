package reading

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir/cmd/proof/bench/suite"
	"github.com/weirfs/weir/cmd/proof/bench/testbed"
)

// BesideStream reads at random from the second half of a file, first alone and
// then while somebody streams the first half.
func BesideStream() suite.Case {
	const reads = 20
	return suite.Case{
		Name: "beside-a-stream", About: "64 KiB at random while another reader streams the same torrent, 4 hosts × 12.5 MB/s, 50 ms",
		Systems: []string{suite.Weir}, Limit: 60 * time.Second,
		Figures: []suite.Figure{
			{Name: "p50 alone", Unit: suite.Seconds},
			{Name: "p50 beside", Unit: suite.Seconds},
			{Name: "p95 beside", Unit: suite.Seconds},
			{Name: "p50 beside / alone", Unit: suite.Ratio, Bar: suite.Bar{Most: 2}},
			{Name: "stream", Unit: suite.BytesPerSec},
		},
		Run: func(r *suite.Run) (suite.Values, error) {
			sw, err := r.Seed(r.Wire("rtt50"), testbed.Seeding{Spec: r.Gigabyte(), Hosts: 4, Delay: suite.HalfTrip, BytesPerSec: suite.Rate12})
			if err != nil {
				return nil, err
			}
			p, f, err := r.Open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			info := sw.Info()
			half := int64(info.NumPieces()/2) * info.PieceLength
			at := suite.Offsets(7, info.NumPieces()/2, info.PieceLength, 64*suite.KiB, suite.WarmReads+2*reads)
			for i := range at {
				at[i] += half
			}
			split := min(suite.WarmReads+reads, len(at)/2)
			read := r.Reads(sw, f, 64*suite.KiB)
			alone, err := suite.Timed(at[:split], min(suite.WarmReads, split-1), 20*time.Second, read)
			if err != nil {
				return nil, err
			}

			stream, err := p.Open(r.Ctx)
			if err != nil {
				return nil, err
			}
			defer stream.Close()
			var beside []float64
			var n int64
			begin := time.Now()
			ctx, stop := context.WithCancelCause(r.Ctx)
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() (err error) {
				n, err = suite.ReadOn(stream, half, func(int) error { return context.Cause(ctx) })
				return err
			})
			g.Go(func() (err error) {
				defer stop(suite.ErrEnough)
				beside, err = suite.Timed(at[split:], 2, 20*time.Second, read)
				return err
			})
			if err := g.Wait(); err != nil && !errors.Is(err, suite.ErrEnough) {
				return nil, err
			}
			a, b := suite.Latencies(alone), suite.Latencies(beside)
			return suite.Values{
				"p50 alone": a["p50"], "p50 beside": b["p50"], "p95 beside": b["p95"], "p50 beside / alone": b["p50"] / a["p50"],
				"stream": float64(n) / time.Since(begin).Seconds(),
			}, nil
		},
	}
}
