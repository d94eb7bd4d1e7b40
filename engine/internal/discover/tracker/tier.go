package tracker

import (
	"errors"
	"slices"
	"time"

	"github.com/weirfs/weir"
)

// Times between announces (BEP 3).
const (
	minInterval        = 30 * time.Second // whatever the tracker says
	maxInterval        = 4 * time.Hour    // whatever the tracker says
	defaultInterval    = 30 * time.Minute // when it doesn't say
	defaultMinInterval = 2 * time.Minute  // when it doesn't say

	firstBackoff = 5 * time.Second
	maxBackoff   = 30 * time.Minute

	// SlowAfter is how long a torrent without any peer waits for a tracker before
	// it asks the next of the tier as well.
	SlowAfter = time.Second
)

// Entry is one tracker of a tier, and what it has said.
type Entry struct {
	URL       string
	Name      string // without secrets
	TrackerID string // to give back (BEP 3)
	Started   bool   // it has answered: it knows of us until it hears Stopped
	NoScrape  bool   // it has no scrape (BEP 48)

	completed bool      // it needs no Completed: it was told, or we began complete
	never     bool      // it asked us not to come back (BEP 31)
	wait      time.Time // it is not asked before, by its minimum interval or its "retry in"

	lastErr        string // of the last announce; empty when it was answered
	answered       time.Time
	seeds, leeches int // -1: not told
	peers          int // in the last answer
}

// Counted records what a scrape said.
func (e *Entry) Counted(c Counts) { e.seeds, e.leeches = c.Seeds, c.Leeches }

// LastErr returns the text of the last announce's error, or nothing if it was answered.
func (e *Entry) LastErr() string { return e.lastErr }

// Tier is a group of trackers of which one needs to answer (BEP 12), for one info hash.
// It decides who is asked, and when.
//
// It asks in rounds: one tracker after the other until one answers, or several at a time
// while that is slow and there are no other peers. The first answer settles the round.
type Tier struct {
	Hash     weir.InfoHash
	index    int      // in the metainfo
	entries  []*Entry // in the order of trying: the last to answer is first
	at       int      // the one to ask next; -1 when this round has no more
	asking   int      // how many are being asked
	asked    time.Time
	settled  bool // the round has its answer
	next     time.Time
	failures int  // rounds without an answer
	off      bool // nobody in it wants us, ever
}

// NewTier takes the URLs in the order in which they are to be tried, which the caller has
// shuffled.
func NewTier(index int, hash weir.InfoHash, urls []string) *Tier {
	t := &Tier{index: index, Hash: hash}
	for _, u := range urls {
		t.entries = append(t.entries, &Entry{URL: u, Name: Name(u), seeds: -1, leeches: -1})
	}
	t.off = len(t.entries) == 0
	return t
}

// Entries returns the trackers, in the order of trying.
func (t *Tier) Entries() []*Entry { return t.entries }

// Status is the state of one tracker for one info hash.
type Status struct {
	Tracker  string // its URL without secrets
	InfoHash weir.InfoHash
	Tier     int       // from 0
	Err      string    // why the last announce failed; empty when it didn't
	Answered time.Time // the last answer; zero when there was none
	Next     time.Time // the next announce of its tier; zero when there will be none, or one is under way
	Seeds    int       // -1 when not told
	Leeches  int       // -1 when not told
	Peers    int       // addresses in the last answer
}

// Status returns the state of each tracker.
func (t *Tier) Status() (out []Status) {
	for _, e := range t.entries {
		st := Status{
			Tracker: e.Name, InfoHash: t.Hash, Tier: t.index, Err: e.lastErr, Answered: e.answered,
			Next: t.next, Seeds: e.seeds, Leeches: e.leeches, Peers: e.peers,
		}
		if t.off || e.never || t.asking > 0 {
			st.Next = time.Time{}
		}
		out = append(out, st)
	}
	return out
}

// Due returns when the next is to be asked, false when the tier waits for those that are
// being asked. alone says that the torrent has no peer.
func (t *Tier) Due(alone bool) (time.Time, bool) {
	switch {
	case t.off, t.asking > 0 && (t.settled || !alone || t.at < 0):
		return time.Time{}, false
	case t.asking > 0:
		return t.asked.Add(SlowAfter), true
	}
	return t.next, true
}

// Begin returns which tracker to ask and which event to tell. left is what we lack, in
// bytes. The caller then calls Answered or Failed, or Interrupted.
func (t *Tier) Begin(now time.Time, left int64) (*Entry, Event) {
	e := t.entries[t.at]
	if t.asking == 0 {
		t.settled = false
	}
	t.asking++
	t.asked = now
	t.at = t.askable(now, t.at+1)
	switch {
	case !e.Started:
		return e, Started
	case left == 0 && !e.completed:
		return e, Completed
	}
	return e, None
}

// Interrupted says that those who are being asked will not be heard.
func (t *Tier) Interrupted() {
	if t.asking > 0 {
		t.asking, t.at, t.asked, t.settled = 0, 0, time.Time{}, false
	}
}

// AtOnce has the tier asked now, whatever it said last: a search begins.
func (t *Tier) AtOnce(now time.Time) {
	if !t.off && t.next.After(now) {
		t.next = now
	}
}

// Left says that the trackers were told that we leave. The next announce greets them, and
// may be made at once.
func (t *Tier) Left() {
	for _, e := range t.entries {
		if e.Started {
			e.Started, e.completed = false, false
			t.next = time.Time{}
		}
	}
}

// Answered records e's answer to an announce that told event and left.
func (t *Tier) Answered(e *Entry, now time.Time, event Event, left int64, a Answer) {
	t.asking--
	e.completed = e.completed || event == Completed || event == Started && left == 0
	e.Started, e.lastErr, e.answered = true, "", now
	e.peers = len(a.Peers)
	if a.Seeds >= 0 || a.Leeches >= 0 {
		e.seeds, e.leeches = a.Seeds, a.Leeches
	}
	if a.TrackerID != "" {
		e.TrackerID = a.TrackerID
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
func intervals(a Answer) (interval, least time.Duration) {
	if interval = a.Interval; interval <= 0 {
		interval = defaultInterval
	}
	interval = min(max(interval, minInterval), maxInterval)
	if least = a.MinInterval; least <= 0 {
		least = min(defaultMinInterval, interval)
	}
	least = min(max(least, minInterval), maxInterval)
	return max(interval, least), least
}

// Failed records that e, which was being asked, gave err. The next of the tier is asked at
// once; after the last one the tier pauses. jitter is in [0, 1).
func (t *Tier) Failed(e *Entry, now time.Time, err error, jitter float64) {
	t.asking--
	e.lastErr = weir.ErrorText(err)
	var r *Refusal
	if errors.As(err, &r) {
		e.never = r.never
		e.wait = now.Add(r.retryIn)
	}
	var status *httpStatus
	if errors.As(err, &status) {
		e.wait = now.Add(status.retryIn)
	}
	if t.off = !slices.ContainsFunc(t.entries, func(e *Entry) bool { return !e.never }); t.off {
		return
	}
	switch {
	case t.settled: // another one was faster
	case t.at >= 0:
		t.next, t.asked = now, time.Time{}
	case t.asking == 0:
		t.failures++
		t.next = now.Add(Backoff(t.failures, jitter))
		// If all of them asked to be left alone for longer, the first that may be asked
		// decides.
		if first := t.entries[t.firstAskable()].wait; first.After(t.next) {
			t.next = first
		}
		t.at = t.askable(t.next, 0)
	}
}

// firstAskable returns the entry that may be asked first, of those that may ever be
// asked.
func (t *Tier) firstAskable() int {
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
func (t *Tier) askable(now time.Time, index int) int {
	for i := index; i < len(t.entries); i++ {
		if e := t.entries[i]; !e.never && !e.wait.After(now) {
			return i
		}
	}
	return -1
}

// Backoff returns how long to pause after n failed rounds: 5 s doubled each time up to
// 30 min, spread by a quarter to both sides, so that not everybody asks a tracker at once
// that comes back.
func Backoff(n int, jitter float64) time.Duration {
	d := min(firstBackoff<<min(n-1, 20), maxBackoff)
	return d*3/4 + time.Duration(jitter*float64(d/2))
}

// Hurry says that peers are wanted: the tier is asked as soon as the minimum
// interval allows. A tier that fails keeps to its backoff.
func (t *Tier) Hurry(now time.Time) {
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

// completed says that nothing is Left: trackers that don't know yet are told at
// once, because an event is not a regular announce.
func (t *Tier) Completed(now time.Time) {
	if t.asking > 0 || t.off || t.failures > 0 {
		return
	}
	if e := t.entries[t.at]; e.Started && !e.completed && t.next.After(now) {
		t.next = now
	}
}
