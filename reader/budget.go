package reader

import "sync"

// Budget bounds the missing bytes that all windows together want, as of when each moved
// last. It is safe for concurrent use. Only a window that moves uses it, about once a
// piece: reads of held bytes never do.
type Budget struct {
	total      int64
	protection protection

	mu          sync.Mutex
	used        int64
	claimants   int // shares with a demand
	underserved int // of these, those with less than they want and less than is fair
}

// DefaultBudgetBytes is half of the engine's default for pieces in memory, so that there
// is always room for a piece that a read waits for.
const DefaultBudgetBytes = 128 << 20

// NewBudget returns a budget of this many bytes, or DefaultBudgetBytes for 0 or less.
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
	b           *Budget
	held        int64
	demand      int64
	underserved bool
}

// claim sets what the share wants and returns what it gets. While all shares have their
// fair part, one may take what is left, up to half of the budget. As soon as one has less,
// the others are cut down to their fair part as their windows move.
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
	if s.underserved {
		b.underserved--
	}
	s.demand = demand
	fair := b.total / int64(max(1, b.claimants))
	most := max(fair, b.total/2)
	if b.underserved > 0 {
		most = fair
	}
	b.used -= s.held
	s.held = min(demand, most, b.total-b.used)
	b.used += s.held
	if s.underserved = s.held < min(demand, fair); s.underserved {
		b.underserved++
	}
	return s.held
}

// shrink gives back the rest of the claim that is too small for a whole piece.
func (s *share) shrink(to int64) { s.refund(s.held-to, s.held-to) }

// refund takes own bytes off the share and gone bytes off the budget. gone is less where
// other windows still want pieces that this share has paid for.
func (s *share) refund(own, gone int64) {
	if own == 0 && gone == 0 {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.held -= own
	s.b.used -= gone
}
