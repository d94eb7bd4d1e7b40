package discover

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Times of LSD (BEP 14).
const (
	lsdInterval = 5 * time.Minute  // between two announces of one torrent
	lsdSpacing  = time.Minute      // between two messages
	lsdLook     = 30 * time.Second // between two looks at the networks of this machine
)

// lsdRound decides when the local network is told of which torrents: each every
// 5 min, at most one message a minute, as many torrents in it as fit.
type lsdRound struct {
	room int // torrents in one message
	last time.Time
	told map[weir.InfoHash]time.Time // zero when it was not told yet
}

func (r *lsdRound) add(h weir.InfoHash) {
	if r.told == nil {
		r.told = map[weir.InfoHash]time.Time{}
	}
	if _, ok := r.told[h]; !ok {
		r.told[h] = time.Time{}
	}
}

func (r *lsdRound) remove(h weir.InfoHash) { delete(r.told, h) }

// again has everything told once more, as soon as a message may go: there are others
// who listen now.
func (r *lsdRound) again() {
	for h := range r.told {
		r.told[h] = time.Time{}
	}
}

// next returns when the next message is due. There is none without torrents.
func (r *lsdRound) next() (time.Time, bool) {
	var due time.Time
	for _, at := range r.told {
		if !at.IsZero() {
			at = at.Add(lsdInterval)
		}
		if due.IsZero() || at.Before(due) {
			due = at
		}
		if at.IsZero() {
			due = time.Time{}
			break
		}
	}
	if soonest := r.last.Add(lsdSpacing); !r.last.IsZero() && due.Before(soonest) {
		due = soonest
	}
	return due, len(r.told) > 0
}

// take returns what to tell now, and counts it as told. It is empty when nothing
// is due.
func (r *lsdRound) take(now time.Time) []weir.InfoHash {
	if due, ok := r.next(); !ok || due.After(now) {
		return nil
	}
	var out []weir.InfoHash
	for h, at := range r.told {
		// What is due before the next message may go is told along with the rest.
		if at.IsZero() || now.Sub(at) >= lsdInterval-lsdSpacing {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b weir.InfoHash) int { return r.told[a].Compare(r.told[b]) })
	out = out[:min(len(out), r.room)]
	for _, h := range out {
		r.told[h] = now
	}
	r.last = now
	return out
}
