package sharing

import (
	"time"

	"github.com/weirfs/weir/cmd/internal/catalogue"
)

// Which torrents are given to whoever asks while nothing here uses them.
const (
	SeedAll    = "all"    // those of which something is held
	SeedPinned = "pinned" // those of which something is pinned
	SeedNone   = "none"
)

// Policy says which torrents are given to whoever asks, and until when.
type Policy struct {
	Seed  string        // SeedAll, SeedPinned or SeedNone; "": SeedAll
	Ratio float64       // until this much of what was fetched has been given; 0: no end
	Time  time.Duration // until it was seeded for so long; 0: no end
}

// With returns the policy for a torrent with settings of its own.
func (p Policy) With(s *catalogue.Sharing) Policy {
	if s == nil {
		return p
	}
	if s.Seed != "" {
		p.Seed = s.Seed
	}
	if s.Ratio != nil {
		p.Ratio = *s.Ratio
	}
	if s.SeedTime != nil {
		p.Time = *s.SeedTime
	}
	return p
}

// Facts are what a policy looks at.
type Facts struct {
	Have     int64 // bytes that are held
	Complete bool
	Pinned   bool // something is
	Totals   catalogue.Totals
}

// Ratio is the bytes that were given per byte that was fetched, or that is held if that is
// more: what came from elsewhere counts as fetched.
func Ratio(t catalogue.Totals, have int64) float64 {
	base := max(t.Downloaded, have)
	if base == 0 {
		return 0
	}
	return float64(t.Uploaded) / float64(base)
}

// Offers reports whether the torrent is given to whoever asks.
func (p Policy) Offers(f Facts) bool {
	switch {
	case p.Seed == SeedNone, p.Seed == SeedPinned && !f.Pinned:
		return false
	case p.Ratio > 0 && Ratio(f.Totals, f.Have) >= p.Ratio:
		return false
	}
	return p.Time <= 0 || f.Totals.Seeded < p.Time
}
