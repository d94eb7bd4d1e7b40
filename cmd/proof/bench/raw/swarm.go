package raw

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/weirfs/weir"
)

// Swarm is a connection to each of some seeders.
type Swarm []*Peer

// DialAll connects to all of them at the same time.
func DialAll(ctx context.Context, addrs []string, ih weir.InfoHash) (Swarm, error) {
	s := make(Swarm, len(addrs))
	g, ctx := errgroup.WithContext(ctx)
	for i, a := range addrs {
		g.Go(func() (err error) {
			s[i], err = Dial(ctx, a, ih)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends all connections.
func (s Swarm) Close() {
	for _, p := range s {
		if p != nil {
			p.Close()
		}
	}
}

// Piece fetches one piece, an equal share from each peer, and returns when all of
// it has come.
func (s Swarm) Piece(ctx context.Context, info *weir.TorrentInfo, index int) error {
	n := info.PieceRange(index).Len()
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range s {
		// Shares end at block borders.
		begin := n * int64(i) / int64(len(s)) / weir.BlockBytes * weir.BlockBytes
		end := n * int64(i+1) / int64(len(s)) / weir.BlockBytes * weir.BlockBytes
		if i == len(s)-1 {
			end = n
		}
		g.Go(func() error {
			if err := p.Ask(index, begin, end); err != nil {
				return err
			}
			return p.Wait(ctx, end-begin)
		})
	}
	return g.Wait()
}
