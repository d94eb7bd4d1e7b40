package lsd

import (
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Times of LSD (BEP 14).
const (
	interval       = 5 * time.Minute  // between two announces of one torrent
	spacing        = time.Minute      // between two messages
	followInterval = 30 * time.Second // between two looks at the networks of this machine
)

// schedule decides when which torrents are announced: each every 5 min, at most one
// message a minute, as many torrents in it as fit. What is left of a message is for
// torrents that are held: they take turns, and one that a peer announced comes first.
type schedule struct {
	capacity  int // torrents in one message
	last      time.Time
	announced map[weir.InfoHash]time.Time // zero when it was not yet
	held      held
}

func (s *schedule) add(h weir.InfoHash) {
	if s.announced == nil {
		s.announced = map[weir.InfoHash]time.Time{}
	}
	if _, ok := s.announced[h]; !ok {
		s.announced[h] = time.Time{}
	}
}

func (s *schedule) remove(h weir.InfoHash) { delete(s.announced, h) }

// again has all torrents announced once more, as soon as a message may be sent: a new
// network listens.
func (s *schedule) again() {
	for h := range s.announced {
		s.announced[h] = time.Time{}
	}
}

// next returns when the next message is due. There is none without torrents.
func (s *schedule) next() (time.Time, bool) {
	var due time.Time
	for _, at := range s.announced {
		if !at.IsZero() {
			at = at.Add(interval)
		}
		if due.IsZero() || at.Before(due) {
			due = at
		}
		if at.IsZero() {
			due = time.Time{}
			break
		}
	}
	some := len(s.announced) > 0
	if at, ok := s.held.next(); ok && (!some || at.Before(due)) {
		due, some = at, true
	}
	if soonest := s.last.Add(spacing); !s.last.IsZero() && due.Before(soonest) {
		due = soonest
	}
	return due, some
}

// take returns what to announce now, and counts it as announced. It is empty when nothing
// is due.
func (s *schedule) take(now time.Time) []weir.InfoHash {
	if due, ok := s.next(); !ok || due.After(now) {
		return nil
	}
	var out []weir.InfoHash
	for h, at := range s.announced {
		// What is due before the next message may be sent goes into this one.
		if at.IsZero() || now.Sub(at) >= interval-spacing {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b weir.InfoHash) int { return s.announced[a].Compare(s.announced[b]) })
	out = out[:min(len(out), s.capacity)]
	for _, h := range out {
		s.announced[h] = now
	}
	s.last = now
	return append(out, s.held.take(now, s.capacity-len(out), s.announced)...)
}
