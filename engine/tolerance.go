package engine

import (
	"errors"
	"sync"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/wire"
)

var (
	errFlood   = errors.New("peer sends much that brings nothing")
	errUnasked = errors.New("peer answers what nobody asked for")
)

// What a peer may send that brings nothing: keep-alives, messages that we don't
// know, changes of mind, what is refused to it. Each costs one, and one more for
// each KiB. Honest programs send a few of them a second, and some hundred at once
// when a piece is nearly done.
const (
	toleranceBurst  = 8192
	tolerancePerSec = 200
)

// mostUnasked is how many blocks and rejects a peer may send beyond one for each
// request that it was sent. Late answers, also to what was cancelled, are within
// the requests; this is for programs that count badly.
const mostUnasked = 64

// tolerance is an allowance that grows again with time. It is safe for concurrent
// use.
type tolerance struct {
	mu   sync.Mutex
	used float64
	at   time.Time // when used was so much
}

// spend takes cost from an allowance of most at a time, and reports false when it
// is used up.
func (t *tolerance) spend(now time.Time, cost, most int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used = max(0, t.used-now.Sub(t.at).Seconds()*tolerancePerSec)
	t.at = now
	t.used += float64(cost)
	return t.used <= float64(most)
}

// tolerate charges the peer for a message by its type alone, before the owner has
// any work with it. pieces is how many the torrent has, 0 if that is not known.
func (p *peer) tolerate(m *wire.Message, now time.Time, pieces int) error {
	switch {
	case m.Ignored:
	case m.Type == pp.Have, m.Type == pp.Extended && m.ExtendedID == ourDontHaveID:
		// One for each piece is usual, and all over again when a cache forgets.
		if pieces == 0 {
			pieces = mostHaves
		}
		if !p.news.spend(now, 1, toleranceBurst+4*pieces) {
			return errFlood
		}
		return nil
	case m.Type == pp.Piece, m.Type == pp.Reject, m.Type == pp.Request,
		m.Type == pp.HashRequest, m.Type == pp.Hashes, m.Type == pp.HashReject, m.Metadata != nil:
		return nil // the owner knows whether they bring something
	}
	return p.annoys(m, now)
}

// annoys charges the peer for a message that brings nothing.
func (p *peer) annoys(m *wire.Message, now time.Time) error {
	if !p.patience.spend(now, 1+m.Bytes>>10, toleranceBurst) {
		return errFlood
	}
	return nil
}

// answers counts a block or reject against the requests that the peer was sent.
func (p *peer) answers() error {
	if p.asked--; p.asked < -mostUnasked {
		return errUnasked
	}
	return nil
}
