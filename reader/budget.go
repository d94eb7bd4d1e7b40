package reader

import "sync"

// Budget bounds the bytes that all windows together want and that were missing
// when the window moved last. It is safe for concurrent use. Only a window that moves looks at it, which
// happens about once a piece: never in the path of a read that is held.
type Budget struct {
	total      int64
	protection protection

	mu        sync.Mutex
	used      int64
	claimants int // shares with a demand
	hungry    int // of these, the ones that have less than they want and than is fair
}

// DefaultBudgetBytes is the budget when nothing is said: half of what the engine
// takes for pieces in memory by default, so that a read that must wait always finds
// room there.
const DefaultBudgetBytes = 128 << 20

// NewBudget returns a budget of so many bytes, DefaultBudgetBytes for 0 or less.
func NewBudget(bytes int64) *Budget {
	if bytes <= 0 {
		bytes = DefaultBudgetBytes
	}
	return &Budget{total: bytes}
}

// Used returns the bytes that windows hold now, at most what NewBudget was given.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// share is what one window has of a Budget. Its owner guards it.
type share struct {
	b      *Budget
	held   int64
	demand int64
	hungry bool
}

// claim sets what the share wants and returns what it gets. While everybody has
// his fair part, a window may take what is left, up to half of all; when somebody
// has less, the others fall back to their part as they move.
func (s *share) claim(demand int64) int64 {
	b := s.b
	if demand == 0 && s.demand == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if (demand > 0) != (s.demand > 0) {
		if demand > 0 {
			b.claimants++
		} else {
			b.claimants--
		}
	}
	if s.hungry {
		b.hungry--
	}
	s.demand = demand
	fair := b.total / int64(max(1, b.claimants))
	most := max(fair, b.total/2)
	if b.hungry > 0 {
		most = fair
	}
	b.used -= s.held
	s.held = min(demand, most, b.total-b.used)
	b.used += s.held
	if s.hungry = s.held < min(demand, fair); s.hungry {
		b.hungry++
	}
	return s.held
}

// shrink gives back what of the claim is of no use, because no whole piece fits.
func (s *share) shrink(to int64) { s.refund(s.held-to, s.held-to) }

// refund says that the share pays for own bytes less, and that nobody wants gone
// bytes any more. They differ when others want what the share has paid for.
func (s *share) refund(own, gone int64) {
	if own == 0 && gone == 0 {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.held -= own
	s.b.used -= gone
}
