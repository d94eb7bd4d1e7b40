package main

import (
	"context"
	"errors"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"golang.org/x/sync/errgroup"
)

// besideStream reads at random from the second half of a file, first alone and
// then while somebody streams the first half.
func besideStream() Case {
	const reads = 20
	return Case{
		Name: "beside-a-stream", About: "64 KiB at random while another reader streams the same torrent, 4 hosts × 12.5 MB/s, 50 ms",
		Systems: []string{weirSystem}, Limit: 60 * time.Second,
		Figures: []Figure{
			{Name: "p50 alone", Unit: Seconds},
			{Name: "p50 beside", Unit: Seconds},
			{Name: "p95 beside", Unit: Seconds},
			{Name: "p50 beside / alone", Unit: Ratio, Bar: Bar{Most: 2}},
			{Name: "stream", Unit: BytesPerSec},
		},
		Run: func(r *Run) (Values, error) {
			sw, err := r.seed(r.wire("rtt50"), testbed.Seeding{Spec: r.gigabyte(), Hosts: 4, Delay: halfTrip, BytesPerSec: rate12})
			if err != nil {
				return nil, err
			}
			p, f, err := r.open(sw)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			info := sw.Info()
			half := int64(info.NumPieces()/2) * info.PieceLength
			at := offsets(7, info.NumPieces()/2, info.PieceLength, 64*kib, warmReads+2*reads)
			for i := range at {
				at[i] += half
			}
			split := min(warmReads+reads, len(at)/2)
			read := r.reads(sw, f, 64*kib)
			alone, err := timed(at[:split], min(warmReads, split-1), 20*time.Second, read)
			if err != nil {
				return nil, err
			}

			stream, err := p.Open(r.ctx)
			if err != nil {
				return nil, err
			}
			defer stream.Close()
			var beside []float64
			var n int64
			begin := time.Now()
			ctx, stop := context.WithCancelCause(r.ctx)
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() (err error) {
				n, err = readOn(stream, half, func(int) error { return context.Cause(ctx) })
				return err
			})
			g.Go(func() (err error) {
				defer stop(errEnough)
				beside, err = timed(at[split:], 2, 20*time.Second, read)
				return err
			})
			if err := g.Wait(); err != nil && !errors.Is(err, errEnough) {
				return nil, err
			}
			a, b := latencies(alone), latencies(beside)
			return Values{
				"p50 alone": a["p50"], "p50 beside": b["p50"], "p95 beside": b["p95"], "p50 beside / alone": b["p50"] / a["p50"],
				"stream": float64(n) / time.Since(begin).Seconds(),
			}, nil
		},
	}
}
