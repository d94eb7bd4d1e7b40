package main

import (
	"sync"
	"time"

	"github.com/weirfs/weir/cmd/proof/bench/testbed"
	"golang.org/x/sync/errgroup"
)

// manyReaders lets sixteen handles read at random at the same time, each read in
// a piece that nobody has touched. The limit is what the line gives by HTTP.
func manyReaders() Case {
	const readers = 16
	return Case{
		Name: "many-readers", About: "16 handles read 64 KiB at random at once, 4 hosts × 12.5 MB/s, 50 ms",
		Systems: []string{weirSystem, httpSystem}, Limit: 60 * time.Second,
		Figures: []Figure{
			{Name: "rate in pieces", Unit: BytesPerSec, Reference: httpSystem, Bar: Bar{LeastOf: 0.9}},
			{Name: "p50", Unit: Seconds},
			{Name: "longest by median read", Unit: Ratio, Bar: Bar{Most: 4}},
		},
		Run: func(r *Run) (Values, error) {
			sw, err := r.seed(r.wire("rtt50"), testbed.Seeding{Spec: r.gigabyte(), Hosts: 4, Delay: halfTrip, BytesPerSec: rate12})
			if err != nil {
				return nil, err
			}
			info := sw.Info()
			if r.system == httpSystem {
				v, err := r.parallelHTTP(sw, 4, min(384*mib, info.Length))
				return Values{"rate in pieces": v["rate"]}, err
			}
			p, err := r.start(sw, "")
			if err != nil {
				return nil, err
			}
			// The first one finds the peers.
			f, err := p.Open(r.ctx)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			at := offsets(16, info.NumPieces(), info.PieceLength, 64*kib, warmReads+112)
			warm := min(warmReads, len(at)/4)
			if _, err := timed(at[:warm], 0, 10*time.Second, r.reads(sw, f, 64*kib)); err != nil {
				return nil, err
			}
			at = at[warm:]

			var mu sync.Mutex
			next, took := 0, make([]float64, 0, len(at))
			take := func() (int64, bool) {
				mu.Lock()
				defer mu.Unlock()
				next++
				if next > len(at) {
					return 0, false
				}
				return at[next-1], true
			}
			begin := time.Now()
			var g errgroup.Group
			for range readers {
				g.Go(func() error {
					f, err := p.Open(r.ctx)
					if err != nil {
						return err
					}
					defer f.Close()
					read := r.reads(sw, f, 64*kib)
					for off, ok := take(); ok; off, ok = take() {
						t := time.Now()
						if err := read(off); err != nil {
							return err
						}
						mu.Lock()
						took = append(took, time.Since(t).Seconds())
						mu.Unlock()
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				return nil, err
			}
			seconds := time.Since(begin).Seconds()
			return Values{
				"rate in pieces": float64(int64(len(at))*info.PieceLength) / seconds,
				"p50":            quantile(took, 0.5), "longest by median read": quantile(took, 1) / quantile(took, 0.5),
			}, nil
		},
	}
}
