package discover

import (
	"errors"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Times between announces (BEP 3).
const (
	leastInterval    = 30 * time.Second // whatever the tracker says
	mostInterval     = 4 * time.Hour    // whatever the tracker says
	usualInterval    = 30 * time.Minute // when it doesn't say
	usualMinInterval = 2 * time.Minute  // when it doesn't say

	firstBackoff = 5 * time.Second
	mostBackoff  = 30 * time.Minute

	// slowTracker is how long a torrent without any peer waits for a tracker before
	// it asks the next of the tier as well.
	slowTracker = time.Second
)

// entry is one tracker of a tier.
type entry struct {
	url     string
	name    string // without secrets
	id      string // tracker id to give back (BEP 3)
	started bool   // it has answered: it knows of us until "stopped"
	told    bool   // nothing to tell of completion: it was told, or we began complete
	never   bool   // it asked us not to come back (BEP 31)
	bare    bool   // it has no scrape (BEP 48)
	// wait is when it may be asked again, by its minimum interval or its "retry
	// in".
	wait time.Time

	lastErr             string // of the last announce; empty when it was answered
	answered            time.Time
	seeds, leeches, got int // -1: not told
}

// tier is a group of trackers of which one needs to answer (BEP 12), for one
// info hash. It decides who is asked, and when; it does not ask. Times are given
// to it.
//
// It asks in rounds: one tracker after the other until one answers, or side by
// side while that is slow and nobody else gives peers. The first answer settles
// the round.
type tier struct {
	index    int // in the metainfo
	hash     weir.InfoHash
	entries  []*entry // in the order of trying: the last to answer is first
	at       int      // the one to ask next; -1 when this round has no more
	asking   int      // are being asked
	asked    time.Time
	settled  bool // the round has its answer
	next     time.Time
	failures int  // rounds without an answer
	off      bool // nobody in it wants us, ever
}

// newTier takes the URLs in the order in which they are to be tried, which the
// caller has shuffled.
func newTier(index int, hash weir.InfoHash, urls []string) *tier {
	t := &tier{index: index, hash: hash}
	for _, u := range urls {
		t.entries = append(t.entries, &entry{url: u, name: trackerName(u), seeds: -1, leeches: -1})
	}
	t.off = len(t.entries) == 0
	return t
}

// due returns when the next is to be asked, false when the tier waits for those
// that are being asked. alone says that the torrent has no peer.
func (t *tier) due(alone bool) (time.Time, bool) {
	switch {
	case t.off, t.asking > 0 && (t.settled || !alone || t.at < 0):
		return time.Time{}, false
	case t.asking > 0:
		return t.asked.Add(slowTracker), true
	}
	return t.next, true
}

// begin returns whom to ask and which event to tell. left is what we lack, in
// bytes. The caller then says answered or failed, unless the search is over.
func (t *tier) begin(now time.Time, left int64) (*entry, string) {
	e := t.entries[t.at]
	if t.asking == 0 {
		t.settled = false
	}
	t.asking++
	t.asked = now
	t.at = t.askable(now, t.at+1)
	switch {
	case !e.started:
		return e, eventStarted
	case left == 0 && !e.told:
		return e, eventCompleted
	}
	return e, eventNone
}

// answered records e's answer to an announce that told event and left.
func (t *tier) answered(e *entry, now time.Time, event string, left int64, a announceAnswer) {
	t.asking--
	e.told = e.told || event == eventCompleted || event == eventStarted && left == 0
	e.started, e.lastErr, e.answered = true, "", now
	e.got = len(a.peers)
	if a.seeds >= 0 || a.leeches >= 0 {
		e.seeds, e.leeches = a.seeds, a.leeches
	}
	if a.trackerID != "" {
		e.id = a.trackerID
	}
	interval, least := intervals(a)
	e.wait = now.Add(least)
	if t.settled {
		return // another one was faster
	}
	t.settled = true
	i := slices.Index(t.entries, e)
	t.entries = slices.Insert(slices.Delete(t.entries, i, i+1), 0, e)
	t.at, t.failures = 0, 0
	t.next = now.Add(interval)
}

// intervals returns when to announce again, and how early that may be when
// peers are needed.
func intervals(a announceAnswer) (interval, least time.Duration) {
	if interval = a.interval; interval <= 0 {
		interval = usualInterval
	}
	interval = min(max(interval, leastInterval), mostInterval)
	if least = a.minInterval; least <= 0 {
		least = min(usualMinInterval, interval)
	}
	least = min(max(least, leastInterval), mostInterval)
	return max(interval, least), least
}

// failed records that e, which was being asked, gave err. The next of the tier is
// asked at once; after the last one the tier rests. jitter is in [0, 1).
func (t *tier) failed(e *entry, now time.Time, err error, jitter float64) {
	t.asking--
	e.lastErr = err.Error()
	var r *refusal
	if errors.As(err, &r) {
		e.never = r.never
		e.wait = now.Add(r.retryIn)
	}
	var status *httpStatus
	if errors.As(err, &status) {
		e.wait = now.Add(status.retryIn)
	}
	if t.off = !slices.ContainsFunc(t.entries, func(e *entry) bool { return !e.never }); t.off {
		return
	}
	switch {
	case t.settled: // another one was faster
	case t.at >= 0:
		t.next, t.asked = now, time.Time{}
	case t.asking == 0:
		t.failures++
		t.next = now.Add(backoff(t.failures, jitter))
		// Those that asked for more patience decide when all of them do.
		if first := t.entries[t.patient()].wait; first.After(t.next) {
			t.next = first
		}
		t.at = t.askable(t.next, 0)
	}
}

// patient returns the entry that may be asked first, of those that may be asked
// ever.
func (t *tier) patient() int {
	first := -1
	for i, e := range t.entries {
		if !e.never && (first < 0 || e.wait.Before(t.entries[first].wait)) {
			first = i
		}
	}
	return first
}

// askable returns the first entry from index on that may be asked at now, or -1.
// One that never answered has nothing to wait for.
func (t *tier) askable(now time.Time, index int) int {
	for i := index; i < len(t.entries); i++ {
		if e := t.entries[i]; !e.never && !e.wait.After(now) {
			return i
		}
	}
	return -1
}

// backoff returns how long to rest after n failed rounds: 5 s doubled each time
// up to 30 min, spread by a quarter to both sides, so that a tracker that comes
// back isn't met by everybody at once.
func backoff(n int, jitter float64) time.Duration {
	d := min(firstBackoff<<min(n-1, 20), mostBackoff)
	return d*3/4 + time.Duration(jitter*float64(d/2))
}

// hurry says that peers are wanted: the tier is asked as soon as the minimum
// interval allows. A tier that fails keeps to its backoff.
func (t *tier) hurry(now time.Time) {
	if t.asking > 0 || t.off || t.failures > 0 {
		return
	}
	soon := t.entries[t.at].wait
	if soon.Before(now) {
		soon = now
	}
	if soon.Before(t.next) {
		t.next = soon
	}
}

// completed says that nothing is left: trackers that don't know yet are told at
// once, because an event is not a regular announce.
func (t *tier) completed(now time.Time) {
	if t.asking > 0 || t.off || t.failures > 0 {
		return
	}
	if e := t.entries[t.at]; e.started && !e.told && t.next.After(now) {
		t.next = now
	}
}
