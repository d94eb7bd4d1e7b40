package tracker

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
func (t *Tier) isDue(now time.Time) bool {
	at, ok := t.Due(false)
	return ok && !at.After(now)
}

// urls returns the tier's trackers in the order of trying.
func (t *Tier) urls() (out []string) {
	for _, e := range t.entries {
		out = append(out, e.URL)
	}
	return out
}

func TestTierOrder(t *testing.T) {
	tr := NewTier(0, testHash, []string{"http://a/announce", "http://b/announce", "http://c/announce"})
	broken := errors.New("broken")

	// a and b fail, c answers: in turn, without a pause, and c goes to the front.
	now := start
	for _, want := range []string{"http://a/announce", "http://b/announce"} {
		if !tr.isDue(now) {
			t.Fatalf("not due before %s", want)
		}
		e, event := tr.Begin(now, 1)
		if e.URL != want || event != Started {
			t.Fatalf("asks %s %q, want %s started", e.URL, event, want)
		}
		if tr.isDue(now.Add(time.Hour)) {
			t.Fatal("due while asking")
		}
		tr.Failed(e, now, broken, 0.5)
	}
	e, _ := tr.Begin(now, 1)
	if e.URL != "http://c/announce" {
		t.Fatalf("asks %s", e.URL)
	}
	tr.Answered(e, now, Started, 1, Answer{Interval: 30 * time.Minute, Seeds: 7, Leeches: -1})
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
			e, event := tr.Begin(now, 1)
			if i == 0 && (e.URL != "http://c/announce" || event != None) {
				t.Errorf("asks %s %q", e.URL, event)
			}
			tr.Failed(e, now, broken, 0.5)
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
	tr := NewTier(0, testHash, []string{"http://a/announce", "http://b/announce", "http://c/announce"})
	begin := func(now time.Time, want string) *Entry {
		t.Helper()
		e, event := tr.Begin(now, 1)
		if e.URL != want || event != Started {
			t.Fatalf("asks %s %q, want %s", e.URL, event, want)
		}
		return e
	}
	due := func(alone bool, want time.Duration) {
		t.Helper()
		at, ok := tr.Due(alone)
		if got := at.Sub(start); ok != (want >= 0) || ok && got > want {
			t.Fatalf("due %v after %v, want %v", ok, got, want)
		}
	}
	a := begin(start, "http://a/announce")
	due(false, -1)
	due(true, SlowAfter)
	b := begin(start.Add(SlowAfter), "http://b/announce")
	due(true, 2*SlowAfter)
	// A failure is reason enough to go on at once, but alone only: a may answer still.
	tr.Failed(b, start.Add(SlowAfter), errors.New("broken"), 0)
	due(true, SlowAfter)
	due(false, -1)
	c := begin(start.Add(SlowAfter), "http://c/announce")
	due(true, -1) // nobody is left
	tr.Answered(c, start.Add(2*SlowAfter), Started, 1, Answer{Interval: 10 * time.Minute})
	due(true, -1) // the round is settled, a may say what it likes
	tr.Answered(a, start.Add(3*SlowAfter), Started, 1, Answer{Interval: time.Minute})
	due(true, 2*SlowAfter+10*time.Minute)
	if got := tr.urls(); got[0] != c.URL || !a.Started || b.Started {
		t.Errorf("order %q, started %v %v", got, a.Started, b.Started)
	}
	// Next time c comes first, and after a round in which all fail there is a pause.
	now := tr.next
	for _, e := range []*Entry{c, a} {
		if got, _ := tr.Begin(now, 1); got != e {
			t.Fatalf("asks %s, want %s", got.URL, e.URL)
		}
	}
	tr.Begin(now, 1)
	for _, e := range []*Entry{a, b, c} {
		tr.Failed(e, now, errors.New("broken"), 0.5)
		if tr.failures > 0 != (e == c) {
			t.Errorf("%d failed rounds after %s", tr.failures, e.URL)
		}
	}
	if want := now.Add(firstBackoff); !tr.next.Equal(want) {
		t.Errorf("asks again at %v, want %v", tr.next, want)
	}
}

func TestTierEvents(t *testing.T) {
	answer := Answer{Interval: 30 * time.Minute}
	t.Run("Completed", func(t *testing.T) {
		tr := NewTier(0, testHash, []string{"http://a/announce"})
		e, _ := tr.Begin(start, 5)
		tr.Answered(e, start, Started, 5, answer)
		tr.Completed(start.Add(time.Second))
		if !tr.isDue(start.Add(time.Second)) {
			t.Fatal("completion waits for the interval")
		}
		_, event := tr.Begin(start, 0)
		if event != Completed {
			t.Fatalf("event %q", event)
		}
		tr.Answered(e, start, event, 0, answer)
		tr.Completed(start)
		if tr.isDue(start) {
			t.Fatal("completed twice")
		}
		if _, event := tr.Begin(start, 0); event != None {
			t.Fatalf("event %q", event)
		}
	})
	t.Run("CompleteFromTheBeginning", func(t *testing.T) {
		tr := NewTier(0, testHash, []string{"http://a/announce"})
		e, _ := tr.Begin(start, 0)
		tr.Answered(e, start, Started, 0, answer)
		tr.Completed(start)
		if _, event := tr.Begin(start, 0); event != None || tr.isDue(start) {
			t.Fatalf("event %q of a torrent that never was incomplete", event)
		}
	})
}

func TestTierHurry(t *testing.T) {
	cases := []struct {
		name   string
		answer Answer
		at     time.Duration // of the hurry
		want   time.Duration // of the next announce
	}{
		{"MinIntervalFirst", Answer{Interval: 30 * time.Minute, MinInterval: 10 * time.Minute}, time.Minute, 10 * time.Minute},
		{"AtOnce", Answer{Interval: 30 * time.Minute, MinInterval: 10 * time.Minute}, 12 * time.Minute, 12 * time.Minute},
		{"NoMinInterval", Answer{Interval: 30 * time.Minute}, time.Second, defaultMinInterval},
		{"ShortInterval", Answer{Interval: time.Minute}, time.Second, time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tr := NewTier(0, testHash, []string{"http://a/announce"})
			e, _ := tr.Begin(start, 1)
			tr.Answered(e, start, Started, 1, c.answer)
			tr.Hurry(start.Add(c.at))
			if got := tr.next.Sub(start); got != c.want {
				t.Errorf("next after %v, want %v", got, c.want)
			}
		})
	}
	t.Run("BackoffHolds", func(t *testing.T) {
		tr := NewTier(0, testHash, []string{"http://a/announce"})
		e, _ := tr.Begin(start, 1)
		tr.Failed(e, start, errors.New("broken"), 0)
		next := tr.next
		tr.Hurry(start)
		if !tr.next.Equal(next) {
			t.Error("a poke shortens the backoff")
		}
	})
}

func TestTierRefusals(t *testing.T) {
	tr := NewTier(0, testHash, []string{"http://a/announce", "http://b/announce"})
	e, _ := tr.Begin(start, 1)
	tr.Failed(e, start, &Refusal{Reason: "later", retryIn: time.Hour}, 0)
	if e, _ = tr.Begin(start, 1); e.URL != "http://b/announce" {
		t.Fatalf("asks %s", e.URL)
	}
	tr.Failed(e, start, &Refusal{Reason: "never", never: true}, 0)
	if got := tr.next.Sub(start); got != time.Hour {
		t.Errorf("asks again after %v, want the hour that a asked for", got)
	}
	if e, _ = tr.Begin(tr.next, 1); e.URL != "http://a/announce" {
		t.Fatalf("asks %s, which wants us never", e.URL)
	}
	tr.Failed(e, tr.next, &Refusal{Reason: "never", never: true}, 0)
	if tr.isDue(start.Add(1000 * time.Hour)) {
		t.Error("asks trackers that want us never")
	}
}

func TestIntervals(t *testing.T) {
	cases := []struct{ interval, minInterval, want, least time.Duration }{
		{0, 0, defaultInterval, defaultMinInterval},
		{time.Second, 0, minInterval, minInterval},
		{time.Second, time.Second, minInterval, minInterval},
		{time.Hour, 5 * time.Minute, time.Hour, 5 * time.Minute},
		{time.Minute, time.Hour, time.Hour, time.Hour}, // a contradiction: the polite reading
		{1000 * time.Hour, 1000 * time.Hour, maxInterval, maxInterval},
		{0, time.Hour, time.Hour, time.Hour},
	}
	for _, c := range cases {
		got, least := intervals(Answer{Interval: c.interval, MinInterval: c.minInterval})
		if got != c.want || least != c.least {
			t.Errorf("%v, min %v: got %v, %v; want %v, %v", c.interval, c.minInterval, got, least, c.want, c.least)
		}
	}
}

func TestBackoff(t *testing.T) {
	for n := 1; n < 100; n++ {
		low, high := Backoff(n, 0), Backoff(n, 0.999)
		if low < firstBackoff*3/4 || high > maxBackoff*5/4 || low >= high {
			t.Errorf("after %d failures: %v … %v", n, low, high)
		}
		if n > 1 && low < Backoff(n-1, 0) {
			t.Errorf("shrinks at %d", n)
		}
	}
}
