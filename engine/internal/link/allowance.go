package link

import (
	"sync"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/weirfs/weir/engine/internal/wire"
)

// What a peer may send that is of no use: keep-alives, messages that we don't know,
// changes of mind, requests that are refused. Each costs one, and one more for each
// KiB. Honest programs send a few of them a second, and some hundred at once when a
// piece is nearly done.
const (
	allowanceBurst  = 8192
	allowancePerSec = 200
)

// mostUnrequested is how many blocks and rejects a peer may send beyond one for each
// request that it was sent. Late answers, also to what was cancelled, are within the
// requests; this is for programs that count badly.
const mostUnrequested = 64

// UnknownPieces is how many pieces a torrent is taken to have while that is not known.
const UnknownPieces = 1 << 16

// allowance is an amount that is spent and grows again with time. It is safe for
// concurrent use.
type allowance struct {
	mu   sync.Mutex
	used float64
	at   time.Time // when used was so much
}

// spend takes cost from an allowance of most at a time, and reports false when it
// is used up.
func (a *allowance) spend(now time.Time, cost, most int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used = max(0, a.used-now.Sub(a.at).Seconds()*allowancePerSec)
	a.at = now
	a.used += float64(cost)
	return a.used <= float64(most)
}

// charge charges the peer for a message by its type alone, before the owner has any
// work with it.
func (l *Link) charge(m *wire.Message, now time.Time) error {
	switch {
	case m.Ignored:
	case m.Type == pp.Have, m.Type == pp.Extended && m.ExtendedID == wire.DontHaveID:
		// One for each piece is usual, and all over again when a cache forgets.
		pieces := l.Pieces()
		if pieces == 0 {
			pieces = UnknownPieces
		}
		if !l.changes.spend(now, 1, allowanceBurst+4*pieces) {
			return ErrFlood
		}
		return nil
	case m.Type == pp.Piece, m.Type == pp.Reject, m.Type == pp.Request,
		m.Type == pp.HashRequest, m.Type == pp.Hashes, m.Type == pp.HashReject, m.Metadata != nil:
		return nil // the owner knows whether they are of use
	}
	return l.Useless(m, now)
}

// Useless charges the peer for a message that was of no use. An error ends the
// connection.
func (l *Link) Useless(m *wire.Message, now time.Time) error {
	if !l.useless.spend(now, 1+m.Bytes>>10, allowanceBurst) {
		return ErrFlood
	}
	return nil
}
