package raw

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
)

// ahead is for how many pieces each peer is asked before the first of them has come.
const ahead = 3

// Stream fetches the pieces first … end-1, a whole piece from whichever peer is
// next to need work.
func (s Swarm) Stream(ctx context.Context, info *weir.TorrentInfo, first, end int) error {
	var next atomic.Int64
	next.Store(int64(first))
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range s {
		g.Go(func() error {
			var asked []int64 // bytes of the pieces under way
			for {
				for len(asked) < ahead {
					i := int(next.Add(1) - 1)
					if i >= end {
						break
					}
					n := info.PieceRange(i).Len()
					if err := p.Ask(i, 0, n); err != nil {
						return err
					}
					asked = append(asked, n)
				}
				if len(asked) == 0 {
					return nil
				}
				if err := p.Wait(ctx, asked[0]); err != nil {
					return err
				}
				asked = asked[1:]
			}
		})
	}
	return g.Wait()
}
