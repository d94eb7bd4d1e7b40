// Package schedule decides which of the torrents that are held, and that nobody uses, is
// announced next, and where: at its trackers when they want to hear of it, in the DHT
// within a budget for all torrents together. There may be thousands.
//
// It asks nobody, and knows no torrent but by a key. What a tracker answered, and who may
// hear of a torrent at all, does not belong here.
package schedule

import (
	"container/heap"
	"time"
)

// Paces over all torrents.
const (
	// trackerGap is the least time between two torrents that are announced to trackers,
	// roundTime what all of them together take if that is less: after a start all are due
	// at once.
	trackerGap = 200 * time.Millisecond
	roundTime  = 15 * time.Minute
	// trackerBurst may be announced at once after a pause.
	trackerBurst = 20

	// dhtGap is the time between two lookups, each of which takes some fifty packets.
	dhtGap = 2 * time.Second
	// DHTInterval is the least time between two lookups of one torrent: nodes forget us
	// after half an hour.
	DHTInterval = 25 * time.Minute
)

// Schedule is when each torrent is announced. The zero Schedule has none.
type Schedule[K comparable] struct {
	torrents map[K]*torrent[K]
	trackers queue[K]
	// Torrents that no tracker lists go first in the DHT. The others are announced there
	// with what the budget has left.
	dhtOnly, dhtToo queue[K]

	paid   time.Time // announces to trackers are paid for until then
	lookup time.Time // the next lookup
}

// torrent is in up to two queues.
type torrent[K comparable] struct {
	key           K
	trackers, dht *due[K] // nil: not there
}

// Want is where a torrent is to be announced.
type Want struct {
	Trackers time.Time // when its trackers are to be asked; zero: they aren't
	DHT      bool
	Listed   bool // a tracker lists it
}

// Add adds a torrent, whose trackers and privacy are to be looked at as soon as it is its
// turn: Trackers returns it then. It does nothing to one that is there.
func (s *Schedule[K]) Add(key K, now time.Time) {
	if s.torrents[key] != nil {
		return
	}
	if s.torrents == nil {
		s.torrents = map[K]*torrent[K]{}
	}
	t := &torrent[K]{key: key}
	s.torrents[key] = t
	t.trackers = s.trackers.put(t, now)
}

// Remove removes a torrent. It reports whether it was there.
func (s *Schedule[K]) Remove(key K) bool {
	t := s.torrents[key]
	if t == nil {
		return false
	}
	s.trackers.remove(t.trackers)
	s.dhtOnly.remove(t.dht)
	s.dhtToo.remove(t.dht)
	delete(s.torrents, key)
	return true
}

// Has reports whether a torrent is there.
func (s *Schedule[K]) Has(key K) bool { return s.torrents[key] != nil }

// Len returns how many torrents there are.
func (s *Schedule[K]) Len() int { return len(s.torrents) }

// Set says where a torrent that is there is to be announced from now on.
func (s *Schedule[K]) Set(key K, w Want, now time.Time) {
	t := s.torrents[key]
	if t == nil {
		return
	}
	s.trackers.remove(t.trackers)
	t.trackers = nil
	if !w.Trackers.IsZero() {
		t.trackers = s.trackers.put(t, w.Trackers)
	}
	at := now // of the first lookup
	if t.dht != nil {
		at = t.dht.at
	}
	s.dhtOnly.remove(t.dht)
	s.dhtToo.remove(t.dht)
	t.dht = nil
	switch {
	case w.DHT && w.Listed:
		t.dht = s.dhtToo.put(t, at)
	case w.DHT:
		t.dht = s.dhtOnly.put(t, at)
	}
}

// Tracker returns a torrent whose trackers are to be asked now. The caller then calls Set.
func (s *Schedule[K]) Tracker(now time.Time) (key K, ok bool) {
	at, ok := s.NextTracker()
	if !ok || at.After(now) {
		return key, false
	}
	if burst := now.Add(-trackerBurst * s.gap()); s.paid.Before(burst) {
		s.paid = burst
	}
	s.paid = s.paid.Add(s.gap())
	t := s.trackers[0].torrent
	s.trackers.remove(t.trackers)
	t.trackers = nil
	return t.key, true
}

// gap is the time from one torrent to the next.
func (s *Schedule[K]) gap() time.Duration {
	return min(trackerGap, roundTime/time.Duration(max(1, len(s.torrents))))
}

// NextTracker returns when Tracker has something, false if never.
func (s *Schedule[K]) NextTracker() (time.Time, bool) {
	if len(s.trackers) == 0 {
		return time.Time{}, false
	}
	at := s.trackers[0].at
	if at.Before(s.paid) {
		at = s.paid
	}
	return at, true
}

// Lookup returns a torrent that is to be announced in the DHT now.
func (s *Schedule[K]) Lookup(now time.Time) (key K, ok bool) {
	at, ok := s.NextLookup()
	if !ok || at.After(now) {
		return key, false
	}
	q := &s.dhtOnly
	if len(*q) == 0 || (*q)[0].at.After(now) {
		q = &s.dhtToo
	}
	t := (*q)[0].torrent
	s.lookup = now.Add(dhtGap)
	(*q)[0].at = now.Add(DHTInterval)
	heap.Fix(q, 0)
	return t.key, true
}

// NextLookup returns when Lookup has something, false if never.
func (s *Schedule[K]) NextLookup() (at time.Time, ok bool) {
	for _, q := range []queue[K]{s.dhtOnly, s.dhtToo} {
		if len(q) > 0 && (!ok || q[0].at.Before(at)) {
			at, ok = q[0].at, true
		}
	}
	if at.Before(s.lookup) {
		at = s.lookup
	}
	return at, ok
}
