package discover

import (
	"errors"
	"testing"
	"time"

	"github.com/weirfs/weir"
)

var (
	testHash = weir.InfoHash{1, 2, 3}
	start    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// isDue reports whether somebody is to be asked now, while there are peers.
func (t *tier) isDue(now time.Time) bool {
	at, ok := t.due(false)
	return ok && !at.After(now)
}

// urls returns the tier's trackers in the order of trying.
func (t *tier) urls() (out []string) {
	for _, e := range t.entries {
		out = append(out, e.url)
	}
	return out
}

func TestTierOrder(t *testing.T) {
	tr := newTier(0, testHash, []string{"http://a/announce", "http://b/announce", "http://c/announce"})
	broken := errors.New("broken")

	// a and b fail, c answers: in turn, without a pause, and c goes to the front.
	now := start
	for _, want := range []string{"http://a/announce", "http://b/announce"} {
		if !tr.isDue(now) {
			t.Fatalf("not due before %s", want)
		}
		e, event := tr.begin(now, 1)
		if e.url != want || event != eventStarted {
			t.Fatalf("asks %s %q, want %s started", e.url, event, want)
		}
		if tr.isDue(now.Add(time.Hour)) {
			t.Fatal("due while asking")
		}
		tr.failed(e, now, broken, 0.5)
	}
	e, _ := tr.begin(now, 1)
	if e.url != "http://c/announce" {
		t.Fatalf("asks %s", e.url)
	}
	tr.answered(e, now, eventStarted, 1, announceAnswer{interval: 30 * time.Minute, seeds: 7, leeches: -1})
	if got := tr.urls(); got[0] != "http://c/announce" || got[1] != "http://a/announce" || got[2] != "http://b/announce" {
		t.Errorf("order %q", got)
	}
	if tr.isDue(now.Add(30*time.Minute - 1)) {
		t.Error("due before the interval")
	}
	now = now.Add(30 * time.Minute)
	if !tr.isDue(now) {
		t.Error("not due after the interval")
	}

	// All fail: a pause that grows.
	var last time.Duration
	for round := range 4 {
		for i := range tr.entries {
			e, event := tr.begin(now, 1)
			if i == 0 && (e.url != "http://c/announce" || event != eventNone) {
				t.Errorf("asks %s %q", e.url, event)
			}
			tr.failed(e, now, broken, 0.5)
			if due := tr.isDue(now); due != (i < 2) {
				t.Fatalf("after the failure of %d: due %v", i, due)
			}
		}
		pause := tr.next.Sub(now)
		if pause <= last {
			t.Errorf("round %d: pause of %v after %v", round, pause, last)
		}
		last, now = pause, tr.next
	}
}

// TestTierAlone: without any peer, a tracker that is slow is not waited for.
func TestTierAlone(t *testing.T) {
	tr := newTier(0, testHash, []string{"http://a/announce", "http://b/announce", "http://c/announce"})
	begin := func(now time.Time, want string) *entry {
		t.Helper()
		e, event := tr.begin(now, 1)
		if e.url != want || event != eventStarted {
			t.Fatalf("asks %s %q, want %s", e.url, event, want)
		}
		return e
	}
	due := func(alone bool, want time.Duration) {
		t.Helper()
		at, ok := tr.due(alone)
		if got := at.Sub(start); ok != (want >= 0) || ok && got > want {
			t.Fatalf("due %v after %v, want %v", ok, got, want)
		}
	}
	a := begin(start, "http://a/announce")
	due(false, -1)
	due(true, slowTracker)
	b := begin(start.Add(slowTracker), "http://b/announce")
	due(true, 2*slowTracker)
	// A failure is reason enough to go on at once, but alone only: a may answer still.
	tr.failed(b, start.Add(slowTracker), errors.New("broken"), 0)
	due(true, slowTracker)
	due(false, -1)
	c := begin(start.Add(slowTracker), "http://c/announce")
	due(true, -1) // nobody is left
	tr.answered(c, start.Add(2*slowTracker), eventStarted, 1, announceAnswer{interval: 10 * time.Minute})
	due(true, -1) // the round is settled, a may say what it likes
	tr.answered(a, start.Add(3*slowTracker), eventStarted, 1, announceAnswer{interval: time.Minute})
	due(true, 2*slowTracker+10*time.Minute)
	if got := tr.urls(); got[0] != c.url || !a.started || b.started {
		t.Errorf("order %q, started %v %v", got, a.started, b.started)
	}
	// Next time c comes first, and after a round in which all fail there is a pause.
	now := tr.next
	for _, e := range []*entry{c, a} {
		if got, _ := tr.begin(now, 1); got != e {
			t.Fatalf("asks %s, want %s", got.url, e.url)
		}
	}
	tr.begin(now, 1)
	for _, e := range []*entry{a, b, c} {
		tr.failed(e, now, errors.New("broken"), 0.5)
		if tr.failures > 0 != (e == c) {
			t.Errorf("%d failed rounds after %s", tr.failures, e.url)
		}
	}
	if want := now.Add(firstBackoff); !tr.next.Equal(want) {
		t.Errorf("asks again at %v, want %v", tr.next, want)
	}
}

func TestTierEvents(t *testing.T) {
	answer := announceAnswer{interval: 30 * time.Minute}
	t.Run("Completed", func(t *testing.T) {
		tr := newTier(0, testHash, []string{"http://a/announce"})
		e, _ := tr.begin(start, 5)
		tr.answered(e, start, eventStarted, 5, answer)
		tr.completed(start.Add(time.Second))
		if !tr.isDue(start.Add(time.Second)) {
			t.Fatal("completion waits for the interval")
		}
		_, event := tr.begin(start, 0)
		if event != eventCompleted {
			t.Fatalf("event %q", event)
		}
		tr.answered(e, start, event, 0, answer)
		tr.completed(start)
		if tr.isDue(start) {
			t.Fatal("completed twice")
		}
		if _, event := tr.begin(start, 0); event != eventNone {
			t.Fatalf("event %q", event)
		}
	})
	t.Run("CompleteFromTheBeginning", func(t *testing.T) {
		tr := newTier(0, testHash, []string{"http://a/announce"})
		e, _ := tr.begin(start, 0)
		tr.answered(e, start, eventStarted, 0, answer)
		tr.completed(start)
		if _, event := tr.begin(start, 0); event != eventNone || tr.isDue(start) {
			t.Fatalf("event %q of a torrent that never was incomplete", event)
		}
	})
}

func TestTierHurry(t *testing.T) {
	cases := []struct {
		name   string
		answer announceAnswer
		at     time.Duration // of the hurry
		want   time.Duration // of the next announce
	}{
		{"MinIntervalFirst", announceAnswer{interval: 30 * time.Minute, minInterval: 10 * time.Minute}, time.Minute, 10 * time.Minute},
		{"AtOnce", announceAnswer{interval: 30 * time.Minute, minInterval: 10 * time.Minute}, 12 * time.Minute, 12 * time.Minute},
		{"NoMinInterval", announceAnswer{interval: 30 * time.Minute}, time.Second, usualMinInterval},
		{"ShortInterval", announceAnswer{interval: time.Minute}, time.Second, time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tr := newTier(0, testHash, []string{"http://a/announce"})
			e, _ := tr.begin(start, 1)
			tr.answered(e, start, eventStarted, 1, c.answer)
			tr.hurry(start.Add(c.at))
			if got := tr.next.Sub(start); got != c.want {
				t.Errorf("next after %v, want %v", got, c.want)
			}
		})
	}
	t.Run("BackoffHolds", func(t *testing.T) {
		tr := newTier(0, testHash, []string{"http://a/announce"})
		e, _ := tr.begin(start, 1)
		tr.failed(e, start, errors.New("broken"), 0)
		next := tr.next
		tr.hurry(start)
		if !tr.next.Equal(next) {
			t.Error("a poke shortens the backoff")
		}
	})
}

func TestTierRefusals(t *testing.T) {
	tr := newTier(0, testHash, []string{"http://a/announce", "http://b/announce"})
	e, _ := tr.begin(start, 1)
	tr.failed(e, start, &refusal{reason: "later", retryIn: time.Hour}, 0)
	if e, _ = tr.begin(start, 1); e.url != "http://b/announce" {
		t.Fatalf("asks %s", e.url)
	}
	tr.failed(e, start, &refusal{reason: "never", never: true}, 0)
	if got := tr.next.Sub(start); got != time.Hour {
		t.Errorf("asks again after %v, want the hour that a asked for", got)
	}
	if e, _ = tr.begin(tr.next, 1); e.url != "http://a/announce" {
		t.Fatalf("asks %s, which wants us never", e.url)
	}
	tr.failed(e, tr.next, &refusal{reason: "never", never: true}, 0)
	if tr.isDue(start.Add(1000 * time.Hour)) {
		t.Error("asks trackers that want us never")
	}
}

func TestIntervals(t *testing.T) {
	cases := []struct{ interval, minInterval, want, least time.Duration }{
		{0, 0, usualInterval, usualMinInterval},
		{time.Second, 0, leastInterval, leastInterval},
		{time.Second, time.Second, leastInterval, leastInterval},
		{time.Hour, 5 * time.Minute, time.Hour, 5 * time.Minute},
		{time.Minute, time.Hour, time.Hour, time.Hour}, // a contradiction: the polite reading
		{1000 * time.Hour, 1000 * time.Hour, mostInterval, mostInterval},
		{0, time.Hour, time.Hour, time.Hour},
	}
	for _, c := range cases {
		got, least := intervals(announceAnswer{interval: c.interval, minInterval: c.minInterval})
		if got != c.want || least != c.least {
			t.Errorf("%v, min %v: got %v, %v; want %v, %v", c.interval, c.minInterval, got, least, c.want, c.least)
		}
	}
}

func TestBackoff(t *testing.T) {
	for n := 1; n < 100; n++ {
		low, high := backoff(n, 0), backoff(n, 0.999)
		if low < firstBackoff*3/4 || high > mostBackoff*5/4 || low >= high {
			t.Errorf("after %d failures: %v … %v", n, low, high)
		}
		if n > 1 && low < backoff(n-1, 0) {
			t.Errorf("shrinks at %d", n)
		}
	}
}
