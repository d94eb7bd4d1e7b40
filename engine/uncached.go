package engine

import (
	"errors"
	"slices"
	"sync"

	"github.com/weirfs/weir"
)

// mostUncached bounds the bytes of pieces, over all torrents, that stay in memory
// because the Store does not take them: enough that a reader gets what it waited
// for.
const mostUncached = 64 << 20

// uncached are those pieces, the oldest first. It is safe for concurrent use.
type uncached struct {
	most int64

	mu    sync.Mutex
	list  []uncachedPiece
	bytes int64
}

type uncachedPiece struct {
	sw    *swarm
	index int
	bytes int64
}

// add notes a piece and returns those that have to go for it. It is never one of
// them, however large.
func (u *uncached) add(p uncachedPiece) (gone []uncachedPiece) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.list) > 0 && u.bytes+p.bytes > u.most {
		gone = append(gone, u.list[0])
		u.bytes -= u.list[0].bytes
		u.list = u.list[1:]
	}
	u.list = append(u.list, p)
	u.bytes += p.bytes
	return gone
}

// leave forgets the pieces of a swarm that ends.
func (u *uncached) leave(s *swarm) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = slices.DeleteFunc(u.list, func(p uncachedPiece) bool {
		if p.sw == s {
			u.bytes -= p.bytes
		}
		return p.sw == s
	})
}

// retainUncached leaves a piece in memory that the Store refused, in place of the
// oldest such pieces of all torrents.
func (s *swarm) retainUncached(index int, err error) {
	if errors.Is(err, weir.ErrNoSpace) {
		s.log.Debug("piece not cached", "piece", index, "err", err)
	} else {
		s.log.Warn("piece not cached", "piece", index, "err", err)
	}
	s.content.mem.mu.Lock()
	s.content.mem.uncached[index] = struct{}{}
	s.content.mem.mu.Unlock()
	for _, g := range s.eng.uncached.add(uncachedPiece{s, index, s.t.LoadedInfo().PieceRange(index).Len()}) {
		g.sw.do(func() { g.sw.forgetUncached(g.index) }) // what has ended has nothing left
	}
}

func (s *swarm) forgetUncached(index int) {
	s.content.mem.remove(index)
	s.pick.Lost(index)
}
